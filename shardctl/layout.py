"""The layout of one file to write: its pieces, in order.

A layout is a pure value. It is built by a format's `lay_out` and carried out by `engine.task`,
which knows how to fill each kind of piece; nothing here touches a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shardctl.boxes import contiguous_run, slabs
from shardctl.model import (
    DTYPES,
    Assembled,
    Box,
    Cast,
    Extent,
    Tensor,
    contiguous_strides,
    whole_blocks,
)
from shardctl.storages import sources_of


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes known when planning: headers, pickles, directories."""

    data: bytes

    @property
    def nbytes(self) -> int:
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Copy:
    """Source bytes as they are.

    `crc32` is the checksum that the source records for exactly these bytes, if any.
    """

    extent: Extent
    crc32: int | None = None

    @property
    def nbytes(self) -> int:
        return self.extent.length


@dataclass(frozen=True, slots=True)
class Gather:
    """The elements of a strided view, row-major.

    `extent` starts at element 0; strides are in elements.
    """

    extent: Extent
    itemsize: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.itemsize


@dataclass(frozen=True, slots=True)
class Assemble:
    """The elements of a grid, row-major, each from the box that it lies in.

    `boxes` are views, each with the position in the grid, in elements, at which it begins; they
    cover the grid exactly once. A view may itself be assembled.
    """

    itemsize: int
    grid: tuple[int, ...]
    boxes: tuple[tuple[tuple[int, ...], Gather | Assemble], ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.grid) * self.itemsize


#: Pieces with the elements of tensors as files hold them.
Stored = Copy | Gather | Assemble


@dataclass(frozen=True, slots=True)
class Convert:
    """The elements of a piece as numbers of another dtype; `source` and `target` are dtypes' names.

    Both dtypes have elements of whole bytes.
    """

    piece: Stored
    source: str
    target: str

    @property
    def nbytes(self) -> int:
        return self.piece.nbytes // DTYPES[self.source].itemsize * DTYPES[self.target].itemsize


#: Pieces with the elements of tensors.
Elements = Stored | Convert


@dataclass(frozen=True, slots=True)
class Crc:
    """Four bytes: the CRC-32 (little-endian) of `count` pieces from index `of` on, joined."""

    of: int
    count: int = 1

    @property
    def nbytes(self) -> int:
        return 4


@dataclass(frozen=True, slots=True)
class Check:
    """No bytes of the file: source bytes that must have the checksum that their source records.

    Needed where bytes go into a file without the checksum that the source has for them. `tensor`
    is the name of the first tensor that is read from there, for messages.
    """

    extent: Extent
    crc32: int
    tensor: str | None = None

    @property
    def nbytes(self) -> int:
        return 0


Piece = Literal | Elements | Crc | Check


@dataclass(frozen=True, slots=True)
class Layout:
    """One file: its pieces in order. `nbytes` is the file's exact size."""

    pieces: tuple[Piece, ...]
    nbytes: int

    def placed(self) -> Iterator[tuple[int, Piece]]:
        """Yield each piece with its offset in the file, in bytes."""
        offset = 0
        for piece in self.pieces:
            yield offset, piece
            offset += piece.nbytes

    def paths(self) -> tuple[str, ...]:
        """The files that are read for it, each once."""
        found = (extent.path for piece in self.pieces for extent in extents_of(piece))
        return tuple(dict.fromkeys(found))

    def shareable(self, block: int) -> int:
        """Return the bytes that take no room where the file shares blocks with its sources."""
        copies = ((offset, piece) for offset, piece in self.placed() if isinstance(piece, Copy))
        return sum(whole_blocks(offset, copy.extent, block)[1] for offset, copy in copies)


def extents_of(piece: Piece) -> Iterator[Extent]:
    """Yield each range of source bytes that a piece is made from; a check has none."""
    match piece:
        case Copy() | Gather():
            yield piece.extent
        case Assemble():
            for _, view in piece.boxes:
                yield from extents_of(view)
        case Convert():
            yield from extents_of(piece.piece)


#: Bytes of a literal that is likely to occur many times.
_SHORT = 8


@dataclass(slots=True)
class LayoutBuilder:
    """Appends pieces, and joins neighbouring literals and copies, so that a file has few pieces."""

    _pieces: list[Piece] = field(default_factory=list)
    _pending: bytearray = field(default_factory=bytearray)
    # The copy that the next may join: its file, and its begin and end there, in bytes.
    _path: str = ""
    _begin: int = 0
    _end: int = 0
    _checked: set[tuple[str, str]] = field(default_factory=set)
    # One piece for equal short literals, which separate the tensors of a file.
    _short: dict[bytes, Literal] = field(default_factory=dict)
    nbytes: int = 0

    def literal(self, data: bytes) -> None:
        """Append known bytes."""
        if data:
            self._flush_copy()
            self._pending += data
            self.nbytes += len(data)

    def copy(self, extent: Extent) -> None:
        """Append source bytes; join them with the copy before them where they adjoin it."""
        if extent.length == 0:
            return
        if extent.offset != self._end or extent.path != self._path or self._begin == self._end:
            self._flush()
            self._path, self._begin = extent.path, extent.offset
        self._end = extent.offset + extent.length
        self.nbytes += extent.length

    def record(self, piece: Elements) -> int:
        """Append a piece that is not joined, for a checksum to name it; return its index."""
        self._append(piece)
        return len(self._pieces) - 1

    def check(self, tensor: Tensor) -> None:
        """Have the checksum that the source records for a tensor's storage compared with its bytes.

        Call it after every piece that takes bytes of the storage without that checksum. A storage
        is checked once in a file.
        """
        for source in sources_of(tensor):
            storage = source.storage.recorded
            if storage.crc32 is None or not source.elements or storage.identity in self._checked:
                continue
            self._checked.add(storage.identity)
            self._append(Check(storage.extent, storage.crc32, tensor.name))

    def crc(self, piece: Crc) -> None:
        """Append the checksum of other pieces."""
        self._append(piece)

    def join(self, after: LayoutBuilder) -> None:
        """Append literals and checksums that were put together apart; `after` is used up."""
        self._flush()
        after._flush()
        self._pieces.extend(after._pieces)
        self.nbytes += after.nbytes

    def build(self) -> Layout:
        """Return the finished layout."""
        self._flush()
        return Layout(tuple(self._pieces), self.nbytes)

    def _append(self, piece: Piece) -> None:
        self._flush()
        self._pieces.append(piece)
        self.nbytes += piece.nbytes

    def _flush(self) -> None:
        self._flush_copy()
        if self._pending:
            data = bytes(self._pending)
            self._pending.clear()
            piece = Literal(data)
            if len(data) <= _SHORT:
                piece = self._short.setdefault(data, piece)
            self._pieces.append(piece)

    def _flush_copy(self) -> None:
        if self._begin < self._end:
            self._pieces.append(Copy(Extent(self._path, self._begin, self._end - self._begin)))
            self._begin = self._end


def view_of(tensor: Tensor) -> Copy | Gather:
    """Return the piece with the elements of a tensor whose bytes are in a file.

    It is a copy where they are contiguous.
    """
    if tensor.strides is None:
        whole = tensor.offset == 0 and tensor.span.length == tensor.storage.extent.length
        return Copy(tensor.span, tensor.storage.crc32 if whole else None)
    return Gather(tensor.span, tensor.dtype.itemsize, tensor.shape, tensor.strides)


def pieces_of(tensor: Tensor) -> tuple[Elements, ...]:
    """Return the pieces that write a tensor's elements, in order.

    There is one for a tensor whose bytes are in a file. Of one that is assembled, the parts that
    follow one another are a piece each, so that they are copied as they are. Raises ValueError for
    what is converted, and then assembled or converted again.
    """
    made = tensor.storage.made
    if not isinstance(made, Cast):
        return tuple(_stored(tensor))
    source, target = made.tensor.dtype.name, tensor.dtype.name
    return tuple(Convert(piece, source, target) for piece in _stored(made.tensor))


def _stored(tensor: Tensor) -> Iterator[Stored]:
    """Yield the pieces of a tensor that is not converted.

    What is assembled has one for each box that is a run of the grid, and one for each slab of
    others.
    """
    made = tensor.storage.made
    match made:
        case None:
            yield view_of(tensor)
        case Cast():
            raise _twice(tensor)
        case Assembled():
            for begin, rows, boxes in slabs(made.grid, made.boxes):
                if all(contiguous_run(made.grid, box) for box in boxes):
                    for box in boxes:
                        yield from _stored(box.tensor)
                else:
                    yield _slab(made, begin, rows, boxes)


def _slab(made: Assembled, begin: int, rows: int, boxes: Sequence[Box]) -> Assemble:
    """Return the piece for some rows of a grid, from row `begin` on."""
    views = (((box.start[0] - begin, *box.start[1:]), _box_view(box.tensor)) for box in boxes)
    itemsize = made.boxes[0].tensor.dtype.itemsize
    return Assemble(itemsize, (rows, *made.grid[1:]), tuple(views))


def _box_view(tensor: Tensor) -> Gather | Assemble:
    """Return the view of what fills a box, with the dimensions of the grid."""
    made = tensor.storage.made
    match made:
        case None:
            strides = tensor.strides
            if strides is None:
                strides = contiguous_strides(tensor.shape)
            return Gather(tensor.span, tensor.dtype.itemsize, tensor.shape, strides)
        case Cast():
            raise _twice(tensor)
        case Assembled():
            if made.grid != tensor.shape:
                raise ValueError(f"'{tensor.name}' is assembled in a grid of another shape")
            views = tuple((box.start, _box_view(box.tensor)) for box in made.boxes)
            return Assemble(tensor.dtype.itemsize, made.grid, views)


def _twice(tensor: Tensor) -> ValueError:
    return ValueError(f"'{tensor.name}' is converted, and then made into something else")
