"""Shares of a whole: of dtypes, of layers, of files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole. `begin`, the sum of the parts before it, and `percent` are percentages."""

    name: str
    nbytes: int
    tensors: int
    begin: float
    percent: float


def shares(parts: Iterable[tuple[str, int, int]], total: int) -> tuple[Share, ...]:
    """Return the shares of parts (name, bytes, tensors) in a whole of `total` bytes."""
    made, begin = [], 0.0
    for name, nbytes, tensors in parts:
        percent = 100 * nbytes / total if total else 0.0
        made.append(Share(name, nbytes, tensors, begin, percent))
        begin += percent
    return tuple(made)


def group_shares(tensors: Iterable[tuple[str, int]]) -> tuple[Share, ...]:
    """Return the shares of groups, largest first, from each tensor's group and bytes."""
    counts: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for group, nbytes in tensors:
        counts[group] += 1
        sums[group] += nbytes
    ordered = sorted(sums, key=lambda group: -sums[group])
    return shares(((group, sums[group], counts[group]) for group in ordered), sums.total())


def percent_text(percent: float) -> str:
    """Return a percentage with one decimal, without a sign; `<0.1` for a little."""
    return "<0.1" if 0 < percent < 0.1 else f"{percent:.1f}"
