"""A range of a file reads as if it were a file."""

from __future__ import annotations

import pytest

from shardctl.source.distributed.window import Window
from shardctl.testing.builders import BytesReader


@pytest.mark.parametrize("length", [0, 1, 4096, 8192, 8193, 20_000])
def test_every_range_of_a_window(length: int) -> None:
    """Whatever is asked for, at the ends or across them, has the bytes of the file."""
    data = bytes(number * 7 % 251 for number in range(length + 100))
    window = Window(BytesReader("f", data), 30, length)
    assert window.version.size == length
    places = sorted({0, 1, length // 2, 4095, 4096, length - 4097, length - 1, length})
    for begin in (place for place in places if 0 <= place <= length):
        for end in (place for place in places if begin <= place <= length):
            assert window.read(begin, end - begin) == data[30 + begin : 30 + end]
