"""Numbers and strings that protocol 0 spells as text are read in one way or not at all."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from shardctl.formats.pickle import numerals
from shardctl.formats.pickle.values import PickleFaultError
from shardctl.formats.torch.unpickle import unpickle


def test_booleans_are_spelled_with_two_digits() -> None:
    """`00` and `01` are booleans for INT, and no numbers for LONG or the memo."""
    assert numerals.integer(b"00") is False
    assert numerals.integer(b"01") is True
    for read in (numerals.long, numerals.real):
        assert read(b"1") is not True
    with pytest.raises(ValueError, match="integer"):
        numerals.long(b"01")


@pytest.mark.parametrize("sign", [b"", b"-"])
def test_integers_have_at_most_154_digits(sign: bytes) -> None:
    """The largest integers of 64 bytes are read, and longer ones cost nothing."""
    assert numerals.integer(sign + b"9" * 154) == int(sign + b"9" * 154)
    for text in (sign + b"9" * 155, sign + b"9" * 10_000_000):
        with pytest.raises(ValueError, match="too many digits"):
            numerals.long(text)


@pytest.mark.parametrize(
    "text", [b"", b"-", b"+1", b"02", b"1e3", b"0x1", b"1\n", b"1 ", b"1LL", b"\xb2"]
)
@pytest.mark.parametrize("read", [numerals.integer, numerals.long])
def test_other_integers_are_refused(read: Callable[[bytes], int], text: bytes) -> None:
    """What one unpickler would take for another number is refused."""
    with pytest.raises(ValueError, match="integer"):
        read(text)


def test_an_l_ends_a_long_only() -> None:
    """LONG takes the `L` of Python 2, once; INT does not."""
    assert numerals.long(b"12L") == numerals.long(b"12") == 12
    with pytest.raises(ValueError, match="integer"):
        numerals.integer(b"12L")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1", 1.0),
        (b"-1.", -1.0),
        (b"1.5e-7", 1.5e-7),
        (b"1E+3", 1e3),
        (b"inf", math.inf),
        (b"-INF", -math.inf),
    ],
)
def test_floats(text: bytes, value: float) -> None:
    """Floats are read as `repr` writes them."""
    assert numerals.real(text) == value
    assert math.isnan(numerals.real(b"nan"))


@pytest.mark.parametrize(
    "text",
    [b"", b".5", b"1e", b"1e999", b"-1e999", b"infinity", b"0x1p3", b"1_0", b"1 ", b"1" * 193],
)
def test_other_floats_are_refused(text: bytes) -> None:
    """A float that only some unpicklers read, or that is too large, is none."""
    with pytest.raises(ValueError, match="float"):
        numerals.real(text)


def test_places_of_the_memo() -> None:
    """A place is a number of at most 19 digits without a sign."""
    assert numerals.place(b"007") == 7
    assert numerals.place(b"9" * 19) == 10**19 - 1
    for text in (b"", b"-1", b"+1", b"1" * 20, b"1\n"):
        with pytest.raises(ValueError, match="memo index"):
            numerals.place(text)


def test_quoted_strings() -> None:
    """The same quote is at both ends, and escapes within are those of Python 2."""
    assert numerals.quoted(b"'a\\x41\\n'") == "aA\n"
    assert numerals.quoted(b"''") == ""
    for text in (b"", b"'", b"'a", b"a'", b"'a\"", b"`a`"):
        with pytest.raises(ValueError, match="quotes"):
            numerals.quoted(text)
    with pytest.raises(UnicodeDecodeError):
        numerals.quoted(b"'\xff'")


@pytest.mark.parametrize(
    ("opcode", "value"),
    [
        (b"I7\n", 7), (b"I-7\n", -7), (b"I01\n", True), (b"I00\n", False), (b"L7L\n", 7),
        (b"L7\n", 7), (b"F1.5\n", 1.5), (b"F1e-05\n", 1e-05), (b"S'it''s'\n", "it''s"),
        (b'S"a\\n"\n', "a\n"), (b"S'\xc5\xbc'\n", "\u017c"), (b"T\x02\0\0\0\xc5\xbc", "\u017c"),
        (b"U\x02\xc5\xbc", "\u017c"), (b"V\\u017c\n", "\u017c"),
        (b"T\0\0\0\0", ""), (b"U\0", ""), (b"S''\n", ""), (b'S""\n', ""), (b"V\n", ""),
    ],
)  # fmt: skip
def test_old_spellings(opcode: bytes, value: object) -> None:
    """Numbers and 8-bit strings are read as the C unpickler reads them, strings as UTF-8."""
    root = unpickle(opcode + b".").root
    assert root == value
    assert type(root) is type(value)


@pytest.mark.parametrize(
    "opcode",
    [
        b"I010\n", b"I3L\n", b"I 3\n", b"I1_0\n", b"L010L\n", b"F1_0\n", b"F 1\n", b"F1e999\n",
        b"S 'a'\n", b"S'a' \n", b"S'a\"\n", b"S'\n", b"Sa\n", b"S'\xff'\n", b"U\x01\xff",
        b"T\xff\xff\xff\xff", b"(U\x02t.T\xf9\xff\xff\xff", b"Np1_0\n", b"Np-1\n",
    ],
)  # fmt: skip
def test_spellings_that_differ_are_refused(opcode: bytes) -> None:
    """What unpicklers read differently, or not at all, is refused; lengths never go back."""
    with pytest.raises(PickleFaultError):
        unpickle(opcode + b".")
