"""One file of the source directory that goes along: as it is, or with a few bytes replaced."""

from __future__ import annotations

from dataclasses import dataclass
from operator import eq

from shardctl.layout import Layout, LayoutBuilder
from shardctl.model import Extent, Version
from shardctl.planning.transform.config import Edit, edited
from shardctl.stores.base import Store
from shardctl.streams.chunks import chunks


@dataclass(frozen=True, slots=True)
class Companion:
    """A file to copy from `path` in the source, with its `edits`, which are in order.

    `version` is the one that the edits were made for, None where there are none.
    """

    path: str
    edits: tuple[Edit, ...] = ()
    version: Version | None = None

    def nbytes(self, size: int) -> int:
        """Return the bytes of the copy of a file of `size` bytes."""
        return size + sum(len(edit.data) - edit.length for edit in self.edits)

    def layout(self, size: int) -> Layout:
        """Return the layout of the copy of a file of `size` bytes."""
        builder = LayoutBuilder()
        done = 0
        for edit in self.edits:
            builder.copy(Extent(self.path, done, edit.offset - done))
            builder.literal(edit.data)
            done = edit.offset + edit.length
        builder.copy(Extent(self.path, done, size - done))
        return builder.build()

    def is_same(self, source: Store, store: Store, other: str) -> bool:
        """Whether a file has the contents that the copy will have."""
        with source.open(self.path) as one, store.open(other) as two:
            size, held = one.version.size, two.version.size
            if self.nbytes(size) != held:
                return False
            if self.edits:  # of a small file
                return edited(one.read(0, size), self.edits) == two.read(0, held)
            whole = chunks(one, Extent(self.path, 0, size))
            return all(map(eq, whole, chunks(two, Extent(other, 0, held))))
