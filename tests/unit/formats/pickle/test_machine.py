"""The pickle machine reads frames as every unpickler does, and calls nothing."""

from __future__ import annotations

import struct

import pytest

from shardctl.formats.limits import MAX_NAME
from shardctl.formats.pickle.interpreter import Interpreter
from shardctl.formats.pickle.values import (
    PickleCutShortError,
    PickleFaultError,
)
from shardctl.formats.torch.unpickle import ZIP, unpickle


def frame(body: bytes, length: int | None = None) -> bytes:
    """A frame around opcodes; `length` is what it claims."""
    return b"\x95" + struct.pack("<Q", len(body) if length is None else length) + body


def test_frames_that_picklers_write() -> None:
    """One frame, several, an empty one, and opcodes between them are read."""
    assert unpickle(b"\x80\x04" + frame(b"K\x05.")).root == 5
    data = b"\x80\x04" + frame(b"(K\x05") + b"K\x06" + frame(b"") + frame(b"t.")
    assert unpickle(data).root == (5, 6)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04" + frame(b"B\x07\x01", 2) + b"\0\0" + b"x" * 300 + b".",
        b"\x80\x04" + frame(b"M\x01", 2) + b"\x01.",
        b"\x80\x04" + frame(b"(" + frame(b"N") + b"t."),
        b"\x80\x04" + frame(b"N.", 1_000),
        b"\x80\x04" + frame(b"N." + b"x" * 10),
        b"\x80\x04" + frame(b"ca\n", 3) + b"b\n.",
    ],
)
def test_frames_that_unpicklers_read_differently(data: bytes) -> None:
    """A frame that ends in an opcode, holds another, or ends apart from the pickle is refused."""
    with pytest.raises(PickleFaultError, match="frame") as caught:
        unpickle(data)
    if not isinstance(caught.value, PickleCutShortError):  # there the rest of the file is missing
        assert "save" not in caught.value.hint


def run(data: bytes, limit: int = 1_000_000) -> object:
    """The root of a pickle whose values may weigh so much."""
    return Interpreter(data, 0, ZIP, limit).run().root


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b".", "STOP with 0 values"),
        (b"NN.", "STOP with 2 values"),
        (b"N(.", "STOP with 1 values"),
        (b"N", "ends without STOP"),
        (b"c\nb\n.", "the name to import is empty"),
        (b"ca\n\n.", "the name to import is empty"),
        (b"NN\x93.", "the name to import is not text"),
        (b"cm\nC\nN\x81.", "without a tuple of arguments"),
        (b"cm\nC\nNR.", "REDUCE without a tuple of arguments"),
        (b"N)R.", "NoneType is called, which is not a function"),
    ],
)
def test_pickles_that_are_not_whole(data: bytes, words: str) -> None:
    """One value is left at STOP, and only names are imported and called."""
    with pytest.raises(PickleFaultError, match=words):
        run(data)


def test_names_have_a_length() -> None:
    """Module and name together may have so many characters as the limit, and no more."""
    run(b"c" + b"m" * (MAX_NAME - 1) + b"\nn\n.")
    with pytest.raises(PickleFaultError, match="too long"):
        run(b"c" + b"m" * MAX_NAME + b"\nn\n.")


def test_a_pickle_weighs_no_more_than_its_limit() -> None:
    """Thousands of values of a byte each are refused soon, however long the pickle goes on."""
    data = b"(" + b"]" * 3_000 + b"t."
    with pytest.raises(PickleFaultError, match="makes more values, than any checkpoint"):
        run(data, limit=1_000)
    assert run(data, limit=20_000) is not None
