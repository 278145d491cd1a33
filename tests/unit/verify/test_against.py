"""Two checkpoints are compared by names, types and shapes, and differences have their place."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.testing.memory import MemoryStore
from shardctl.verify.against import (
    alike,
    compare_headers,
    data_differs,
    difference,
    first_difference,
    tensor_digest,
)
from tests.support.memory_checkpoints import put


def tensor(
    name: str = "w",
    dtype: str = "F32",
    shape: tuple[int, ...] = (2,),
    offset: int = 100,
    strides: tuple[int, ...] | None = None,
) -> Tensor:
    """A tensor of 64 bytes at some byte of a file."""
    return Tensor(name, DTYPES[dtype], shape, Storage(Extent("f", offset, 64), name), 1, strides)


def named(*tensors: Tensor) -> dict[str, Tensor]:
    """Tensors by name."""
    return {each.name: each for each in tensors}


def found(
    ours: dict[str, Tensor], theirs: dict[str, Tensor], *, here: bool = False, there: bool = False
) -> list[tuple[str, str | None]]:
    """Codes and tensors of what differs; `here` and `there`: a side may have lost any tensor."""
    lost = (lambda _: here, lambda _: there)
    return [(each.code, each.tensor) for each in compare_headers(ours, theirs, "other", lost)]


def test_each_difference_has_its_code() -> None:
    """A missing name, another type and another shape are distinguished, one for each tensor."""
    ours = named(tensor("same"), tensor("extra"), tensor("type"), tensor("shape"))
    theirs = named(
        tensor("same"), tensor("type", "F16", (3,)), tensor("shape", shape=(1, 2)), tensor("more")
    )
    assert found(ours, theirs) == [
        ("against-extra", "extra"),
        ("against-dtype", "type"),
        ("against-shape", "shape"),
        ("against-missing", "more"),
    ]
    assert found(ours, ours) == []


def test_what_a_damaged_file_may_hold_is_no_difference() -> None:
    """Each side is excused for its own files only."""
    one, none = named(tensor()), named()
    assert found(one, none, there=True) == []
    assert found(one, none, here=True) == [("against-extra", "w")]
    assert found(none, one, here=True) == []
    assert found(none, one, there=True) == [("against-missing", "w")]


def test_bytes_are_compared_of_equal_headers_only() -> None:
    """Name, type and shape must agree."""
    ours = named(tensor("a"), tensor("b"), tensor("c"), tensor("d"))
    theirs = named(tensor("a", offset=7), tensor("b", "I32"), tensor("c", shape=(1, 2)))
    assert alike(ours, theirs) == [(ours["a"], theirs["a"])]


def test_a_difference_has_its_place_in_the_file() -> None:
    """The byte counts from the tensor's first element; that of a strided view is not known."""
    finding = data_differs(tensor(), "o", 1_005)
    assert (finding.code, finding.file, finding.tensor) == ("against-data", "f", "w")
    assert finding.offset == 104 + 1_005
    assert finding.message.endswith("first at byte 1,005 of the tensor")
    assert data_differs(tensor(strides=(2,)), "o", 1_005).offset == 104
    other = difference("code", tensor(), "why")
    assert (other.severity, other.offset, other.message) == ("error", 104, "why")


@pytest.mark.parametrize("length", [1, 2, 3, 7, 64])
def test_the_first_of_several_differences(length: int) -> None:
    """Whatever differs after it, the first byte is found."""
    text = bytes(range(length))
    for first, later in itertools.combinations_with_replacement(range(length), 2):
        other = bytearray(text)
        other[first] ^= 1
        other[later] ^= 2
        assert first_difference(text, bytes(other)) == first
        assert first_difference(memoryview(text), bytes(other)) == first
    assert first_difference(text, text) == length


def test_the_digest_of_a_view_is_that_of_its_elements() -> None:
    """Row-major, wherever they lie."""
    store = MemoryStore()
    put(store, "f", bytes(range(64)))
    held = Storage(Extent("f", 0, 64), "0")
    view = Tensor("w", DTYPES["U8"], (2, 3), held, 1, (1, 10))
    expected = hashlib.sha256(bytes([1, 11, 21, 2, 12, 22])).hexdigest()
    assert tensor_digest(store, view) == expected
