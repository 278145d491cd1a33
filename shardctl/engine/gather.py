"""The elements of a strided view in row-major order, through bounded buffers and without an array library.

The output is cut into tiles along its outermost dimensions. What a tile needs is read in runs along the dimension of
the smallest stride, packed into a buffer, and permuted from there by strided slices of memoryviews: their inner loop
is the interpreter's C code, so it is laid along the longest dimension.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from shardctl.layout import Gather
from shardctl.stores.base import Reader

#: Bytes of one tile of the output; about three times as much is held.
TILE_BYTES = 8 * 1024 * 1024
#: Reading on through a gap of up to so many bytes costs less than another system call.
GAP_BYTES = 4096

#: memoryview formats by bytes of an element.
_FORMATS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}

Emit = Callable[[bytes | bytearray | memoryview], None]


@dataclass(frozen=True, slots=True)
class _Dim:
    """One dimension: its length, and its step in the source in elements."""

    size: int
    stride: int


def gather(reader: Reader, piece: Gather, emit: Emit, tile_bytes: int = TILE_BYTES) -> None:
    """Emit the elements of `piece` in order, in consecutive chunks; raises what the reader raises."""
    if piece.nbytes == 0:
        return
    itemsize, dims = _normalised(piece)
    most = max(tile_bytes // itemsize, 1)
    for start, tile in _tiles(dims, most):
        emit(_Tile(reader, piece.extent.offset, itemsize, start, tile).gathered())


def _normalised(piece: Gather) -> tuple[int, list[_Dim]]:
    """Element size and dimensions, without those of length 1 and with those joined that are one in the source."""
    dims = [_Dim(size, stride) for size, stride in zip(piece.shape, piece.strides, strict=True) if size != 1]
    itemsize = piece.itemsize
    if itemsize not in _FORMATS:
        # Two halves are moved for one element: complex128 has no memoryview format.
        itemsize //= 2
        dims = [*(_Dim(dim.size, dim.stride * 2) for dim in dims), _Dim(2, 1)]
    joined: list[_Dim] = []
    for dim in dims:
        if joined and joined[-1].stride == dim.stride * dim.size:
            dim = _Dim(joined.pop().size * dim.size, dim.stride)  # noqa: PLW2901 - the two are one
        joined.append(dim)
    return itemsize, joined or [_Dim(1, 1)]


def _tiles(dims: Sequence[_Dim], most: int) -> Iterator[tuple[int, list[_Dim]]]:
    """Boxes of at most `most` elements that follow one another in the output: source start, and dimensions."""
    inner = len(dims)
    while inner > 0 and math.prod(dim.size for dim in dims[inner - 1 :]) <= most:
        inner -= 1
    # The dimensions from `inner` on fit whole; the one before is cut into slabs, those further out are single steps.
    rest = list(dims[inner:])
    if inner == 0:
        yield 0, rest
        return
    cut = dims[inner - 1]
    slab = max(most // math.prod(dim.size for dim in rest), 1)
    for outer in itertools.product(*(range(dim.size) for dim in dims[: inner - 1])):
        base = sum(index * dim.stride for index, dim in zip(outer, dims, strict=False))
        for first in range(0, cut.size, slab):
            size = min(slab, cut.size - first)
            yield base + first * cut.stride, [_Dim(size, cut.stride), *rest]


class _Tile:
    """A box of the view: reads what it needs, packed in source order, and permutes it into output order."""

    def __init__(self, reader: Reader, offset: int, itemsize: int, start: int, dims: Sequence[_Dim]) -> None:
        self._reader = reader
        self._offset = offset + start * itemsize
        self._itemsize = itemsize
        self._dims = list(dims)

    def gathered(self) -> bytes | memoryview:
        # In the source's own order; a stride of 0 repeats what is read once.
        order = sorted((i for i, dim in enumerate(self._dims) if dim.stride), key=lambda i: -self._dims[i].stride)
        packed, packed_strides = self._packed(order)
        return _permuted(packed, self._dims, packed_strides, self._itemsize)

    def _packed(self, order: Sequence[int]) -> tuple[bytes, list[int]]:
        """The needed elements in source order, and each output dimension's stride among them."""
        strides = [0] * len(self._dims)
        if not order:
            return self._reader.read(self._offset, self._itemsize), strides
        *outer, last = order
        inner = self._dims[last]
        parts: list[bytes] = []
        for indices in itertools.product(*(range(self._dims[i].size) for i in outer)):
            at = sum(index * self._dims[i].stride for index, i in zip(indices, outer, strict=True))
            parts.append(self._run(at, inner))
        step = 1
        for i in reversed(order):
            strides[i] = step
            step *= self._dims[i].size
        return b"".join(parts), strides

    def _run(self, at: int, dim: _Dim) -> bytes:
        """`dim.size` elements, `dim.stride` apart, from element `at` of the tile."""
        item, offset = self._itemsize, self._offset + at * self._itemsize
        if dim.stride == 1:
            return self._reader.read(offset, dim.size * item)
        if (dim.stride - 1) * item > GAP_BYTES:
            return b"".join(self._reader.read(offset + i * dim.stride * item, item) for i in range(dim.size))
        return self._through_gaps(offset, dim)

    def _through_gaps(self, offset: int, dim: _Dim) -> bytes:
        item = self._itemsize
        # Few elements at a time: what lies in the gaps is read as well, and must stay within the buffer.
        step = max(TILE_BYTES // (dim.stride * item), 1)
        parts = []
        for first in range(0, dim.size, step):
            count = min(step, dim.size - first)
            data = self._reader.read(offset + first * dim.stride * item, ((count - 1) * dim.stride + 1) * item)
            parts.append(memoryview(data).cast(_FORMATS[item])[:: dim.stride].tobytes())
        return b"".join(parts)


def _permuted(packed: bytes, dims: Sequence[_Dim], strides: Sequence[int], itemsize: int) -> bytes | memoryview:
    sizes = [dim.size for dim in dims]
    out_strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    if list(strides) == out_strides:
        return packed
    source = memoryview(packed).cast(_FORMATS[itemsize])
    result = bytearray(math.prod(sizes) * itemsize)
    target = memoryview(result).cast(_FORMATS[itemsize])
    line = max(range(len(sizes)), key=lambda i: sizes[i])
    others = [i for i in range(len(sizes)) if i != line]
    length, out_step, in_step = sizes[line], out_strides[line], strides[line]
    for indices in itertools.product(*(range(sizes[i]) for i in others)):
        to = sum(index * out_strides[i] for index, i in zip(indices, others, strict=True))
        at = sum(index * strides[i] for index, i in zip(indices, others, strict=True))
        end = to + (length - 1) * out_step + 1
        if in_step:
            target[to:end:out_step] = source[at : at + (length - 1) * in_step + 1 : in_step]
        else:
            target[to:end:out_step] = memoryview(bytes(source[at : at + 1]) * length).cast(_FORMATS[itemsize])
    return memoryview(result)
