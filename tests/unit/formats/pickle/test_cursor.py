"""A position in a pickle's bytes never reaches past their end."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from shardctl.formats.pickle.cursor import I32, U16, U32, U64, Cursor
from shardctl.formats.pickle.values import PickleCutShortError


def test_arguments_are_read_one_after_another() -> None:
    """Bytes, numbers of every form, and lines are read in place, numbers little-endian."""
    data = b"?" + b"ab" + b"\xff" + struct.pack("<HIQi", 0x1234, 1 << 31, 1 << 63, -2) + b"x\n\ny"
    cursor = Cursor(data, 1)
    assert cursor.take(2) == b"ab"
    assert cursor.take(0) == b""
    assert cursor.byte() == 0xFF
    assert [cursor.number(form) for form in (U16, U32, U64, I32)] == [0x1234, 1 << 31, 1 << 63, -2]
    assert (cursor.line(), cursor.line()) == (b"x", b"")
    assert cursor.byte() == ord("y")


@pytest.mark.parametrize(
    ("read", "need"),
    [
        (lambda cursor: cursor.take(5), 5),
        (lambda cursor: cursor.byte(), 1),
        (lambda cursor: cursor.number(U16), 2),
        (lambda cursor: cursor.number(U32), 4),
        (lambda cursor: cursor.number(U64), 8),
        (lambda cursor: cursor.number(I32), 4),
    ],
)
def test_an_argument_may_end_with_the_bytes_and_not_past_them(
    read: Callable[[Cursor], object], need: int
) -> None:
    """The last byte can be used; one too few is a pickle cut short, located at its opcode."""
    read(Cursor(bytes(3 + need), 3))
    with pytest.raises(PickleCutShortError, match="cut short") as caught:
        read(Cursor(bytes(3 + need - 1), 3))
    assert caught.value.offset == 2


def test_a_line_without_an_end_is_cut_short() -> None:
    """What comes before the current position ends no line."""
    with pytest.raises(PickleCutShortError):
        Cursor(b"a\nbc", 2).line()
    assert Cursor(b"\n", 0).line() == b""


def test_a_huge_length_takes_no_memory() -> None:
    """A length that is claimed is compared before anything of it is made."""
    with pytest.raises(PickleCutShortError):
        Cursor(b"abc", 0).take(1 << 62)


def test_a_fault_is_safe_to_print() -> None:
    """A message cannot move the cursor of a terminal, nor be of any length."""
    fault = Cursor(b"", 7).fault("a\x1b[2J" + "x" * 1_000)
    assert fault.offset == 6
    assert "\x1b" not in fault.message
    assert len(fault.message) <= 510
