"""Group the names in a directory into checkpoints.

Pure functions of the names and of what the indexes list.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Self

from shardctl.formats.registry import all_suffixes, formats, promised_by
from shardctl.naming import (
    KNOWN_STEMS,
    IndexName,
    NumberStyle,
    WeightsName,
    is_training_state,
    parse_index_name,
    parse_weights_name,
)
from shardctl.source.directory.series import complete_series
from shardctl.text import escape, plural

#: Missing numbers that are kept: one empty file can stand for a set of 99,999.
MOST_MISSING = 10


@dataclass(frozen=True, slots=True)
class Candidate:
    """One checkpoint in a directory, by names alone.

    `files` are the names that exist, in the order of their numbers; `lacks` says how many numbered
    files neither exist nor are listed by the index, and `missing` are the first of their numbers;
    `unlisted` are files that are numbered like the index's shards and not listed by it.
    `gone`: the index lists files, and none of them exists. It is then `stale` where the complete
    numbered set of its name is there: `files` are those, and the index is of another save.
    """

    stem: str
    variant: str | None
    suffix: str
    files: tuple[str, ...]
    index: str | None = None
    style: NumberStyle = "none"
    missing: tuple[int, ...] = ()
    lacks: int = 0
    unlisted: tuple[str, ...] = ()
    gone: bool = False

    @property
    def stale(self) -> bool:
        """Whether its files are a numbered set, and its index is of another one."""
        return self.gone and bool(self.files)

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
        """Whether loaders find it by its name. They find no series."""
        return self.index is not None or (self.stem in KNOWN_STEMS and self.style != "series")

    @property
    def is_in_pieces(self) -> bool:
        """Whether its files are pieces of tensors, which are read together only."""
        promised = promised_by(self.suffix)
        return promised is not None and promised.is_in_pieces

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


def candidates(
    names: Iterable[str],
    listed: Callable[[str], Collection[str] | None],
    exists: Callable[[str], bool] = lambda _: True,
) -> list[Candidate]:
    """Return the checkpoints among the names in a directory, those with an index first.

    Training state is not a checkpoint. `listed` gives the shards that an index lists; it is called
    once for each, and nothing that it gave is kept. None: the index could not be read, and the
    numbered files of its name are taken instead. `exists` says whether a file is there that an
    index lists in another directory (`sub/a`).
    """
    present = dict.fromkeys(name for name in names if not is_training_state(name))
    names_in = _Names.of(present)
    suffixes = all_suffixes()
    indexed = [
        _indexed(name, parsed, names_in, listed(name), exists)
        for name in present
        if (parsed := parse_index_name(name, suffixes)) is not None
    ]
    indexed += _listed_otherwise(present)
    taken = {name for candidate in indexed for name in candidate.names}
    rest = [
        _unindexed(key, members)
        for key, members in names_in.sets.items()
        if taken.isdisjoint(members)
    ]
    return indexed + _with_series(rest)


def _listed_otherwise(present: Collection[str]) -> Iterator[Candidate]:
    """Yield the checkpoints of formats whose files are listed by one of a fixed name."""
    for known in formats():
        if known.listed_by not in present:
            continue
        files = tuple(name for name in present if name.endswith(known.suffixes))
        if files:
            yield Candidate(known.default_stem, None, known.suffix, files, known.listed_by)


@dataclass(frozen=True, slots=True)
class _Names:
    """The names in a directory: all of them, and the weights by what their names have in common.

    `sets` have the number of each name, in the order of the numbers; `home` is the set of each
    name; `numbered` are the sets of numbered files of one stem, variant and suffix.
    """

    present: Mapping[str, None]
    sets: Mapping[_SetKey, Mapping[str, int]]
    home: Mapping[str, _SetKey]
    numbered: Mapping[tuple[str, str | None, str], list[_SetKey]]

    @classmethod
    def of(cls, present: Mapping[str, None]) -> Self:
        """Sort the names into sets."""
        sets = _numbered_sets(present)
        numbered: dict[tuple[str, str | None, str], list[_SetKey]] = {}
        for key in sets:
            if key[3] != "none":
                numbered.setdefault(key[:3], []).append(key)
        home = {member: key for key, members in sets.items() for member in members}
        return cls(present, sets, home, numbered)


def _numbered_sets(names: Iterable[str]) -> dict[_SetKey, dict[str, int]]:
    """Group weights files by what their names have in common; number them, in that order.

    The number of a name without one is 0.
    """
    suffixes = all_suffixes()
    parsed = ((name, parse_weights_name(name, suffixes)) for name in names)
    sets: dict[_SetKey, list[tuple[int, str]]] = {}
    for name, found in parsed:
        if found is not None:
            sets.setdefault(_set_key(found), []).append((found.number or 0, name))
    return {
        key: {name: number for number, name in sorted(members)} for key, members in sets.items()
    }


def _with_series(found: Sequence[Candidate]) -> list[Candidate]:
    """Put plain files whose names differ in a number only together, where no number is missing."""
    plain = {each.files[0]: each.suffix for each in found if each.style == "none"}
    series = [
        Candidate(each.stem, each.variant, each.suffix, tuple(each.numbers), style="series")
        for each in complete_series(plain)
    ]
    taken = {name for each in series for name in each.files}
    return [each for each in found if taken.isdisjoint(each.files)] + series


def _set_key(name: WeightsName) -> _SetKey:
    return (name.stem, name.variant, name.suffix, name.style, name.count)


def _indexed(
    index: str,
    name: IndexName,
    names: _Names,
    listed: Collection[str] | None,
    exists: Callable[[str], bool],
) -> Candidate:
    if listed is not None:
        files = dict.fromkeys(sorted(each for each in listed if each in names.present))
    else:
        own = names.numbered.get((name.stem, name.variant, name.suffix), ())
        files = dict.fromkeys(member for key in own for member in names.sets[key])
    elsewhere = (each for each in listed or () if "/" in each)
    if listed and not files and not any(map(exists, elsewhere)):
        beside = _complete_set(name, names)
        return Candidate(name.stem, name.variant, name.suffix, tuple(beside), index, gone=True)
    # Files of a numbered set that the index leaves out are reported: they may be needed, or be left
    # over from another save.
    touched = dict.fromkeys(names.home[each] for each in files if each in names.home)
    unlisted = [member for key in touched for member in names.sets[key] if member not in files]
    missing, lacks = _lacking((*(files if listed is None else listed), *unlisted))
    return Candidate(
        name.stem,
        name.variant,
        name.suffix,
        tuple(files),
        index,
        missing=missing,
        lacks=lacks,
        unlisted=tuple(unlisted),
    )


def _complete_set(name: IndexName, names: _Names) -> Mapping[str, int]:
    """Return the only complete numbered set of an index's name; empty where there is none."""
    complete = [
        names.sets[key]
        for key in names.numbered.get((name.stem, name.variant, name.suffix), ())
        if key[-1] is not None and not missing_numbers(set(names.sets[key].values()), key[-1])[1]
    ]
    return complete[0] if len(complete) == 1 else {}


def _lacking(listed: Iterable[str]) -> tuple[tuple[int, ...], int]:
    """The numbers that the names "i of n" that an index lists lack, of one set after the other.

    The first of them, and how many there are.
    """
    directories: dict[str, list[str]] = {}
    for path in listed:
        directory, _, name = path.rpartition("/")
        directories.setdefault(directory, []).append(name)
    # A hostile index can list a million names, each of another set of 99,999 files.
    first: list[int] = []
    lacks = 0
    for _, names in sorted(directories.items()):  # what an index lists has no order
        for key, members in _numbered_sets(names).items():
            if key[-1] is not None:
                missing, count = missing_numbers(set(members.values()), key[-1])
                first.extend(islice(missing, MOST_MISSING - len(first)))
                lacks += count
    return tuple(first), lacks


def _unindexed(key: _SetKey, members: Mapping[str, int]) -> Candidate:
    stem, variant, suffix, style, count = key
    candidate = Candidate(stem, variant, suffix, tuple(members), style=style)
    if style == "none":
        return candidate
    missing, lacks = missing_numbers(set(members.values()), count)
    return replace(candidate, missing=tuple(islice(missing, MOST_MISSING)), lacks=lacks)


def missing_numbers(numbers: set[int], count: int | None) -> tuple[Iterator[int], int]:
    """Return the numbers that a set with these lacks, and how many those are.

    They count from 0 if there is a 0, else from 1.
    """
    first = 0 if count is None or 0 in numbers else 1
    last = max(numbers) if count is None else first + count - 1
    lacks = last + 1 - first - sum(first <= number <= last for number in numbers)
    return (number for number in range(first, last + 1) if number not in numbers), lacks
