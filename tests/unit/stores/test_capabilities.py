"""What the classes of readers can do, asked for each of many ranges."""

from __future__ import annotations

import pytest

from shardctl.model import Version
from shardctl.stores.base import Reader
from shardctl.stores.capabilities import (
    Announces,
    InMemory,
    Streams,
    announces,
    is_in_memory,
    streams,
)
from shardctl.stores.closing import Closing


class _Plain(Closing):
    path = "x"
    version = Version(0, "")

    def read(self, offset: int, length: int) -> bytes:
        return bytes(offset + length)[offset:]

    def current(self) -> Version:
        return self.version

    def will_stream(self) -> None:
        """Do nothing."""


class _Able(_Plain):
    def view(self, offset: int, length: int) -> memoryview:
        return memoryview(self.read(offset, length))

    def will_read(self, offsets: object) -> None:
        """Do nothing."""

    def stream(self, extent: object) -> object:
        return iter((extent,))


@pytest.mark.parametrize("reader", [_Plain(), _Able()])
def test_the_class_answers_as_the_reader_does(reader: Reader) -> None:
    """The answer is that of `isinstance`, and the same when it is asked again."""
    able = isinstance(reader, _Able)
    for _ in range(2):
        assert is_in_memory(reader) == isinstance(reader, InMemory) == able
        assert announces(reader) == isinstance(reader, Announces) == able
        assert streams(reader) == isinstance(reader, Streams) == able
