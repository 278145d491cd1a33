"""The elements of a strided view in row-major order, without an array library.

Memory is bounded: the output is cut into tiles that follow one another. What a tile needs is read
in blocks, in the order of the source, and each block is spread over the tile by slices of
memoryviews with steps, whose loop is the interpreter's own.

Positions and steps are counted in units: as many bytes as one memoryview item has, 1, 2, 4 or 8.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from shardctl.layout import Gather
from shardctl.stores.base import BUFFER_BYTES, Reader

#: Reading on through a gap of so many bytes costs no more than another system call (measured).
GAP_BYTES = 8 * 1024
#: What a new slice costs, in elements that are copied one by one meanwhile (measured).
_SLICE_COST = 100
#: Copies of one element that are held at once, where a view repeats it.
_COPIES = 4096

_FORMATS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}
_LARGEST_UNIT = 8


class _Axis(NamedTuple):
    """A dimension: its size, and one step along it in the source and in the output, in units."""

    size: int
    source: int
    target: int


@dataclass(frozen=True, slots=True)
class _Cut:
    """A box cut into smaller ones.

    Single steps along `outer`, `chunk` steps at a time along `split`, and `inner` whole.
    """

    outer: Sequence[_Axis]
    split: _Axis
    chunk: int
    inner: Sequence[_Axis]

    def boxes(self) -> Iterator[tuple[int, int, list[_Axis]]]:
        """Yield each box: where it begins in the source and in the output, and its axes."""
        for source, target in _positions(self.outer):
            for start in range(0, self.split.size, self.chunk):
                size = min(self.chunk, self.split.size - start)
                axes = [self.split._replace(size=size), *self.inner]
                yield source + start * self.split.source, target + start * self.split.target, axes


def gather(reader: Reader, piece: Gather, buffer_bytes: int = BUFFER_BYTES) -> Iterator[memoryview]:
    """Yield the elements of `piece` in order, in consecutive chunks of up to `buffer_bytes`.

    Holds up to three times `buffer_bytes`, however large the tensor. Raises what the reader raises,
    and ValueError where the view reaches beyond its extent.
    """
    if piece.nbytes == 0:
        return
    unit, axes = _normalised(piece)
    for source, _, tile in _tiles(axes, max(buffer_bytes // unit, 1)).boxes():
        # No name keeps a tile alive while the next one is made.
        yield from _in_parts(
            _filled(reader, piece, unit, source, tile, max(buffer_bytes // 2 // unit, 1)),
            buffer_bytes,
        )


def _in_parts(data: memoryview, most: int) -> Iterator[memoryview]:
    for start in range(0, len(data), most):
        yield data[start : start + most]


def _normalised(piece: Gather) -> tuple[int, list[_Axis]]:
    """Return the unit in bytes, and the fewest axes, outermost first, that say the same."""
    unit = math.gcd(piece.itemsize, _LARGEST_UNIT)
    parts = piece.itemsize // unit
    dims = [(size, stride * parts) for size, stride in zip(piece.shape, piece.strides, strict=True)]
    unit, dims = _widened(unit, _merged([*dims, (parts, 1)]))
    axes: list[_Axis] = []
    pace = 1
    for size, stride in reversed(dims):
        axes.insert(0, _Axis(size, stride, pace))
        pace *= size
    return unit, axes


def _merged(dims: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Drop dimensions of one element, and join those that follow each other without a gap."""
    joined: list[tuple[int, int]] = []
    for size, stride in dims:
        if size == 1:
            continue
        if joined and joined[-1][1] == size * stride:
            joined[-1] = (joined[-1][0] * size, stride)
        else:
            joined.append((size, stride))
    return joined or [(1, 1)]


def _widened(unit: int, dims: list[tuple[int, int]]) -> tuple[int, list[tuple[int, int]]]:
    """Take two neighbours as one item of twice the width, as often as all steps allow it."""
    *outer, (size, stride) = dims
    while (
        unit < _LARGEST_UNIT
        and stride == 1
        and size % 2 == 0
        and all(step % 2 == 0 for _, step in outer)
    ):
        unit, size = unit * 2, size // 2
        outer = [(count, step // 2) for count, step in outer]
    return unit, _merged([*outer, (size, stride)])


def _tiles(axes: Sequence[_Axis], most: int) -> _Cut:
    """Cut the output into parts of up to `most` units that follow one another."""
    at = len(axes) - 1
    while at > 0 and axes[at - 1].target <= most:
        at -= 1
    split = axes[at]
    return _Cut(axes[:at], split, max(most // split.target, 1), axes[at + 1 :])


def _filled(
    reader: Reader, piece: Gather, unit: int, start: int, tile: Sequence[_Axis], most: int
) -> memoryview:
    """Return one tile of the output, as bytes, read from unit `start` of the source on."""
    data = bytearray(math.prod(axis.size for axis in tile) * unit)
    output = memoryview(data).cast(_FORMATS[unit])
    for source, target, block in _blocks(tile, unit, most).boxes():
        span = 1 + sum((axis.size - 1) * axis.source for axis in block)
        extent = piece.extent.part((start + source) * unit, span * unit)
        _spread(
            memoryview(reader.read(extent.offset, extent.length)).cast(_FORMATS[unit]),
            output,
            target,
            block,
        )
    return memoryview(data)


def _blocks(tile: Sequence[_Axis], unit: int, most: int) -> _Cut:
    """Cut a tile into what is read at once: up to `most` units, without large gaps in between."""
    axes = sorted(tile, key=lambda axis: axis.source)
    span = 1
    for at, axis in enumerate(axes):
        if (axis.source - span) * unit > GAP_BYTES:
            return _Cut(axes[:at:-1], axis, 1, axes[:at])
        steps = (most - span) // axis.source if axis.source else axis.size - 1
        if steps < axis.size - 1:
            return _Cut(axes[:at:-1], axis, steps + 1, axes[:at])
        span += (axis.size - 1) * axis.source
    return _Cut((), axes[-1], axes[-1].size, axes[:-1])


def _spread(read: memoryview, output: memoryview, target: int, block: Sequence[_Axis]) -> None:
    """Put a block where it belongs in the output, from unit `target` on, a slice at a time."""
    line = min(block, key=_cost)
    others = list(block)
    others.remove(line)
    length, step, pace = line
    reach, paces = (length - 1) * step + 1, (length - 1) * pace + 1
    for begin, offset in _positions(others):
        to = target + offset
        if step:
            output[to : to + paces : pace] = read[begin : begin + reach : step]
        else:
            _repeat(read[begin : begin + 1], output, to, line)


def _repeat(element: memoryview, output: memoryview, target: int, line: _Axis) -> None:
    """Put one element at every step of a line, from copies of it that are made once."""
    copies = memoryview(bytes(element) * min(line.size, _COPIES)).cast(_FORMATS[element.itemsize])
    for start in range(0, line.size, _COPIES):
        count = min(_COPIES, line.size - start)
        begin = target + start * line.target
        output[begin : begin + (count - 1) * line.target + 1 : line.target] = copies[:count]


def _cost(axis: _Axis) -> float:
    """Return the cost of moving one element by slices along this axis; without steps it is low."""
    return _SLICE_COST / axis.size + (axis.source != 1 or axis.target != 1)


def _positions(
    axes: Sequence[_Axis], source: int = 0, target: int = 0
) -> Iterator[tuple[int, int]]:
    """Yield each position along some axes, in source and output; the last axis changes first."""
    if not axes:
        yield source, target
        return
    (size, step, pace), *inner = axes
    for _ in range(size):
        if inner:
            yield from _positions(inner, source, target)
        else:
            yield source, target
        source += step
        target += pace
