"""The pickle machine: frames, numbers and texts of old protocols, keys, calls, and its notes."""

from __future__ import annotations

import struct

import pytest

from shardctl.formats.pickle.values import (
    PickleCutShortError,
    PickleFaultError,
)
from shardctl.formats.torch.unpickle import unpickle


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
