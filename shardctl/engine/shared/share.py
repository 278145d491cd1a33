"""How the files of a run are shared out, and what one process did of its part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from shardctl.engine.journal.receipts import Receipt
from shardctl.errors import TargetExistsError

PartState = Literal["written", "kept", "done", "missing"]


@dataclass(frozen=True, slots=True)
class PartDone:
    """What a part did: `written` now, `kept` from before; `missing` are still to be done by any."""

    written: tuple[Receipt, ...]
    kept: tuple[Receipt, ...]
    missing: tuple[str, ...]

    def states(self, names: Iterable[str]) -> dict[str, PartState]:
        """Return what has become of each of the run's files; "done" are those of other parts."""
        states: dict[str, PartState] = dict.fromkeys(names, "done")
        states |= dict.fromkeys(self.missing, "missing")
        states |= dict.fromkeys((receipt.filename for receipt in self.kept), "kept")
        return states | dict.fromkeys((receipt.filename for receipt in self.written), "written")


def shares(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Return the numbers of the files in each of `count` parts, of about equal bytes.

    The largest file goes first, each to the part that has the least (Graham's LPT rule), so that no
    part has more than 4/3 of what the best division would give it. Of equals the first is taken:
    every process finds the same.
    """
    parts: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
        least = loads.index(min(loads))
        parts[least].append(number)
        loads[least] += sizes[number]
    return [sorted(part) for part in parts]


def ended(directory: str) -> TargetExistsError:
    """Return the error of a part whose run is not at work any more."""
    return TargetExistsError(
        f"the run in '{directory}' was finished or discarded while this part wrote to it",
        hint="run the part again: it says what is to be done",
        code="target-changed",
        file=directory,
    )
