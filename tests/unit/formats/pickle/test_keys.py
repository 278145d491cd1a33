"""Two keys that Python takes for equal are one key, and hostile keys cost nothing."""

from __future__ import annotations

import struct

import pytest

from shardctl.formats.limits import MAX_KEY_PARTS
from shardctl.formats.pickle.keys import KeyRefusedError, NumberKey, key_of
from shardctl.formats.pickle.values import Global, Mapping, Opaque, Sequence
from shardctl.formats.torch.unpickle import unpickle
from tests.corruption.hostile_pickles import text


@pytest.mark.parametrize(
    "equal",
    [(1, True, 1.0), (0, False, 0.0, -0.0), (1 << 70, float(1 << 70)), (-3, -3.0), (0.5, 0.5)],
)
def test_numbers_that_are_equal_are_one_key(equal: tuple[float, ...]) -> None:
    """Integers, booleans and floats are compared by value, of any size."""
    keys = {key_of(value) for value in equal}
    assert len(keys) == 1


@pytest.mark.parametrize("other", [1, 1.5, -1, 1 << 64, float("inf"), float("-inf"), "2", b"2"])
def test_what_differs_is_another_key(other: object) -> None:
    """Another value, and a text that reads like the number, is another key."""
    assert key_of(2) != key_of(other)


def test_a_nan_is_equal_to_no_key() -> None:
    """Two NaNs are two keys, as in Python."""
    nan = float("nan")
    assert key_of(nan) != key_of(nan)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1, "1"), (True, "True"), (1.0, "1.0"), (-0.0, "-0.0"), (10**30, str(10**30))],
)
def test_a_number_is_shown_as_it_was_written(value: float, shown: str) -> None:
    """What people read is the spelling of the key that came first."""
    assert str(key_of(value)) == shown


def test_hashes_cannot_be_chosen() -> None:
    """Numbers that Python hashes alike, by the thousand, have other hashes here."""
    modulus = (1 << 61) - 1
    numbers = [number * modulus for number in range(1, 1_000)]
    assert len({hash(number) for number in numbers}) == 1
    assert len({hash(key_of(number)) for number in numbers}) > 990
    assert isinstance(key_of(numbers[0]), NumberKey)


def test_tuples_are_compared_part_by_part() -> None:
    """Equal parts make equal keys at any depth."""
    assert key_of((1, ("a", 2.0))) == key_of((True, ("a", 2)))
    assert key_of((1, "a")) != key_of(("a", 1))


def test_a_tuple_of_too_many_parts_is_refused() -> None:
    """So many parts as the limit allows are a key; fewer are allowed at each level below."""
    assert key_of(tuple(range(MAX_KEY_PARTS))) is not None
    with pytest.raises(KeyRefusedError, match=f"a dict key of {MAX_KEY_PARTS + 1} parts"):
        key_of(tuple(range(MAX_KEY_PARTS + 1)))
    inner = tuple(range(MAX_KEY_PARTS // 2))
    assert key_of((inner,)) is not None
    with pytest.raises(KeyRefusedError):
        key_of(((*inner, 0),))
    nested: tuple[object, ...] = ()
    for _ in range(10):
        nested = (nested,)
    with pytest.raises(KeyRefusedError):
        key_of(nested)


@pytest.mark.parametrize(
    "value", [None, "a", b"a", Global("m.f"), Opaque("m.C"), Sequence("frozenset")]
)
def test_what_python_takes_as_a_key_is_one(value: object) -> None:
    """Such values are keys as they are, and objects are equal to themselves only."""
    assert key_of(value) is value


@pytest.mark.parametrize(
    "value",
    [
        Mapping(), Sequence("list"), Sequence("set"), Opaque("builtins.bytearray"),
        Opaque("__builtin__.set"), Opaque("collections.Counter"), (1, Mapping()), object(),
    ],
)  # fmt: skip
def test_what_python_does_not_take_as_a_key_is_refused(value: object) -> None:
    """Containers that can change are not keys, also within a tuple."""
    with pytest.raises(KeyRefusedError, match="a dict key is a"):
        key_of(value)


def test_equal_keys_are_one() -> None:
    """1, True and 1.0 are one key, as are 0.0 and -0.0, also in tuples; the last value counts."""
    one, real = b"K\x01", b"G" + struct.pack(">d", 1.0)
    root = unpickle(b"\x80\x02}(" + one + b"K\x05\x88K\x06" + real + b"K\x07u.").root
    assert isinstance(root, Mapping)
    assert list(root.items.values()) == [7]
    pairs = b"(" + one + b"Nt" + b"K\x05" + b"(" + real + b"Nt" + b"K\x06"
    root = unpickle(b"\x80\x02}(" + pairs + b"u.").root
    assert isinstance(root, Mapping)
    assert list(root.items.values()) == [6]
    root = unpickle(b"\x80\x02}(" + one + b"K\x05" + text("1") + b"K\x06u.").root
    assert isinstance(root, Mapping)
    assert list(root.items.values()) == [5, 6]
