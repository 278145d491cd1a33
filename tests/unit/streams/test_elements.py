"""The elements of pieces: assembled from views and converted, in bounded memory."""

from __future__ import annotations

import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardctl.boxes import fault, narrow
from shardctl.layout import Assemble, Convert, Copy, Elements, Gather, pieces_of
from shardctl.model import DTYPES, Assembled, Box, Cast, Extent, Storage, Tensor, made_tensor
from shardctl.stores.base import BUFFER_BYTES
from shardctl.streams import elements as module
from shardctl.streams.elements import cut, elements
from shardctl.testing.builders import BytesReader

F32, BF16 = DTYPES["F32"], DTYPES["BF16"]


def read(piece: Elements, data: bytes) -> bytes:
    """All elements of a piece; every path is a file of these bytes."""
    return b"".join(map(bytes, elements(lambda path: BytesReader(path, data), piece)))


@st.composite
def assembled(draw: st.DrawFn) -> tuple[Tensor, np.ndarray, bytes]:
    """A tensor that is put together, the array that it should be, and the file with the parts.

    Parts lie in the file in any order, transposed or not; one may be put together itself.
    """
    grid = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    array = np.arange(np.prod(grid), dtype=np.float32).reshape(grid)
    cuts = [sorted({0, size, *draw(st.lists(st.integers(0, size), max_size=2))}) for size in grid]
    data = bytearray(b"head")
    boxes = []
    ranges = itertools.product(*(itertools.pairwise(some) for some in cuts))
    for some in draw(st.permutations(list(ranges))):
        part = array[tuple(slice(*each) for each in some)]
        axes = draw(st.permutations(range(len(grid))))
        extent = Extent("f", len(data), part.nbytes)
        data += np.ascontiguousarray(part.transpose(axes)).tobytes()
        stored = np.empty(tuple(part.shape[axis] for axis in axes), np.float32).strides
        strides = tuple(step // 4 for _, step in sorted(zip(axes, stored, strict=True)))
        plain = list(axes) == list(range(len(grid)))
        tensor = Tensor(
            "", F32, part.shape, Storage(extent, str(len(data))), 0, None if plain else strides
        )
        if draw(st.booleans()):
            inner = Assembled(part.shape, (Box((0,) * len(grid), tensor),))
            tensor = made_tensor("", F32, part.shape, inner, f"inner {len(data)}")
        boxes.append(Box(tuple(begin for begin, _ in some), tensor))
    assert fault(grid, boxes) is None
    made = Assembled(grid, tuple(boxes))
    return made_tensor("w", F32, grid, made, "w"), array, bytes(data)


@given(assembled(), st.sampled_from([1, 8, 64, 1 << 22]))
def test_parts_are_put_together(made: tuple[Tensor, np.ndarray, bytes], buffer_bytes: int) -> None:
    """However a tensor is divided and stored, its pieces give its elements, row-major."""
    tensor, array, data = made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BUFFER_BYTES", buffer_bytes)
        assert b"".join(read(piece, data) for piece in pieces_of(tensor)) == array.tobytes()


@given(assembled(), st.integers(1, 100))
def test_cut_pieces_are_the_whole(made: tuple[Tensor, np.ndarray, bytes], most: int) -> None:
    """The parts of a piece, joined, are the piece."""
    tensor, array, data = made
    parts = [part for piece in pieces_of(tensor) for part in cut(piece, most)]
    assert b"".join(read(part, data) for part in parts) == array.tobytes()


@given(assembled())
def test_what_is_assembled_can_be_converted(made: tuple[Tensor, np.ndarray, bytes]) -> None:
    """Each piece is converted by itself, and the sizes are those of the new type."""
    tensor, array, data = made
    cast = made_tensor("w", BF16, tensor.shape, Cast(tensor), "cast")
    pieces = pieces_of(cast)
    assert all(isinstance(piece, Convert) for piece in pieces)
    assert sum(piece.nbytes for piece in pieces) == 2 * array.size == cast.nbytes
    found = b"".join(read(part, data) for piece in pieces for part in cut(piece, 8))
    # Small whole numbers are the upper halves of their F32.
    assert found == (array.view(np.uint32) >> 16).astype(np.uint16).tobytes()


def test_slices_along_the_first_axis_are_copies() -> None:
    """Parts that follow one another in the tensor are copied as they are, in their order."""
    parts = [
        Box((row, 0), Tensor("", F32, (2, 3), Storage(Extent("f", 24 * row, 24), str(row))))
        for row in (2, 0)
    ]
    tensor = made_tensor("w", F32, (4, 3), Assembled((4, 3), tuple(parts)), "w")
    assert pieces_of(tensor) == (Copy(Extent("f", 0, 24)), Copy(Extent("f", 48, 24)))


def test_a_range_of_a_flattened_tensor() -> None:
    """The grid may be the flattened tensor, of which each part has a range."""
    parts = [
        Box((0,), Tensor("", F32, (5,), Storage(Extent("a", 8, 20), "0"))),
        Box((5,), Tensor("", F32, (1,), Storage(Extent("b", 0, 40), "0"), 3)),
    ]
    tensor = made_tensor("w", F32, (2, 3), Assembled((6,), tuple(parts)), "w")
    assert pieces_of(tensor) == (Copy(Extent("a", 8, 20)), Copy(Extent("b", 12, 4)))


def test_only_columns_are_assembled() -> None:
    """Slices along another axis are one piece, whose views keep their place in the grid."""
    parts = [
        Box((0, 2 * rank), Tensor("", F32, (3, 2), Storage(Extent(str(rank), 0, 24), "0")))
        for rank in range(2)
    ]
    (piece,) = pieces_of(made_tensor("w", F32, (3, 4), Assembled((3, 4), tuple(parts)), "w"))
    assert isinstance(piece, Assemble)
    assert piece.grid == (3, 4)
    assert [start for start, _ in piece.boxes] == [(0, 0), (0, 2)]


def test_converting_and_then_assembling_is_refused() -> None:
    """A part that is converted would have to be converted element by element out of order."""
    part = Tensor("x", F32, (2,), Storage(Extent("f", 0, 8), "0"))
    cast = made_tensor("x", BF16, (2,), Cast(part), "c")
    for made in (Assembled((2,), (Box((0,), cast),)), Cast(cast)):
        with pytest.raises(ValueError, match="converted"):
            pieces_of(made_tensor("x", BF16, (2,), made, "again"))


def test_memory_is_bounded() -> None:
    """An assembled tensor of 64 MiB takes a few buffers, whatever its slices."""
    rows, columns = 4096, 4096
    data = bytes(rows * columns * 4)
    boxes = tuple(
        (
            (0, 1024 * rank),
            Gather(
                Extent("f", 4 * rows * 1024 * rank, 4 * rows * 1024), 4, (rows, 1024), (1024, 1)
            ),
        )
        for rank in range(4)
    )
    piece = Assemble(4, (rows, columns), boxes)
    reader = BytesReader("f", data)
    tracemalloc.start()
    try:
        total = sum(len(chunk) for chunk in elements(lambda _: reader, piece))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == len(data)
    assert peak < 5 * BUFFER_BYTES


@given(assembled(), st.data())
def test_regions_of_what_is_assembled(
    made: tuple[Tensor, np.ndarray, bytes], data: st.DataObject
) -> None:
    """The part of a tensor in each region has the region's shape and elements, and its boxes cover
    it; so has that of a view, and of a tensor that is assembled in a flat grid.
    """
    tensor, array, held = made
    whole = array.tobytes()
    flat = made_tensor("", F32, array.shape, _in_runs(array.size, len(held)), "flat")
    plain = Tensor("", F32, array.shape, Storage(Extent("f", len(held), array.nbytes), "plain"))
    turned = Tensor(
        "",
        F32,
        array.shape[::-1],
        plain.storage,
        0,
        tuple(step // 4 for step in array.strides[::-1]),
    )
    held += whole
    begin = [data.draw(st.integers(0, size - 1)) for size in array.shape]
    shape = [
        data.draw(st.integers(1, size - at)) for at, size in zip(begin, array.shape, strict=True)
    ]
    for source, values in ((tensor, array), (plain, array), (turned, array.T)):
        step = -1 if source is turned else 1
        start, size = tuple(begin[::step]), tuple(shape[::step])
        expected = values[
            tuple(slice(at, at + length) for at, length in zip(start, size, strict=True))
        ]
        (part,) = narrow(source, [(start, size)])
        assert part.shape == expected.shape
        assert read_all(part, held) == np.ascontiguousarray(expected).tobytes()
        inside = part.storage.made
        if isinstance(inside, Assembled):
            assert fault(inside.grid, inside.boxes) is None
    rows = [
        ((at, *(0 for _ in array.shape[1:])), (1, *array.shape[1:])) for at in range(len(array))
    ]
    parts = list(narrow(flat, rows))
    assert b"".join(read_all(part, held) for part in parts) == whole


def _in_runs(elements: int, offset: int) -> Assembled:
    """So many elements of a file from an offset on, in runs of three."""
    return Assembled(
        (elements,),
        tuple(
            Box(
                (begin,),
                Tensor(
                    "",
                    F32,
                    (min(3, elements - begin),),
                    Storage(Extent("f", offset + 4 * begin, 4 * min(3, elements - begin)), "r"),
                ),
            )
            for begin in range(0, elements, 3)
        ),
    )


def read_all(tensor: Tensor, data: bytes) -> bytes:
    """All elements of a tensor."""
    return b"".join(read(piece, data) for piece in pieces_of(tensor))


def test_regions_that_cannot_be_said() -> None:
    """A part of what is converted, or of another grid that it does not follow, is an error."""
    plain = Tensor("w", F32, (4, 2), Storage(Extent("f", 0, 32), "0"))
    converted = made_tensor("w", BF16, (4, 2), Cast(plain), "cast")
    other = made_tensor(
        "w", F32, (4, 2), Assembled((2, 4), (Box((0, 0), replace(plain, shape=(2, 4))),)), "other"
    )
    flat = made_tensor(
        "w", F32, (4, 2), Assembled((8,), (Box((0,), replace(plain, shape=(8,))),)), "flat"
    )
    for tensor, region in (
        (converted, ((0, 0), (1, 2))),
        (other, ((0, 0), (1, 2))),
        (flat, ((0, 0), (4, 1))),
    ):
        with pytest.raises(ValueError, match="'w' is"):
            list(narrow(tensor, [region]))
