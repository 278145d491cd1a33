"""Layers as areas: a tree of the dotted names, and rectangles in it whose areas are bytes.

Rectangles are laid out in strips, which are read like lines (Bederson, Shneiderman and Wattenberg,
"Ordered and Quantum Treemaps", 2002). Where one strip ends and the next begins is chosen so that
cells are as little elongated on average as they can be.
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
    """A layer or tensor to draw, and how many elements it has.

    `group` colours it; None where its layers are drawn inside.
    """

    box: Box
    label: str
    detail: str
    parameters: int
    group: str | None
    opened: bool


def cells(node: Node, box: Box, levels: int) -> Iterator[Cell]:
    """Yield the layers below `node` as rectangles in `box`, down to `levels` levels."""
    shown, hidden = _foreground(node, box)
    if hidden:
        rest = Node(
            f"{len(hidden):,} more",
            nbytes=sum(child.nbytes for child in hidden),
            tensors=sum(child.tensors for child in hidden),
            parameters=sum(child.parameters for child in hidden),
        )
        shown = [*shown, rest]
    places = strips([child.nbytes for child in shown], box)
    for child, place in zip(shown, places, strict=True):
        label, inner = chain(child)
        opened = (
            bool(inner.children)
            and levels > 1
            and place.width * place.height >= LEAST_TO_OPEN
            and place.height > 3 * TITLE
        )
        group = None if opened else inner.group
        yield Cell(place.inside(_GAP / 2), label, _detail(inner), inner.parameters, group, opened)
        if opened:
            yield from cells(inner, place.inside(_GAP + 2, TITLE), levels - 1)


def _detail(node: Node) -> str:
    size = format_size(node.nbytes)
    if node.is_tensor:
        return f"{node.dtype} {shape_text(node.shape)}, {size}"
    return f"{plural(node.tensors, 'tensor')}, {size}"


def _foreground(node: Node, box: Box) -> tuple[list[Node], list[Node]]:
    """The children that have room, in natural order, and those that go into one cell together."""
    ordered = sorted(node.children, key=lambda child: -child.nbytes)
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


def strips(weights: Sequence[int], box: Box) -> Iterator[Box]:
    """Yield a rectangle for each weight; areas are in proportion, and together they fill `box`."""
    total = sum(weights)
    if not total or not box.width:
        return
    areas = [weight * box.width * box.height / total for weight in weights]
    y = box.y
    for strip in _strips(areas, box.width):
        height = sum(strip) / box.width
        x = box.x
        for area in strip:
            width = area / height if height else 0.0
            yield Box(x, y, width, height)
            x += width
        y += height


def _strips(areas: Sequence[float], width: float) -> list[Sequence[float]]:
    """Divide areas, in their order, into the strips that make them least elongated in all."""
    # For each number of areas: how elongated they are at best, and where their last strip begins.
    best = [(0.0, 0)]
    for end in range(1, len(areas) + 1):
        best.append(min((best[at][0] + _elongation(areas[at:end], width), at) for at in range(end)))
    divided: list[Sequence[float]] = []
    end = len(areas)
    while end:
        begin = best[end][1]
        divided.insert(0, areas[begin:end])
        end = begin
    return divided


def _elongation(strip: Sequence[float], width: float) -> float:
    """Return the sum of the proportions, longer to shorter side, of the cells of a strip."""
    square = (sum(strip) / width) ** 2
    return sum(max(area / square, square / area) for area in strip if area and square)
