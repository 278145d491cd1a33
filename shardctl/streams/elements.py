"""The elements of tensors, row-major, a few at a time: copied, gathered, assembled, converted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from shardctl.layout import Assemble, Convert, Copy, Elements, Gather, Stored, pieces_of
from shardctl.model import Tensor, contiguous_strides
from shardctl.stores.base import BUFFER_BYTES, Reader
from shardctl.streams.chunks import CHUNK_BYTES, chunks
from shardctl.streams.convert import converter
from shardctl.streams.gather import gather

#: Gives the open file of a path, as long as the block lasts.
Open = Callable[[str], AbstractContextManager[Reader]]
Chunk = bytes | bytearray | memoryview


def elements(open_file: Open, piece: Elements) -> Iterator[Chunk]:
    """Yield the bytes of a piece's elements, in order, in chunks of a few MiB at most.

    Each has whole elements. Memory is bounded however large the piece. Raises what `open_file` and
    its readers raise, and UsageError where what converts is not installed.
    """
    match piece:
        case Copy():
            with open_file(piece.extent.path) as reader:
                yield from chunks(reader, piece.extent)
        case Gather():
            with open_file(piece.extent.path) as reader:
                yield from gather(reader, piece)
        case Assemble():
            yield from _assembled(open_file, piece)
        case Convert():
            convert = converter(piece.source, piece.target)
            for chunk in elements(open_file, piece.piece):
                yield convert(chunk)


def elements_of(open_file: Open, tensor: Tensor) -> Iterator[Chunk]:
    """Yield the bytes of a tensor's elements, row-major; as `elements` does of a piece."""
    for piece in pieces_of(tensor):
        yield from elements(open_file, piece)


def in_step(one: Iterator[Chunk], other: Iterator[Chunk]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the bytes of both in chunks of one length, as far as both have any.

    Where both have chunks of whole elements, of at most 16 bytes each, so have these.
    """
    mine = its = memoryview(b"")
    while True:
        mine = mine or memoryview(next(one, b""))
        its = its or memoryview(next(other, b""))
        length = min(len(mine), len(its), CHUNK_BYTES)
        if not length:
            return
        # As bytes, which are compared many times faster than views.
        yield bytes(mine[:length]), bytes(its[:length])
        mine, its = mine[length:], its[length:]


def cut(piece: Elements, most: int) -> Iterator[Elements]:
    """Yield pieces whose elements joined are those of `piece`, each of about `most` source bytes.

    A view is not cut.
    """
    if isinstance(piece, Convert):
        for part in _cut(piece.piece, most):
            yield Convert(part, piece.source, piece.target)
    else:
        yield from _cut(piece, most)


def _cut(piece: Stored, most: int) -> Iterator[Stored]:
    match piece:
        case Copy():
            yield from _cut_copy(piece, most)
        case Gather():
            yield piece
        case Assemble():
            yield from _cut_rows(piece, most)


def _cut_copy(piece: Copy, most: int) -> Iterator[Copy]:
    for begin in range(0, piece.nbytes, most):
        yield Copy(piece.extent.part(begin, min(most, piece.nbytes - begin)), piece.crc32)


def _cut_rows(piece: Assemble, most: int) -> Iterator[Assemble]:
    rows, *inner = piece.grid
    step = max(most // max(math.prod(inner) * piece.itemsize, 1), 1)
    if step >= rows:
        yield piece
        return
    for begin in range(0, rows, step):
        start, size = (begin, *(0 for _ in inner)), (min(step, rows - begin), *inner)
        yield _part(piece, start, size)


def _part(piece: Assemble, start: Sequence[int], size: Sequence[int]) -> Assemble:
    """Return what a box of an assembled piece is assembled from."""
    return Assemble(piece.itemsize, tuple(size), tuple(_boxes_in(piece, start, size)))


def _boxes_in(
    piece: Assemble, start: Sequence[int], size: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], Gather | Assemble]]:
    """Yield the parts of boxes that lie in a box of the grid, with where they begin in that."""
    for begin, view in piece.boxes:
        shape = view.grid if isinstance(view, Assemble) else view.shape
        low = [max(one, other) for one, other in zip(start, begin, strict=True)]
        high = [
            min(one + length, other + extent)
            for one, length, other, extent in zip(start, size, begin, shape, strict=True)
        ]
        lengths = [end - at for at, end in zip(low, high, strict=True)]
        if all(length > 0 for length in lengths):
            inside = [at - one for at, one in zip(low, begin, strict=True)]
            part = (
                _part(view, inside, lengths)
                if isinstance(view, Assemble)
                else _narrowed(view, inside, lengths)
            )
            yield tuple(at - one for at, one in zip(low, start, strict=True)), part


def _narrowed(view: Gather, start: Sequence[int], size: Sequence[int]) -> Gather:
    """Return a box of a view."""
    skipped = sum(at * step for at, step in zip(start, view.strides, strict=True))
    reach = sum((length - 1) * step for length, step in zip(size, view.strides, strict=True))
    extent = view.extent.part(skipped * view.itemsize, (reach + 1) * view.itemsize)
    return Gather(extent, view.itemsize, tuple(size), view.strides)


def _assembled(open_file: Open, piece: Assemble) -> Iterator[Chunk]:
    """Yield the elements a tile at a time: boxes of the grid that follow one another."""
    for start, size in _tiles(piece.grid, max(BUFFER_BYTES // piece.itemsize, 1)):
        yield _filled(open_file, _part(piece, start, size))


def _tiles(grid: tuple[int, ...], most: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yield boxes of up to `most` elements that follow one another: begin and shape."""
    axis = len(grid) - 1
    inner = 1
    while axis > 0 and inner * grid[axis] <= most:
        inner *= grid[axis]
        axis -= 1
    step = max(most // inner, 1)
    for outer in _positions(grid[:axis]):
        for begin in range(0, grid[axis], step):
            length = min(step, grid[axis] - begin)
            rest = grid[axis + 1 :]
            yield [*outer, begin, *(0 for _ in rest)], [*(1 for _ in outer), length, *rest]


def _positions(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    if not shape:
        yield ()
        return
    for at in range(shape[0]):
        for rest in _positions(shape[1:]):
            yield (at, *rest)


def _filled(open_file: Open, piece: Assemble) -> bytearray:
    """Return all elements of a small assembled piece."""
    data = bytearray(piece.nbytes)
    steps = contiguous_strides(piece.grid)
    for start, view in piece.boxes:
        shape = view.grid if isinstance(view, Assemble) else view.shape
        filled = memoryview(b"".join(elements(open_file, view)))
        # Rows of the box that follow one another in the grid are one run.
        axis = len(shape)
        run = piece.itemsize
        while axis and (axis == len(shape) or shape[axis] == piece.grid[axis]):
            axis -= 1
            run *= shape[axis]
        at = 0
        for position in _positions(shape[:axis]):
            place = sum(
                (one + other) * step
                for one, other, step in zip(
                    start, (*position, *(0 for _ in shape[axis:])), steps, strict=True
                )
            )
            begin = place * piece.itemsize
            data[begin : begin + run] = filled[at : at + run]
            at += run
    return data
