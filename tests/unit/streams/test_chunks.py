"""The bytes of a range come a few at a time, each once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shardctl.model import Extent
from shardctl.streams import chunks as module
from shardctl.streams.chunks import chunks
from shardctl.testing.builders import BytesReader

DATA = bytes(range(256))


@pytest.mark.parametrize(
    ("offset", "length", "sizes"),
    [(0, 0, []), (3, 10, [10]), (3, 11, [10, 1]), (0, 30, [10, 10, 10]), (246, 10, [10])],
)
def test_ranges_in_chunks(
    monkeypatch: pytest.MonkeyPatch, offset: int, length: int, sizes: list[int]
) -> None:
    """No chunk is larger than the limit, and together they are the range, read once, in order."""
    monkeypatch.setattr(module, "CHUNK_BYTES", 10)
    reader = BytesReader("f", DATA)
    found = list(chunks(reader, Extent("f", offset, length)))
    assert [len(chunk) for chunk in found] == sizes
    assert b"".join(found) == DATA[offset : offset + length]
    assert sum(nbytes for _, nbytes in reader.ranges) == length


def test_a_reader_that_streams_is_asked_once() -> None:
    """Over a network the whole range is one request."""

    class Streaming(BytesReader):
        asked = 0

        def stream(self, extent: Extent) -> Iterator[bytes]:
            """Yield the bytes in twos."""
            self.asked += 1
            for at in range(extent.offset, extent.end, 2):
                yield DATA[at : min(at + 2, extent.end)]

    reader = Streaming("f", DATA)
    assert list(chunks(reader, Extent("f", 1, 5))) == [DATA[1:3], DATA[3:5], DATA[5:6]]
    assert (reader.asked, reader.ranges) == (1, [])
