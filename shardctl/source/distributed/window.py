"""A range of a file as if it were a file: what a writer put there whole."""

from __future__ import annotations

from shardctl.model import Version
from shardctl.stores.base import Reader
from shardctl.stores.closing import Closing


class Window(Closing):
    """`length` bytes from `offset` of an open file, which stays open when this is closed."""

    def __init__(self, reader: Reader, offset: int, length: int) -> None:
        self._reader = reader
        self._offset = offset
        self._length = length

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
        return self._reader.read(self._offset + offset, length)

    def current(self) -> Version:
        """Return the length of the range, and the mark that the file has now."""
        return Version(self._length, self._reader.current().mark)

    def will_stream(self) -> None:
        """Do nothing: what is read of it is a header."""
