"""Calls that take memory by a number in the pickle are known by name."""

from __future__ import annotations

import pytest

from shardctl.formats.limits import MAX_DIMS
from shardctl.formats.torch.calls.memory import allocated
from shardctl.formats.torch.unpickle import unpickle
from tests.corruption.hostile_pickles import number

HARMLESS = 64 * 1024


@pytest.mark.parametrize(
    ("path", "width"),
    [
        ("builtins.bytearray", 1),
        ("__builtin__.bytearray", 1),
        ("torch.UntypedStorage", 1),
        ("torch.HalfStorage", 2),
        ("torch.cuda.FloatTensor", 4),
        ("torch.storage.TypedStorage", 4),
        ("torch.zeros", 8),
        ("numpy.core.multiarray._reconstruct", 8),
        ("torch.ComplexDoubleStorage", 16),
    ],
)
def test_a_call_takes_so_many_bytes_an_element(path: str, width: int) -> None:
    """What is small enough for any computer is not noted, and one element more is."""
    most = HARMLESS // width
    assert allocated(path, (most,)) == 0
    assert allocated(path, (most + 1,)) == (most + 1) * width


def test_the_numbers_of_a_shape_are_multiplied() -> None:
    """They are arguments, or in a tuple among them; what is not a size does not count."""
    assert allocated("torch.zeros", (1 << 10, 1 << 10)) == 1 << 23
    assert allocated("torch.zeros", ((1 << 10, 1 << 10),)) == 1 << 23
    for other in (True, -1, 0, "x", None, 1.5):
        assert allocated("torch.zeros", (1 << 20, other)) == 1 << 23
        assert allocated("torch.zeros", ((1 << 20, other),)) == 1 << 23


def test_what_is_not_known_takes_nothing() -> None:
    """Another name, no arguments, and arguments without a size are not noted."""
    assert allocated("m.zeros", (1 << 40,)) == 0
    assert allocated("torch.zeros", ()) == 0
    assert allocated("torch.zeros", ("x" * 100_000,)) == 0


def test_only_as_many_numbers_as_dimensions_are_looked_at() -> None:
    """A tuple of a million numbers does not become a number of a million digits."""
    assert allocated("torch.zeros", ((2,) * 1_000,)) == 8 << MAX_DIMS
    assert allocated("torch.zeros", (2,) * 1_000) == 8 << MAX_DIMS


@pytest.mark.parametrize(
    ("call", "nbytes"),
    [
        (b"cbuiltins\nbytearray\n" + number(1 << 40) + b"\x85R", 1 << 40),
        (b"ctorch\nFloatTensor\n" + number(2**28) + b"\x85R", 2**30),
        (b"ctorch\nTensor\n" + number(2**20) + number(4) + b"\x86R", 2**24),
        (b"ctorch\nDoubleTensor\n" + number(2**20) + b"\x85\x85\x81", 2**23),
        (b"cnumpy\nndarray\n" + number(2**30) + b"\x85\x85R", 2**33),
    ],
)
def test_calls_that_allocate_by_a_number(call: bytes, nbytes: int) -> None:
    """The bytes that a call takes by a number are noted, with the name; small ones are not."""
    result = unpickle(b"\x80\x02" + call + b".")
    assert [made for _, made in result.allocations] == [nbytes]
    assert unpickle(b"\x80\x02cbuiltins\nbytearray\nK\x10\x85R.").allocations == ()
