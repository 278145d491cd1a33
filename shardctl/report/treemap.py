"""Layers as areas: a tree of the dotted names, and rectangles in it whose areas are bytes.

Rectangles are laid out as Bruls, Huizing and van Wijk describe it ("Squarified Treemaps", 2000): in
rows along the shorter side, each row taking another cell as long as that makes its worst cell less
elongated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from shardctl.report.content import Item, shape_text
from shardctl.sizes import format_size

#: Square units below which a cell is not drawn by itself, and those that a layer needs to show what
#: is in it.
LEAST_AREA, LEAST_TO_OPEN = 220.0, 5200.0
#: Cells of one layer at most, and the height of its title.
MOST_CELLS, TITLE = 60, 17.0
_GAP = 2.0


@dataclass(slots=True)
class Layer:
    """A part of the names' tree; a tensor is a layer with nothing below it."""

    label: str
    nbytes: int = 0
    tensors: int = 0
    item: Item | None = None
    dtypes: Counter[str] = field(default_factory=Counter)
    children: dict[str, Layer] = field(default_factory=dict)

    @property
    def dtype(self) -> str | None:
        """The dtype of most bytes."""
        return max(self.dtypes, key=lambda name: self.dtypes[name], default=None)

    def opened(self) -> Layer:
        """Where a chain of single layers ends, under the whole chain's label."""
        node: Layer = self
        labels = [self.label]
        while len(node.children) == 1 and node.item is None:
            (node,) = node.children.values()
            labels.append(node.label)
        if node is self:
            return self
        return Layer(
            ".".join(labels), node.nbytes, node.tensors, node.item, node.dtypes, node.children
        )


def layers(items: Iterable[Item]) -> Layer:
    """The tree of the dotted names, with sums."""
    root = Layer("")
    for item in items:
        node = root
        path = [root]
        for part in item.name.split("."):
            node = node.children.setdefault(part, Layer(part))
            path.append(node)
        node.item = item
        for above in path:
            above.nbytes += item.nbytes
            above.tensors += 1
            above.dtypes[item.dtype] += item.nbytes
    return root


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: left and top, width and height."""

    x: float
    y: float
    width: float
    height: float

    def inside(self, margin: float, top: float = 0) -> Box:
        """What is left within a margin, and below a title."""
        width, height = self.width - 2 * margin, self.height - 2 * margin - top
        return Box(self.x + margin, self.y + margin + top, max(width, 0), max(height, 0))


@dataclass(frozen=True, slots=True)
class Cell:
    """A layer or tensor to draw. `dtype` colours it where nothing is drawn inside."""

    box: Box
    label: str
    detail: str
    dtype: str | None
    depth: int
    opened: bool


def cells(node: Layer, box: Box, depth: int, most: int) -> Iterator[Cell]:
    """The layers below `node` as rectangles in `box`, with their own inside, down to `most` levels."""
    shown, hidden = _foreground(node, box)
    weights = [child.nbytes for child in shown]
    if hidden:
        rest = sum(child.nbytes for child in hidden)
        weights.append(rest)
        shown = [
            *shown,
            Layer(f"{len(hidden):,} more", rest, sum(child.tensors for child in hidden)),
        ]
    for child, place in zip(shown, squarify(weights, box), strict=True):
        inner = child.opened()
        area = place.width * place.height
        opens = (
            bool(inner.children)
            and depth < most
            and area >= LEAST_TO_OPEN
            and place.height > 3 * TITLE
        )
        yield Cell(place.inside(_GAP / 2), inner.label, _detail(inner), inner.dtype, depth, opens)
        if opens:
            yield from cells(inner, place.inside(_GAP + 2, TITLE), depth + 1, most)


def _detail(node: Layer) -> str:
    if node.item is not None and not node.children:
        return f"{node.item.dtype} {shape_text(node.item.shape)}, {format_size(node.nbytes)}"
    return f"{node.tensors:,} tensor{'' if node.tensors == 1 else 's'}, {format_size(node.nbytes)}"


def _foreground(node: Layer, box: Box) -> tuple[list[Layer], list[Layer]]:
    """The children that have room, largest first, and those that go into one cell together."""
    ordered = sorted(node.children.values(), key=lambda child: -child.nbytes)
    visible = [child for child in ordered if child.nbytes]
    total = sum(child.nbytes for child in visible)
    area = box.width * box.height
    large = [child for child in visible[:MOST_CELLS] if child.nbytes * area >= LEAST_AREA * total]
    hidden = visible[len(large) :]
    return (visible, []) if len(hidden) == 1 else (large, hidden)


def squarify(weights: Sequence[int], box: Box) -> Iterator[Box]:
    """A rectangle for each of the weights, their areas in proportion, together filling `box`."""
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
