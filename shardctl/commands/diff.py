"""What differs between two checkpoints, whatever their formats and shards: names, types, bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from shardctl.engine.found import find_checkpoint
from shardctl.engine.sources import Sources
from shardctl.findings import Finding, as_error, in_one_line
from shardctl.model import Checkpoint, Tensor
from shardctl.planning.request import UNCHANGED, Transform
from shardctl.planning.transform.compared import transformed
from shardctl.repeats import compared_parts
from shardctl.source.opened import Opened, unseen
from shardctl.source.read import read_checkpoint
from shardctl.source.state_dict import NotNestedError, not_nested
from shardctl.storages import named_tensors
from shardctl.stores.base import Store
from shardctl.streams.elements import elements_of, in_step
from shardctl.streams.pool import observed
from shardctl.streams.progress import Observer, Tick
from shardctl.streams.statistics import Distance, distance, has_statistics

#: What a tensor's difference is: it is only in one of the two, has another type or shape, or has
#: other bytes.
What = Literal["removed", "added", "dtype", "shape", "bytes"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its store, and SOURCE as given."""

    store: Store
    source: str


@dataclass(frozen=True, slots=True)
class Change:
    """One tensor that differs; `a` and `b` are what it is in either, None where it is not there.

    `distance` says how far apart the numbers are, where that was asked for and can be said.
    """

    name: str
    what: What
    a: Tensor | None = None
    b: Tensor | None = None
    distance: Distance | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """What was found: `equal` tensors have the same type, shape and bytes.

    `left_out` counts the tensors of B that the selection leaves out; `incomplete` are the paths of
    files that could not be read whole, so that the difference may be larger.
    """

    a: str
    b: str
    equal: int
    changes: tuple[Change, ...]
    left_out: int
    incomplete: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether the two are the same, and all of both was read."""
        return not self.changes and not self.incomplete


@dataclass(frozen=True, slots=True)
class _Pair:
    name: str
    a: Tensor
    b: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return self.a.nbytes + self.b.nbytes


def diff(
    a: Side,
    b: Side,
    *,
    key: str | None = None,
    transform: Transform = UNCHANGED,
    stats: bool = False,
    jobs: int = 2,
    observe: Observer | None = None,
    opened: Opened = unseen,
) -> Difference:
    """Compare two checkpoints, all their bytes included.

    `transform` makes of B what a writer would: A may be such a copy. `stats` also says how far
    apart the numbers of tensors are. What of either cannot be read is a note. Raises MissingError
    where there is no checkpoint, UsageError for an ambiguous one, SourceChangedError where a file
    changed since its header was read, and as `transformed` does.
    """
    notes: list[str] = []
    ours, theirs = _read_both(a, b, key, notes, opened)
    chosen = transformed(theirs, transform)
    mine, its = named_tensors(ours), named_tensors(chosen.checkpoint)
    pairs = [_Pair(name, mine[name], its[name]) for name in mine if name in its]
    with Sources.of(a.store, ours) as one, Sources.of(b.store, theirs) as other:
        compare = partial(_compared, one, other, stats=stats)
        compared = observed(jobs, compare, pairs, lambda pair: pair.nbytes, observe, b.source)
        changes = {change.name: change for change in compared if change is not None}
        one.check_unchanged()
        other.check_unchanged()
    every = [*mine, *(name for name in its if name not in mine)]
    listed = (_change(name, mine, its, changes) for name in every)
    return Difference(
        a=a.source,
        b=b.source,
        equal=len(pairs) - len(changes),
        changes=tuple(change for change in listed if change is not None),
        left_out=len(chosen.left_out),
        incomplete=(*sorted(ours.incomplete), *sorted(theirs.incomplete)),
        notes=tuple(notes),
    )


def _read_both(
    a: Side, b: Side, key: str | None, notes: list[str], opened: Opened
) -> tuple[Checkpoint, Checkpoint]:
    """Return the two; a key counts only for the one that is nested, where the other is not."""
    try:
        ours = _read(a, key, notes, opened)
    except NotNestedError:
        theirs = _read(b, key, notes, opened)
        notes.append(not_nested(a.source))
        return _read(a, None, notes, opened), theirs
    try:
        return ours, _read(b, key, notes, opened)
    except NotNestedError:
        notes.append(not_nested(b.source))
        return ours, _read(b, None, notes, opened)


def _read(side: Side, key: str | None, notes: list[str], opened: Opened) -> Checkpoint:
    findings: list[Finding] = []
    located = find_checkpoint(side.store, side.source, whole_set=False)
    checkpoint = read_checkpoint(
        side.store, located, findings.append, key, nested=True, opened=opened
    )
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors and not checkpoint.tensors:
        raise as_error(errors[0])
    notes.extend(located.notes)
    notes.extend(map(in_one_line, findings))
    return checkpoint


def _change(
    name: str,
    mine: Mapping[str, Tensor],
    its: Mapping[str, Tensor],
    changes: Mapping[str, Change],
) -> Change | None:
    if name not in its:
        return Change(name, "removed", a=mine[name])
    if name not in mine:
        return Change(name, "added", b=its[name])
    return changes.get(name)


def _compared(a: Sources, b: Sources, pair: _Pair, tick: Tick, *, stats: bool) -> Change | None:
    ours, theirs = pair.a, pair.b
    if ours.shape != theirs.shape:
        return Change(pair.name, "shape", ours, theirs)
    same_type = ours.dtype == theirs.dtype
    if same_type and _equal(a, b, pair, tick):
        return None
    found = _distance(a, b, pair) if stats else None
    return Change(pair.name, "bytes" if same_type else "dtype", ours, theirs, found)


def _equal(a: Sources, b: Sources, pair: _Pair, tick: Tick) -> bool:
    ours, theirs = compared_parts(pair.a, pair.b)
    equal = True
    for mine, its in in_step(elements_of(a.reader, ours), elements_of(b.reader, theirs)):
        equal = equal and mine == its
        tick(2 * len(mine))
        if not equal:
            break
    return equal


def _distance(a: Sources, b: Sources, pair: _Pair) -> Distance | None:
    if not (has_statistics(pair.a.dtype.name) and has_statistics(pair.b.dtype.name)):
        return None
    return distance(
        elements_of(a.reader, pair.a),
        pair.a.dtype.name,
        elements_of(b.reader, pair.b),
        pair.b.dtype.name,
    )
