"""Layers as areas: a tree of the dotted names, and rectangles in it whose areas are bytes.

Rectangles are laid out as Bruls, Huizing and van Wijk describe it ("Squarified Treemaps", 2000): in
rows along the shorter side, each row taking another cell as long as that makes its worst cell less
elongated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shardctl.sizes import format_size
from shardctl.text import plural
from shardctl.view.tensors import shape_text
from shardctl.view.tree import Node, chain

#: The least area of a cell that is drawn by itself, and of one that its layers are drawn in.
LEAST_AREA, LEAST_TO_OPEN = 220.0, 5200.0
#: Cells of one layer at most, and the height of its title.
MOST_CELLS, TITLE = 60, 17.0
_GAP = 2.0
_NUMBER = re.compile(r"([0-9]+)")
#: Characters of a label that order it.
_MOST_COMPARED = 200


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: left and top, width and height."""

    x: float
    y: float
    width: float
    height: float

    def inside(self, margin: float, top: float = 0) -> Box:
        """Return what is left within a margin, and below a title of height `top`."""
        width, height = self.width - 2 * margin, self.height - 2 * margin - top
        return Box(self.x + margin, self.y + margin + top, max(width, 0), max(height, 0))


@dataclass(frozen=True, slots=True)
class Cell:
    """A layer or tensor to draw. `dtype` colours it; None where its layers are drawn inside."""

    box: Box
    label: str
    detail: str
    dtype: str | None
    opened: bool


def cells(node: Node, box: Box, levels: int) -> Iterator[Cell]:
    """Yield the layers below `node` as rectangles in `box`, down to `levels` levels."""
    shown, hidden = _foreground(node, box)
    if hidden:
        rest = Node(
            f"{len(hidden):,} more",
            nbytes=sum(child.nbytes for child in hidden),
            tensors=sum(child.tensors for child in hidden),
        )
        shown = [*shown, rest]
    places = squarify([child.nbytes for child in shown], box)
    for child, place in zip(shown, places, strict=True):
        label, inner = chain(child)
        opened = (
            bool(inner.children)
            and levels > 1
            and place.width * place.height >= LEAST_TO_OPEN
            and place.height > 3 * TITLE
        )
        dtype = None if opened else inner.main_dtype
        yield Cell(place.inside(_GAP / 2), label, _detail(inner), dtype, opened)
        if opened:
            yield from cells(inner, place.inside(_GAP + 2, TITLE), levels - 1)


def _detail(node: Node) -> str:
    size = format_size(node.nbytes)
    if node.is_tensor:
        return f"{node.dtype} {shape_text(node.shape)}, {size}"
    return f"{plural(node.tensors, 'tensor')}, {size}"


def _foreground(node: Node, box: Box) -> tuple[list[Node], list[Node]]:
    """The children that have room, in natural order, and those that go into one cell together."""
    ordered = sorted(node.children.values(), key=lambda child: -child.nbytes)
    visible = [child for child in ordered if child.nbytes]
    total = sum(child.nbytes for child in visible)
    area = box.width * box.height
    large = [child for child in visible[:MOST_CELLS] if child.nbytes * area >= LEAST_AREA * total]
    hidden = visible[len(large) :]
    if len(hidden) == 1:
        large, hidden = visible, []
    return sorted(large, key=lambda child: _natural(child.label)), hidden


def _natural(label: str) -> list[tuple[int, str]]:
    """Return a key by which layer 2 comes before layer 10."""
    parts = _NUMBER.split(label[:_MOST_COMPARED])
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def squarify(weights: Sequence[int], box: Box) -> Iterator[Box]:
    """Yield a rectangle for each weight; areas are in proportion, and together they fill `box`."""
    total = sum(weights)
    if not total:
        return
    scale = box.width * box.height / total
    areas = [weight * scale for weight in weights]
    begin = 0
    while begin < len(areas):
        side = min(box.width, box.height)
        end = begin + 1
        while end < len(areas) and _worst(areas[begin : end + 1], side) <= _worst(
            areas[begin:end], side
        ):
            end += 1
        row = areas[begin:end]
        thickness = sum(row) / side if side else 0.0
        yield from _row(row, thickness, box)
        box = _rest(box, thickness)
        begin = end


def _worst(row: Sequence[float], side: float) -> float:
    """How elongated the most elongated cell of a row is."""
    total = sum(row)
    if not total or not side:
        return 0.0
    return max(
        max(side * side * area / total**2, total**2 / (side * side * area)) if area else 0.0
        for area in row
    )


def _row(row: Sequence[float], thickness: float, box: Box) -> Iterator[Box]:
    upright = box.width >= box.height
    at = 0.0
    for area in row:
        length = area / thickness if thickness else 0.0
        if upright:
            yield Box(box.x, box.y + at, thickness, length)
        else:
            yield Box(box.x + at, box.y, length, thickness)
        at += length


def _rest(box: Box, thickness: float) -> Box:
    if box.width >= box.height:
        return Box(box.x + thickness, box.y, max(box.width - thickness, 0.0), box.height)
    return Box(box.x, box.y + thickness, box.width, max(box.height - thickness, 0.0))
