"""Small pieces of a file that follow one another, read and written many with one call.

A call for each would cost more than its bytes: in a file of many small tensors each has a header,
its elements and a checksum.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from shardctl.model import Extent
from shardctl.stores.base import Reader, Writer
from shardctl.stores.capabilities import is_in_memory

#: Bytes that are held at most, and those of a piece that is written on its own.
_MOST_BYTES = 128 * 1024
#: Bytes that are read ahead, and those between ranges that are near each other.
_AHEAD_BYTES = 64 * 1024
_NEAR_BYTES = 4096


class Together:
    """What one thread writes to a file.

    All of it is written once the block ends without an error.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._held = bytearray()
        self._begin = 0

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`, now or later; raises StorageError."""
        if offset != self._begin + len(self._held) or len(self._held) + len(data) > _MOST_BYTES:
            self._flush()
            self._begin = offset
        if len(data) > _MOST_BYTES:
            self._writer.write(offset, data)
            self._begin += len(data)
        else:
            self._held += data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._writer.write(self._begin, self._held)
            self._begin += len(self._held)
            self._held = bytearray()


class Near:
    """What one thread reads of small ranges: those that follow one another come many at a time."""

    def __init__(self) -> None:
        self._path = ""
        self._begin = 0
        self._data = b""

    def read(self, reader: Reader, extent: Extent) -> bytes:
        """Return the bytes of an extent of the reader's file; raises what its `read` raises."""
        begin = extent.offset - self._begin
        ahead = begin - len(self._data)
        same = extent.path == self._path and begin >= 0
        if not same or ahead + extent.length > 0:
            length = extent.length
            # What is in memory already is not read twice, and may be several pieces of it.
            if same and ahead <= _NEAR_BYTES and not is_in_memory(reader):
                length = max(length, min(_AHEAD_BYTES, reader.version.size - extent.offset))
            self._path, self._begin = extent.path, extent.offset
            self._data, begin = reader.read(extent.offset, length), 0
        return self._data[begin : begin + extent.length]
