"""A position in a pickle's bytes: reads the arguments of opcodes and locates faults.

An argument that reaches past the end is a PickleCutShortError.
"""

from __future__ import annotations

import struct

from shardctl.formats.pickle.values import PickleCutShortError, PickleFaultError
from shardctl.text import printable

#: The forms of numbers that opcodes have as arguments, or as the lengths of arguments.
U16, U32, U64, I32 = (struct.Struct(form) for form in ("<H", "<I", "<Q", "<i"))
_SHOWN_CHARACTERS = 500


class Cursor:
    """The bytes, and how far they are read."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._size = len(data)
        self._at = start

    @property
    def offset(self) -> int:
        """Where the current opcode is, in bytes."""
        return self._at - 1

    def fault(self, message: str) -> PickleFaultError:
        """What is wrong at this position."""
        return PickleFaultError(printable(message[:_SHOWN_CHARACTERS]), self.offset)

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        at = self._at
        end = at + count
        if end > self._size:
            raise self._cut_short()
        self._at = end
        return self._data[at:end]

    def byte(self) -> int:
        """The next byte."""
        at = self._at
        if at >= self._size:
            raise self._cut_short()
        self._at = at + 1
        return self._data[at]

    def number(self, form: struct.Struct) -> int:
        """The next number, in the form of a struct of one value."""
        at = self._at
        end = at + form.size
        if end > self._size:
            raise self._cut_short()
        self._at = end
        value: int = form.unpack_from(self._data, at)[0]
        return value

    def line(self) -> bytes:
        """The bytes up to the next line feed, which is skipped."""
        end = self._data.find(b"\n", self._at)
        if end < 0:
            raise self._cut_short()
        data = self._data[self._at : end]
        self._at = end + 1
        return data

    def _cut_short(self) -> PickleFaultError:
        return PickleCutShortError(
            "the pickle is cut short: an argument reaches past its end", self.offset
        )
