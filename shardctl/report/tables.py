"""The tables of a report: what a page shows without its script, and what a screen reader reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shardctl.report.content import Content
from shardctl.view.files import FileBar
from shardctl.view.kinds import KINDS, OTHER, kind_of
from shardctl.view.shares import Share, shares
from shardctl.view.tensors import TensorRow, largest
from shardctl.view.tree import Group, chain, dtype_of, tree

#: Rows of a table at most; what is left out is counted.
MOST_ROWS = 500
#: Colours that tell groups apart; all further ones, and what is of no known kind, share one more.
COLOURS = 8


@dataclass(frozen=True, slots=True)
class Palette:
    """Groups that the tensors of a report are coloured by, and the numbers of their colours."""

    title: str
    group: Group
    shares: tuple[Share, ...]
    colours: Mapping[str, int]

    @property
    def tells(self) -> bool:
        """Whether it tells any tensors from others of no known group."""
        return any(colour < COLOURS for colour in self.colours.values())

    def colour(self, group: str | None) -> int:
        """Return the number of a group's colour."""
        return COLOURS if group is None else self.colours.get(group, COLOURS)


def by_dtype(content: Content) -> Palette:
    """Return the palette of the dtypes, the one with most bytes first."""
    places = {share.name: place for place, share in enumerate(content.dtypes)}
    colours = {name: min(place, COLOURS) for name, place in places.items()}
    return Palette("dtype", dtype_of, content.dtypes, colours)


def by_kind(content: Content) -> Palette:
    """Return the palette of the kinds, each of which has the same colour in every report."""
    kinds = content.kinds
    colours = {
        share.name: COLOURS if share.name == OTHER else KINDS.index(share.name) for share in kinds
    }
    return Palette("kind", lambda row: kind_of(row.name), kinds, colours)


def palettes(content: Content) -> tuple[Palette, ...]:
    """Return what to colour by: first the kinds, where names tell any, and then the dtypes."""
    return tuple(palette for palette in (by_kind(content), by_dtype(content)) if palette.tells)


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer at the top: its share of the bytes, and how many elements it has."""

    share: Share
    parameters: int


@dataclass(frozen=True, slots=True)
class Tables:
    """The rows of each table, and how many are left out."""

    files: tuple[FileBar, ...]
    layers: tuple[LayerRow, ...]
    largest: tuple[TensorRow, ...]
    hidden_files: int
    hidden_layers: int
    hidden_tensors: int


def tables(content: Content) -> Tables:
    """Return the tables of a report."""
    files = content.bars.files
    top = sorted(chain(tree(content.rows, 1))[1].children, key=lambda node: -node.nbytes)
    shown = top[:MOST_ROWS]
    parts = shares(((chain(node)[0], node.nbytes, node.tensors) for node in shown), content.nbytes)
    return Tables(
        files=files[:MOST_ROWS],
        layers=tuple(
            LayerRow(share, node.parameters) for share, node in zip(parts, shown, strict=True)
        ),
        largest=tuple(largest(content.rows, MOST_ROWS)),
        hidden_files=max(len(files) - MOST_ROWS, 0),
        hidden_layers=max(len(top) - MOST_ROWS, 0),
        hidden_tensors=max(sum(file.tensors for file in files) - MOST_ROWS, 0),
    )
