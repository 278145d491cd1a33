"""Group the names in a directory into checkpoints.

Pure functions of the names and of what the indexes list.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from shardctl.formats.registry import all_suffixes, promised_by
from shardctl.naming import (
    KNOWN_STEMS,
    MAX_SHARDS,
    NumberStyle,
    WeightsName,
    is_training_state,
    parse_index_name,
    parse_weights_name,
)
from shardctl.text import escape, plural


@dataclass(frozen=True, slots=True)
class Candidate:
    """One checkpoint in a directory, by names alone.

    `files` are the names that exist, in the order of their numbers; `missing` are the numbers of
    files that neither exist nor are listed by the index; `unlisted` are files that are numbered
    like the index's shards and not listed by it.
    """

    stem: str
    variant: str | None
    suffix: str
    files: tuple[str, ...]
    index: str | None = None
    style: NumberStyle = "none"
    missing: tuple[int, ...] = ()
    unlisted: tuple[str, ...] = ()

    @property
    def format(self) -> str:
        """The name of the format that the suffix promises; empty where it promises none."""
        promised = promised_by(self.suffix)
        return "" if promised is None else promised.name

    @property
    def names(self) -> tuple[str, ...]:
        """Its files in the directory: the index, those it lists, and those numbered like them."""
        index = () if self.index is None else (self.index,)
        return (*index, *self.files, *self.unlisted)

    @property
    def is_set(self) -> bool:
        """Whether it is made of an index or numbered files, and not one plain file."""
        return self.index is not None or self.style != "none"

    @property
    def known(self) -> bool:
        """Whether loaders find it by its name."""
        return self.index is not None or self.stem in KNOWN_STEMS

    @property
    def choice(self) -> str:
        """The name to give as SOURCE for exactly this checkpoint."""
        return self.index or self.files[0]

    @property
    def title(self) -> str:
        """The checkpoint in a few words, safe to print."""
        more = f" ({plural(len(self.files), 'file')})" if self.is_set else ""
        return escape(self.choice) + more


#: Files with the same of these belong together; a plain file is a checkpoint by itself.
_SetKey = tuple[str, str | None, str, NumberStyle, int | None]


def candidates(names: Iterable[str], listed: Mapping[str, Collection[str]]) -> list[Candidate]:
    """Return the checkpoints among the names in a directory, those with an index first.

    Training state is not a checkpoint. `listed` has the shards that each index lists; an index that
    is not in it could not be read, and the numbered files of its name are taken instead.
    """
    present = [name for name in names if not is_training_state(name)]
    sets = _numbered_sets(present)
    suffixes = all_suffixes()
    indexed = [
        _indexed(name, sets, listed, set(present))
        for name in present
        if parse_index_name(name, suffixes)
    ]
    taken = {name for candidate in indexed for name in candidate.names}
    rest = [
        _unindexed(key, members) for key, members in sets.items() if not taken.intersection(members)
    ]
    return indexed + rest


def _numbered_sets(names: Iterable[str]) -> dict[_SetKey, list[str]]:
    """Group weights files by what their names have in common, each set in order of its numbers."""
    suffixes = all_suffixes()
    parsed = ((name, parse_weights_name(name, suffixes)) for name in names)
    sets: dict[_SetKey, list[tuple[int, str]]] = {}
    for name, found in parsed:
        if found is not None:
            sets.setdefault(_set_key(found), []).append((found.number or 0, name))
    return {key: [name for _, name in sorted(members)] for key, members in sets.items()}


def _set_key(name: WeightsName) -> _SetKey:
    return (name.stem, name.variant, name.suffix, name.style, name.count)


def _indexed(
    index: str,
    sets: Mapping[_SetKey, list[str]],
    listed: Mapping[str, Collection[str]],
    present: set[str],
) -> Candidate:
    name = parse_index_name(index, all_suffixes())
    if name is None:
        raise ValueError(f"{index!r} is not the name of an index")
    if index in listed:
        files = sorted(present.intersection(listed[index]))
    else:
        own = (name.stem, name.variant, name.suffix)
        files = [
            member
            for key, members in sets.items()
            if key[:3] == own and key[3] != "none"
            for member in members
        ]
    # Files of a numbered set that the index leaves out are reported: they may be needed, or be left
    # over from another save.
    touched = [members for members in sets.values() if set(members).intersection(files)]
    unlisted = [member for members in touched for member in members if member not in files]
    missing = _missing_numbers((*listed.get(index, files), *unlisted))
    return Candidate(
        name.stem,
        name.variant,
        name.suffix,
        tuple(files),
        index,
        missing=missing,
        unlisted=tuple(unlisted),
    )


def _missing_numbers(listed: Iterable[str]) -> tuple[int, ...]:
    """The numbers that the names "i of n" that an index lists lack, of one set after the other."""
    directories: dict[str, list[str]] = {}
    for path in listed:
        directory, _, name = path.rpartition("/")
        directories.setdefault(directory, []).append(name)
    numbers = (
        number
        for names in directories.values()
        for key, members in _numbered_sets(names).items()
        if key[-1] is not None
        for number in _missing(members, key[-1])
    )
    # A hostile index can list a million names, each of another set of 99,999 files.
    return tuple(itertools.islice(numbers, MAX_SHARDS))


def _unindexed(key: _SetKey, members: list[str]) -> Candidate:
    stem, variant, suffix, style, count = key
    missing = () if style == "none" else _missing(members, count)
    return Candidate(stem, variant, suffix, tuple(members), style=style, missing=missing)


def _missing(members: Iterable[str], count: int | None) -> tuple[int, ...]:
    """Return the numbers that a set lacks. They count from 0 if there is a 0, else from 1."""
    suffixes = all_suffixes()
    numbers = {
        name.number
        for name in (parse_weights_name(member, suffixes) for member in members)
        if name is not None and name.number is not None
    }
    first = 0 if count is None or 0 in numbers else 1
    last = max(numbers) if count is None else first + count - 1
    return tuple(number for number in range(first, last + 1) if number not in numbers)
