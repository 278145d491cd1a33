"""Boxes in a grid of elements: whether they cover it exactly once, and in which order they lie.

A grid is a shape, a box begins at a position of it and has a shape of as many dimensions. Elements
are counted row-major.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from shardctl.model import Assembled, Box, Cast, Tensor, contiguous_strides, made_tensor


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


#: A box of a tensor: where it begins, and its shape, both in elements.
Region = tuple[tuple[int, ...], tuple[int, ...]]


def narrow(tensor: Tensor, regions: Iterable[Region]) -> Iterator[Tensor]:
    """Yield what lies in each region of a tensor, with as many dimensions and its name.

    No region is empty. A view of the same storage is given of what a file holds; what is assembled
    gets the parts of its boxes that are in the region. Raises ValueError where that cannot be said:
    of what is converted, and of what is assembled in a grid that is neither its shape nor flat, or
    flat where the region is several runs.
    """
    made = tensor.storage.made
    match made:
        case None:
            for start, size in regions:
                yield _view(tensor, start, size)
        case Cast():
            raise ValueError(f"'{tensor.name}' is converted: no part of it is in a file")
        case Assembled():
            held = list(slabs(made.grid, made.boxes))
            begins = [begin for begin, _, _ in held]
            for number, region in enumerate(regions):
                start, size = _in_grid(tensor, made.grid, region)
                first = bisect.bisect_right(begins, start[0]) - 1
                last = bisect.bisect_left(begins, start[0] + size[0])
                inside = [box for _, _, some in held[first:last] for box in some]
                yield made_tensor(
                    tensor.name,
                    tensor.dtype,
                    region[1],
                    Assembled(size, tuple(_clipped(inside, start, size))),
                    f"{tensor.storage.key} part {number}",
                )


def _view(tensor: Tensor, start: Sequence[int], size: tuple[int, ...]) -> Tensor:
    strides = tensor.strides or contiguous_strides(tensor.shape)
    offset = tensor.offset + sum(at * step for at, step in zip(start, strides, strict=True))
    # Made by itself, since there can be a million: `replace` takes several times as long.
    part = Tensor(tensor.name, tensor.dtype, size, tensor.storage, offset, strides)
    if tensor.strides is None and contiguous_run(tensor.shape, Box((), part)):
        return Tensor(tensor.name, tensor.dtype, size, tensor.storage, offset)
    return part


def _in_grid(tensor: Tensor, grid: tuple[int, ...], region: Region) -> Region:
    """Return a region of a tensor as one of the grid that it is assembled in."""
    if grid == tensor.shape:
        return region
    start, size = region
    steps = contiguous_strides(tensor.shape)
    box = Box(start, replace(tensor, shape=size))
    if len(grid) != 1 or not contiguous_run(tensor.shape, box):
        raise ValueError(f"'{tensor.name}' is assembled in a grid of another shape")
    begin = sum(at * step for at, step in zip(start, steps, strict=True))
    return (begin,), (math.prod(size),)


def _clipped(boxes: Iterable[Box], start: Sequence[int], size: Sequence[int]) -> Iterator[Box]:
    """Yield what of boxes lies in a region of their grid, with positions in the region."""
    for box in boxes:
        shape = box.tensor.shape
        low = tuple(map(max, start, box.start))
        high = [
            min(at + length, other + extent)
            for at, length, other, extent in zip(start, size, box.start, shape, strict=True)
        ]
        lengths = tuple(end - at for at, end in zip(low, high, strict=True))
        if all(length > 0 for length in lengths):
            inside = tuple(at - other for at, other in zip(low, box.start, strict=True))
            (part,) = narrow(box.tensor, [(inside, lengths)])
            yield Box(tuple(at - one for at, one in zip(low, start, strict=True)), part)
