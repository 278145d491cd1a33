"""Views with strides are compared element by element, and the first difference is located."""

from __future__ import annotations

import hashlib

import pytest

from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.testing.memory import MemoryStore
from shardctl.verify.against import Compared
from shardctl.verify.strided import compare_strided
from shardctl.verify.twins import Other
from tests.support.memory_checkpoints import put

F32 = DTYPES["F32"]
DATA = bytes(range(96))
#: Six floats, transposed, from element 1 on.
SHAPE, STRIDES = (2, 3), (1, 4)


def view(
    path: str, strides: tuple[int, ...] | None = STRIDES, shape: tuple[int, ...] = SHAPE
) -> Tensor:
    """A view of a file of 24 floats."""
    return Tensor("w", F32, shape, Storage(Extent(path, 0, len(DATA)), "0"), 1, strides)


def compared(ours: Tensor, theirs: Tensor, other: bytes, *, digests: bool = False) -> Compared:
    """What comes of comparing two views, of files `f` and `g`; and what was read adds up."""
    store, there = MemoryStore(), MemoryStore()
    put(store, "f", DATA)
    put(there, "g", other)
    ticks: list[int] = []
    how = Other(there, "o", digests, ticks.append)
    (found,) = compare_strided(store, [(ours, theirs)], how, 1, lambda: None)
    assert sum(ticks) == found.nbytes
    return found


def changed(*places: int) -> bytes:
    """The data with some other bytes."""
    data = bytearray(DATA)
    for place in places:
        data[place] ^= 1
    return bytes(data)


def test_equal_views_have_a_digest_where_it_is_wanted() -> None:
    """It is that of the elements in row-major order, and both sides are read once."""
    elements = b"".join(DATA[4 * at : 4 * at + 4] for at in (1, 5, 9, 2, 6, 10))
    found = compared(view("f"), view("g"), DATA, digests=True)
    assert (found.name, found.nbytes, found.findings) == ("w", 48, ())
    assert found.sha256 == hashlib.sha256(elements).hexdigest()
    assert compared(view("f"), view("g"), DATA).sha256 is None


def test_bytes_between_the_elements_do_not_count() -> None:
    """What the view does not show may differ."""
    assert compared(view("f"), view("g"), changed(0, 12, 3, 44, 95)).findings == ()


@pytest.mark.parametrize(
    ("places", "at"), [((4,), 0), ((7,), 3), ((20,), 4), ((9,), 13), ((20, 9), 4), ((43,), 23)]
)
def test_the_first_difference_is_named(places: tuple[int, ...], at: int) -> None:
    """It counts in bytes of the elements, row-major; later ones change nothing."""
    found = compared(view("f"), view("g"), changed(*places), digests=True)
    (finding,) = found.findings
    assert (finding.code, finding.tensor, finding.file) == ("against-data", "w", "f")
    assert f"first at byte {at} of the tensor" in finding.message
    assert found.sha256 is None


def test_a_repeated_dimension_is_compared_once() -> None:
    """The difference is in the first of the repeats, and no digest is made of a part."""
    big = (1 << 40, 3)
    ours, theirs = (view(path, (0, 1), big) for path in "fg")
    found = compared(ours, theirs, changed(9), digests=True)
    assert found.nbytes == 24
    (finding,) = found.findings
    assert "first at byte 5 of the tensor" in finding.message
    equal = compared(ours, theirs, DATA, digests=True)
    assert (equal.findings, equal.sha256) == ((), None)


def test_a_file_that_cannot_be_read_is_named() -> None:
    """The error is the tensor's, and the others go on."""
    found = compared(view("f"), view("gone"), DATA)
    (finding,) = found.findings
    assert (finding.code, finding.tensor, finding.file) == ("not-found", "w", "gone")
    assert found.nbytes == 0
