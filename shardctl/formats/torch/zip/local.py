"""What lies around a record's data, its local header and its descriptor, read strictly.

Both must say what the directory says. Sources: PKWARE's APPNOTE 6.3.10; the files of torch.
"""

from __future__ import annotations

import struct
from array import array
from typing import NamedTuple

from shardctl.formats.torch.zip.structure import (
    AMBIGUOUS,
    DESCRIPTOR,
    HAS_DESCRIPTOR,
    IN_ZIP64,
    LOCAL,
    LOCAL_BYTES,
    ZipFaultError,
    next_value,
    zip64_values,
)
from shardctl.stores.base import Reader
from shardctl.stores.capabilities import announces
from shardctl.text import escape

#: Flags, method, CRC-32, both sizes, and the lengths of the name and of the extra fields.
_LOCAL_FORM = struct.Struct("<6xHH4xIIIHH")
_DESCRIPTOR_FORMS = (struct.Struct("<4sIII"), struct.Struct("<4sIQQ"))
_STORED = 0
#: A record as short as this, a page, is read with what is around it: asking twice takes longer.
_SHORT_BYTES = 4096
#: Bytes that are read at a time, at most.
_READ_BYTES = 256 * 1024


class Nearby:
    """Reads around records in the order of the file, those of short records many at a time.

    What one read gets ends where the header of its last record begins.
    """

    def __init__(self, reader: Reader, headers: array[int]) -> None:
        """`headers` are the offsets of all local headers, in order."""
        self._reader = reader
        self._headers = headers
        self._begin, self._data = 0, b""
        # A reader that fetches small ranges at once gets all of them, and is read piece by piece.
        self._alone = announces(reader)
        if announces(reader):
            reader.will_read(headers)

    def approach(self, number: int) -> None:
        """Read the record of that number, and short ones that follow it, unless it is long."""
        headers = self._headers
        after = number + 1
        end = self._begin + len(self._data)
        if self._alone or after == len(headers) or headers[after] <= end:
            return
        begin, last = headers[number], number
        while (
            after < len(headers)
            and headers[after] - headers[last] <= _SHORT_BYTES
            and headers[after] - begin <= _READ_BYTES
        ):
            last, after = after, after + 1
        if last != number:
            self._begin, self._data = begin, self._reader.read(begin, headers[last] - begin)

    def read(self, offset: int, length: int) -> bytes:
        """Return so many bytes from an offset of the file."""
        begin = offset - self._begin
        end = begin + length
        if begin >= 0 and end <= len(self._data):
            return self._data[begin:end]
        return self._reader.read(offset, length)


class Local(NamedTuple):
    """A record as the directory has it; its local header is at `at`."""

    name: str
    at: int
    flags: int
    nbytes: int
    crc32: int

    def extent(self, near: Nearby, limit: int) -> tuple[int, int]:
        """Return where the data begins, and where the record ends.

        `limit` is the directory's offset. Raises ZipFaultError where the two contradict each other.
        """
        data = self._data_offset(near, limit)
        end = data + self.nbytes
        return data, end + self._descriptor_bytes(near, end, limit)

    def _data_offset(self, near: Nearby, limit: int) -> int:
        name = self.name.encode()
        head = near.read(self.at, min(LOCAL_BYTES + len(name), limit - self.at))
        if len(head) < LOCAL_BYTES or not head.startswith(LOCAL):
            raise self._invalid("has no local header")
        flags, method, crc32, packed, nbytes, name_length, extra_length = _LOCAL_FORM.unpack_from(
            head
        )
        if name_length != len(name) or head[LOCAL_BYTES:] != name:
            raise self._ambiguous("has another name")
        extra_at = self.at + LOCAL_BYTES + name_length
        data: int = extra_at + extra_length
        if flags != self.flags or method != _STORED:
            raise self._ambiguous("has other flags than in the directory")
        if data + self.nbytes > limit:
            raise self._invalid("does not fit into the file")
        wide = zip64_values(near.read(extra_at, extra_length), extra_at)
        if flags & HAS_DESCRIPTOR:
            # Torch leaves all three 0 and puts a large record's size into the zip64 field only.
            sizes = (0, self.nbytes, IN_ZIP64)
            agrees = crc32 in (0, self.crc32) and packed in sizes and nbytes in sizes
        else:
            actual = [
                next_value(wide, extra_at) if value == IN_ZIP64 else value
                for value in (nbytes, packed)
            ]
            agrees = crc32 == self.crc32 and actual == [self.nbytes, self.nbytes]
        if not agrees:
            raise self._ambiguous("has another size or checksum than in the directory")
        return data

    def _descriptor_bytes(self, near: Nearby, at: int, limit: int) -> int:
        """Bytes of the data descriptor after a record, or 0."""
        if not self.flags & HAS_DESCRIPTOR:
            return 0
        data = near.read(at, min(_DESCRIPTOR_FORMS[-1].size, limit - at))
        for form in _DESCRIPTOR_FORMS:
            if form.size <= len(data):
                found = form.unpack_from(data)
                if found == (DESCRIPTOR, self.crc32, self.nbytes, self.nbytes):
                    return form.size
        message = f"the descriptor after the record '{escape(self.name)}' contradicts the directory"
        raise ZipFaultError("zip-ambiguous", message, at, AMBIGUOUS)

    def _invalid(self, what: str) -> ZipFaultError:
        return ZipFaultError("zip-invalid", f"the record '{escape(self.name)}' {what}", self.at)

    def _ambiguous(self, what: str) -> ZipFaultError:
        message = f"the record '{escape(self.name)}' {what}"
        return ZipFaultError("zip-ambiguous", message, self.at, AMBIGUOUS)
