"""What `diff` draws: the tensors that differ, by how they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.text import Text

from shardctl.cli.terminal.canvas import Canvas
from shardctl.commands.diff import Change, Difference, What
from shardctl.model import Tensor
from shardctl.sizes import format_size
from shardctl.streams.statistics import Distance
from shardctl.text import cells, plural
from shardctl.view.tensors import shape_text

#: Tensors of one kind that are listed.
MOST_LISTED = 50
#: Columns between a name and what follows it, at least, and of a name in a narrow terminal.
_GAP, _LEAST_NAME = 2, 8
_INDENT = "  "
_HEADINGS: dict[What, str] = {
    "removed": "only in A",
    "added": "only in B",
    "dtype": "another type",
    "shape": "another shape",
    "bytes": "other bytes",
}


def difference(found: Difference, on: Canvas, *, stats: bool) -> Iterator[Text]:
    """Yield the tensors that differ, under a heading for each kind of difference."""
    order = list(_HEADINGS)
    changes = sorted(found.changes, key=lambda change: order.index(change.what))
    for what, group in groupby(changes, key=lambda change: change.what):
        yield from _group(what, list(group), on, stats=stats)
        yield Text()


def _group(what: What, changes: Sequence[Change], on: Canvas, *, stats: bool) -> Iterator[Text]:
    yield Text(f"{_HEADINGS[what]}: {plural(len(changes), 'tensor')}", style="bold")
    for change in changes[:MOST_LISTED]:
        tail = _tail(change, on)
        room = on.width - 1 - len(_INDENT) - len(tail)
        name = on.name(change.name, max(room - _GAP, _LEAST_NAME))
        line = Text(f"{_INDENT}{name}", no_wrap=True, overflow="crop")
        line.append(f"{' ' * max(room - cells(name), _GAP)}{tail}", "dim")
        yield line
        if stats and change.distance is not None:
            yield Text(f"    {_apart(change.distance)}", style="dim")
    if len(changes) > MOST_LISTED:
        yield Text(f"  {on.glyphs.ellipsis} {len(changes) - MOST_LISTED:,} more", style="dim")


def _tail(change: Change, on: Canvas) -> str:
    sides = [_typed(side, on) for side in (change.a, change.b) if side is not None]
    tail = f" {on.glyphs.arrow} ".join(dict.fromkeys(sides))
    nbytes = max(side.nbytes for side in (change.a, change.b) if side is not None)
    return f"{tail}  {format_size(nbytes):>8}"


def _apart(distance: Distance) -> str:
    said = f"{plural(distance.changed, 'element')} changed"
    if distance.largest is not None:
        said += f", by {distance.largest:.3g} at most and {distance.mean:.3g} on average"
    return said


def _typed(tensor: Tensor, on: Canvas) -> str:
    return f"{tensor.dtype.name} {shape_text(tensor.shape, on.glyphs.times)}"
