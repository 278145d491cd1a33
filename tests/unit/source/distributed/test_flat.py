"""Ranges of vectors that follow one another are tensors again."""

from __future__ import annotations

import pytest

from shardctl.model import DTYPES, Assembled, Extent, Storage, Tensor
from shardctl.source.distributed.flat import Vector, joined

F32 = DTYPES["F32"]


def vector(path: str, elements: int, offset: int = 0) -> Tensor:
    """A vector from element `offset` of the storage that is the file."""
    storage = Storage(Extent(path, 0, 4 * (offset + elements)), "0", crc32=7)
    return Tensor("", F32, (elements,), storage, offset)


PARTS = [vector("a", 5, 2), vector("b", 0), vector("c", 3), vector("d", 4)]


@pytest.mark.parametrize(
    ("begin", "length", "expected"),
    [
        (0, 5, [("a", 2, 5)]),
        (1, 3, [("a", 3, 3)]),
        (4, 2, [("a", 6, 1), ("c", 0, 1)]),
        (5, 3, [("c", 0, 3)]),
        (3, 9, [("a", 5, 2), ("c", 0, 3), ("d", 0, 4)]),
        (8, 9, [("d", 0, 4)]),
        (5, 0, []),
        (12, 1, []),
    ],
)
def test_a_stretch_is_a_view_of_each_part(
    begin: int, length: int, expected: list[tuple[str, int, int]]
) -> None:
    """A stretch within one part, across several, past the end, and of nothing."""
    views = list(Vector(PARTS).stretch(begin, length))
    found = [(view.storage.extent.path, view.offset, view.elements) for view in views]
    assert found == expected


def test_all_elements_are_counted() -> None:
    """A vector has the elements of its parts; without parts it has none."""
    assert Vector(PARTS).elements == 12
    assert Vector([]).elements == 0


def test_one_piece_is_a_view_with_a_storage_of_its_own() -> None:
    """A tensor within one part takes its bytes only, and the checksum of the whole is kept."""
    made = joined("x", F32, (1, 3), Vector(PARTS).stretch(1, 3), "e")
    assert made.span == Extent("a", 12, 12)
    assert made.storage.extent == made.span
    assert made.storage.recorded.crc32 == 7


def test_several_pieces_are_assembled_in_order() -> None:
    """A tensor across parts is put together from them, in a flat grid."""
    made = joined("x", F32, (3, 3), Vector(PARTS).stretch(3, 9), "e")
    assert isinstance(made.storage.made, Assembled)
    assert made.storage.made.grid == (9,)
    assert [box.start for box in made.storage.made.boxes] == [(0,), (2,), (5,)]
    assert made.nbytes == made.storage.extent.length == 36


def test_nothing_takes_no_bytes() -> None:
    """A tensor without elements has a place in the file that is given."""
    made = joined("x", F32, (0, 3), Vector(PARTS).stretch(3, 0), "e")
    assert (made.shape, made.span) == ((0, 3), Extent("e", 0, 0))
