"""A range of a file as if it were a file: what a writer put there whole."""

from __future__ import annotations

from shardctl.model import Version
from shardctl.stores.base import Reader
from shardctl.stores.closing import Closing

#: Bytes at either end of a range that are read at once: the header of a slice is in these, and
#: read in some thirty parts.
_END_BYTES = 4096


class Window(Closing):
    """`length` bytes from `offset` of an open file, which stays open when this is closed.

    Both ends are read when it is made; raises what the file raises.
    """

    def __init__(self, reader: Reader, offset: int, length: int) -> None:
        self._reader = reader
        self._offset = offset
        self._length = length
        if length <= 2 * _END_BYTES:
            self._head = reader.read(offset, length)
            self._tail, self._tail_offset = b"", length
        else:
            self._head = reader.read(offset, _END_BYTES)
            self._tail_offset = length - _END_BYTES
            self._tail = reader.read(offset + self._tail_offset, _END_BYTES)

    @property
    def path(self) -> str:
        """The path of the whole file."""
        return self._reader.path

    @property
    def version(self) -> Version:
        """The length of the range, and the mark of the file."""
        return Version(self._length, self._reader.version.mark)

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` of the range; raises what the file raises."""
        if offset + length <= len(self._head):
            return self._head[offset : offset + length]
        if self._tail_offset <= offset and offset + length <= self._length:
            begin = offset - self._tail_offset
            return self._tail[begin : begin + length]
        return self._reader.read(self._offset + offset, length)

    def current(self) -> Version:
        """Return the length of the range, and the mark that the file has now."""
        return Version(self._length, self._reader.current().mark)

    def will_stream(self) -> None:
        """Do nothing: what is read of it is a header."""
