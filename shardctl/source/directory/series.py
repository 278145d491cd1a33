"""Files whose names differ in one number only: `out-00000.pt`, `hf_model_0001_0.pt`, `part2.bin`.

Nothing in such a name says how many there are, so only a series without gaps counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shardctl.naming import split_variant

_DIGITS = re.compile(r"[0-9]{1,12}")
#: Numbers of a name that may be the one that counts: the last ones. The last of `model_0001_0` is
#: the rank of the process that wrote it.
_CANDIDATES = 2


@dataclass(frozen=True, slots=True)
class Series:
    """A complete series: `numbers` by name, in their order, from 0 or from 1."""

    stem: str
    variant: str | None
    suffix: str
    numbers: Mapping[str, int]


def complete_series(names: Mapping[str, str]) -> list[Series]:
    """Return the complete series of two files or more among names, given with their suffixes.

    No name is in two of them; the longest come first.
    """
    groups: dict[tuple[str, str, str], list[tuple[int, str]]] = {}
    for name, suffix in names.items():
        base = name.removesuffix(suffix)
        for match in list(_DIGITS.finditer(base))[-_CANDIDATES:]:
            key = (base[: match.start()], base[match.end() :], suffix)
            groups.setdefault(key, []).append((int(match[0]), name))
    found: list[Series] = []
    taken: set[str] = set()
    for (before, after, suffix), members in sorted(groups.items(), key=_longest_first):
        if _is_complete(members) and taken.isdisjoint(name for _, name in members):
            numbers = {name: number for number, name in sorted(members)}
            taken.update(numbers)
            stem, variant = split_variant(before.rstrip("-_.") + re.sub(r"^[-_.0-9]+$", "", after))
            found.append(Series(stem, variant, suffix, numbers))
    return found


def _longest_first(item: tuple[object, list[tuple[int, str]]]) -> int:
    return -len(item[1])


def _is_complete(members: Iterable[tuple[int, str]]) -> bool:
    numbers = sorted(number for number, _ in members)
    return (
        len(numbers) > 1
        and numbers[0] in (0, 1)
        and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    )
