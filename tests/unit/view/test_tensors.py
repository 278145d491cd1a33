"""Rows of tensors: one a name, or one a range of bytes."""

from __future__ import annotations

from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.view.tensors import TensorRow, bytes_once, every_name, largest, shape_text
from tests.small import floats


def view(name: str, storage: Storage, elements: int, offset: int = 0) -> Tensor:
    """A view of a storage of floats; `offset` is in elements."""
    return Tensor(name, DTYPES["F32"], (elements,), storage, offset)


def test_every_name_has_a_row() -> None:
    """Tied tensors have a row each, and no name can break a line."""
    shared = floats("a", 3)
    tied = view("line\nbreak", shared.storage, 3)
    assert list(every_name([shared, tied])) == [
        TensorRow("a", "F32", (3,), 12),
        TensorRow(r"line\nbreak", "F32", (3,), 12),
    ]


def test_bytes_count_once() -> None:
    """Tied names are one row, parts of a storage are theirs, views that overlap are one row."""
    a, f, o = (Storage(Extent("m", at, 40), key) for at, key in ((0, "a"), (40, "f"), (80, "o")))
    tensors = [
        view("a", a, 10), view("z\t", a, 10), view("f.0", f, 4), view("f.1", f, 6, 4),
        view("o.0", o, 10), view("o.1", o, 3, 2),
    ]  # fmt: skip
    assert list(bytes_once(tensors, written=True)) == [
        TensorRow("a", "F32", (10,), 40, 0, 1),
        TensorRow("f.0", "F32", (4,), 16, 40),
        TensorRow("f.1", "F32", (6,), 24, 56),
        TensorRow("o.0", "F32", (10,), 40, 80, 1),
    ]


def test_planned_tensors_have_no_offset() -> None:
    """Where a file is not written yet, nobody knows where in it a tensor begins."""
    (row,) = bytes_once([floats("a", 3, 400)], written=False)
    assert row.offset is None


def test_the_largest_are_first() -> None:
    """Equal ones keep their order, and no more are returned than asked for."""
    tensors = [floats(name, size) for name, size in zip("abcd", (1, 3, 2, 3), strict=True)]
    assert [tensor.name for tensor in largest(tensors, 3)] == ["b", "d", "c"]
    assert [tensor.name for tensor in largest(tensors, 9)] == ["b", "d", "c", "a"]


def test_shapes_are_written_with_signs() -> None:
    """Dimensions are joined; none at all is a scalar."""
    assert shape_text((3, 4), "x") == "3 x 4"
    assert shape_text((7,)) == "7"
    assert shape_text(()) == "scalar"
