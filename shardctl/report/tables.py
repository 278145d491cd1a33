"""The tables of a report: what a page shows without its script, and what a screen reader reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from shardctl.report.content import Content
from shardctl.view.files import FileBar
from shardctl.view.shares import Share, shares
from shardctl.view.tensors import TensorRow, largest
from shardctl.view.tree import chain, tree

#: Rows of a table at most; what is left out is counted.
MOST_ROWS = 500
#: Colours that tell dtypes apart; all further ones share one more.
COLOURS = 8


@dataclass(frozen=True, slots=True)
class Palette:
    """The places of the dtypes of a report, the one with most bytes first."""

    places: Mapping[str, int]

    @classmethod
    def of(cls, dtypes: Iterable[Share]) -> Self:
        """Return the palette of dtypes that are sorted by their bytes."""
        return cls({share.name: place for place, share in enumerate(dtypes)})

    def colour(self, dtype: str | None) -> int:
        """Return the number of a dtype's colour."""
        return COLOURS if dtype is None else min(self.places[dtype], COLOURS)


@dataclass(frozen=True, slots=True)
class Tables:
    """The rows of each table, and how many are left out."""

    files: tuple[FileBar, ...]
    layers: tuple[Share, ...]
    largest: tuple[TensorRow, ...]
    hidden_files: int
    hidden_layers: int
    hidden_tensors: int


def tables(content: Content) -> Tables:
    """Return the tables of a report."""
    files = content.bars.files
    top = sorted(chain(tree(content.rows, 1))[1].children.values(), key=lambda node: -node.nbytes)
    layers = [(chain(node)[0], node.nbytes, node.tensors) for node in top[:MOST_ROWS]]
    return Tables(
        files=files[:MOST_ROWS],
        layers=shares(layers, content.nbytes),
        largest=tuple(largest(content.rows, MOST_ROWS)),
        hidden_files=max(len(files) - MOST_ROWS, 0),
        hidden_layers=max(len(top) - MOST_ROWS, 0),
        hidden_tensors=max(sum(file.tensors for file in files) - MOST_ROWS, 0),
    )
