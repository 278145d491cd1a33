"""Boxes in a grid of elements: whether they cover it exactly once, and in which order they lie.

A grid is a shape, a box begins at a position of it and has a shape of as many dimensions. Elements
are counted row-major.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from shardctl.model import Box


@dataclass(frozen=True, slots=True)
class Fault:
    """The first position of a grid that no box covers, or that several do: `boxes`, in order."""

    position: tuple[int, ...]
    boxes: tuple[Box, ...] = ()


def fault(grid: Sequence[int], boxes: Sequence[Box]) -> Fault | None:
    """Return the first fault of boxes that should cover a grid exactly once; None without one.

    Boxes lie within the grid. The time is about linear for slices along a few dimensions, and at
    most quadratic in the number of boxes.
    """
    if not math.prod(grid) or is_lattice(grid, boxes):
        return None
    return _fault(tuple(grid), [box for box in boxes if box.tensor.elements], 0)


def is_lattice(grid: Sequence[int], boxes: Sequence[Box]) -> bool:
    """Whether boxes that all have elements cover a grid that is only cut along whole planes.

    Slices of ranks do. The time is linear in the number of boxes.
    """
    ends: list[dict[int, int]] = []
    for axis, size in enumerate(grid):
        begins = sorted({box.start[axis] for box in boxes})
        if not begins or begins[0] != 0:
            return False
        ends.append(dict(zip(begins, (*begins[1:], size), strict=True)))
    if len(boxes) != math.prod(map(len, ends)) or len({box.start for box in boxes}) != len(boxes):
        return False
    return all(
        begin + length == end[begin]
        for box in boxes
        for begin, length, end in zip(box.start, box.tensor.shape, ends, strict=True)
    )


def _fault(grid: tuple[int, ...], boxes: Sequence[Box], axis: int) -> Fault | None:
    """Look along one axis and the ones after it; all boxes cover the same place of those before."""
    if axis == len(grid):
        return None if len(boxes) == 1 else Fault((), tuple(boxes))
    for begin, _, held in _stretches(grid[axis], boxes, axis):
        found = _fault(grid, held, axis + 1) if held else Fault((0,) * (len(grid) - axis - 1))
        if found is not None:
            return Fault((begin, *found.position), found.boxes)
    return None


def _stretches(size: int, boxes: Sequence[Box], axis: int) -> Iterator[tuple[int, int, list[Box]]]:
    """Yield where the boxes that cover an axis change: begin, end, and those boxes."""
    begins: dict[int, list[Box]] = {0: [], size: []}
    ends: dict[int, set[int]] = {}
    for box in boxes:
        begin = box.start[axis]
        end = begin + box.tensor.shape[axis]
        begins.setdefault(begin, []).append(box)
        begins.setdefault(end, [])
        ends.setdefault(end, set()).add(id(box))
    held: list[Box] = []
    for begin, end in pairwise(sorted(begins)):
        gone = ends.get(begin)
        if gone:
            held = [box for box in held if id(box) not in gone]
        held += begins[begin]
        yield begin, end, held


def contiguous_run(grid: Sequence[int], box: Box) -> bool:
    """Whether the elements of a box follow one another in the grid."""
    inner = True  # all axes further in are covered whole
    for size, length in zip(reversed(grid), reversed(box.tensor.shape), strict=True):
        if not inner and length != 1:
            return False
        inner = inner and length == size
    return True


def slabs(grid: Sequence[int], boxes: Sequence[Box]) -> Iterator[tuple[int, int, list[Box]]]:
    """Yield the boxes of a grid that they cover, in slabs along the first axis, none cut.

    A slab is where it begins, how many rows it has, and its boxes in the order of their first
    elements. Empty boxes are left out.
    """
    if not grid:
        yield 0, 1, list(boxes)
        return
    held = sorted((box for box in boxes if box.tensor.elements), key=lambda box: box.start)
    slab: list[Box] = []
    begin = end = 0
    for box in held:
        if slab and box.start[0] >= end:
            yield begin, end - begin, slab
            slab = []
        if not slab:
            begin = box.start[0]
        slab.append(box)
        end = max(end, box.start[0] + box.tensor.shape[0])
    if slab:
        yield begin, end - begin, slab
