"""The central directory of a zip, read strictly: where it is, and what its entries say.

Sizes and the directory's place are recorded twice in a zip, and readers differ in which they
believe: where the two disagree, the file is refused. Sources: PKWARE's APPNOTE 6.3.10; the files of
torch.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from shardctl.formats.limits import MAX_DIRECTORY_BYTES
from shardctl.formats.torch.zip.structure import (
    AMBIGUOUS,
    CENTRAL,
    CENTRAL_BYTES,
    END,
    END64,
    END64_BYTES,
    END_BYTES,
    HAS_DESCRIPTOR,
    IN_ZIP64,
    IN_ZIP64_COUNT,
    LOCATOR64,
    LOCATOR_BYTES,
    UTF8,
    ZipFaultError,
    next_value,
    zip64_values,
)
from shardctl.stores.base import Reader
from shardctl.text import escape

#: Signature, flags, method, CRC-32, both sizes, the lengths of what follows, disk, and offset.
_CENTRAL_FORM = struct.Struct("<4s4xHH4xIIIHHHH6xI")
_MAX_COMMENT = 0xFFFF
_ENCRYPTED = 0x1
_STORED, _DEFLATED = 0, 8
_SAVE = "load the checkpoint with torch and save it again with torch.save"


class Entry(NamedTuple):
    """An entry of the directory, which is at `where`; its local header is at `at`."""

    name: bytes
    text: str
    flags: int
    method: int
    crc32: int
    nbytes: int
    at: int
    where: int


def find_directory(reader: Reader) -> tuple[int, int, int]:
    """The offset of the central directory, its length in bytes, and its number of entries."""
    size = reader.version.size
    if size < END_BYTES:
        raise _truncated(size)
    end_at = size - END_BYTES
    end = reader.read(end_at, END_BYTES)
    if not end.startswith(END):
        raise _no_end(reader, size)
    disk, first_disk, here, count, nbytes, begin, comment = struct.unpack("<4xHHHHIIH", end)
    if comment or disk or first_disk or here != count:
        raise ZipFaultError(
            "zip-ambiguous",
            "the end record has a comment, or names other disks",
            end_at,
            AMBIGUOUS,
        )
    before = end_at
    locator_at = end_at - LOCATOR_BYTES
    if locator_at >= 0 and reader.read(locator_at, 4) == LOCATOR64:
        before, count, nbytes, begin = _read_end64(reader, locator_at, (count, nbytes, begin))
    elif count == IN_ZIP64_COUNT or IN_ZIP64 in (nbytes, begin):
        raise ZipFaultError("zip-invalid", "the zip64 end record is missing", end_at)
    if begin + nbytes != before:
        raise ZipFaultError(
            "zip-ambiguous",
            "the directory does not end where the end record begins",
            before,
            AMBIGUOUS,
        )
    if nbytes > MAX_DIRECTORY_BYTES:
        raise ZipFaultError(
            "zip-invalid", f"a directory of {nbytes:,} bytes is beyond any checkpoint's", begin
        )
    return begin, nbytes, count


def _read_end64(
    reader: Reader, locator_at: int, short: tuple[int, int, int]
) -> tuple[int, int, int, int]:
    at = locator_at - END64_BYTES
    disk, end64_at, disks = struct.unpack("<4xIQI", reader.read(locator_at, LOCATOR_BYTES))
    if disk or disks != 1 or end64_at != at or at < 0:
        raise ZipFaultError(
            "zip-ambiguous",
            "the zip64 end record is not where its locator says",
            locator_at,
            AMBIGUOUS,
        )
    data = reader.read(at, END64_BYTES)
    if not data.startswith(END64):
        raise ZipFaultError("zip-invalid", "the zip64 end record is damaged", at)
    length, _, _, disk, first, here, count, nbytes, begin = struct.unpack("<4xQHHIIQQQQ", data)
    if length != END64_BYTES - 12 or disk or first or here != count:
        raise ZipFaultError("zip-invalid", "the zip64 end record is damaged", at)
    limits = (IN_ZIP64_COUNT, IN_ZIP64, IN_ZIP64)
    for long, brief, limit in zip((count, nbytes, begin), short, limits, strict=True):
        if brief not in (long, limit):
            raise ZipFaultError(
                "zip-ambiguous", "the two end records contradict each other", at, AMBIGUOUS
            )
    return at, count, nbytes, begin


def _no_end(reader: Reader, size: int) -> ZipFaultError:
    """The error for a file that does not end with the end record."""
    begin = max(size - END_BYTES - _MAX_COMMENT, 0)
    found = reader.read(begin, size - begin).rfind(END)
    if found < 0 or begin + found + END_BYTES > size:
        return _truncated(size)
    return ZipFaultError(
        "zip-ambiguous", "trailing data after the end record", begin + found, AMBIGUOUS
    )


def _truncated(size: int) -> ZipFaultError:
    message = "the file ends without the zip's directory"
    return ZipFaultError(
        "file-truncated", message, size, "incomplete download or save; fetch it again"
    )


def entries_of(raw: bytes, begin: int, count: int) -> Iterator[Entry]:
    """The entries of a directory of bytes `raw` that begins at an offset; raises ZipFaultError."""
    at, size = 0, len(raw)
    for _ in range(count):
        name_at = at + CENTRAL_BYTES
        if name_at > size or not raw.startswith(CENTRAL, at):
            raise ZipFaultError(
                "zip-invalid", "the directory has fewer entries than it says", begin + at
            )
        (
            _, flags, method, crc32, packed, nbytes,
            name_length, extra_length, comment, disk, offset,
        ) = _CENTRAL_FORM.unpack_from(raw, at)  # fmt: skip
        extra_at = name_at + name_length
        end = extra_at + extra_length
        if end > size or comment or disk:
            raise ZipFaultError(
                "zip-invalid", "a directory entry is damaged, or has a comment", begin + at
            )
        name, where = raw[name_at:extra_at], begin + at
        wide = zip64_values(raw[extra_at:end], where) if extra_length else []
        if IN_ZIP64 in (nbytes, packed, offset):
            nbytes, packed, offset = (
                next_value(wide, where) if value == IN_ZIP64 else value
                for value in (nbytes, packed, offset)
            )
        entry = Entry(name, _decoded(name, where), flags, method, crc32, nbytes, offset, where)
        _check_entry(entry, packed, begin)
        yield entry
        at = end
    if at != size:
        raise ZipFaultError("zip-invalid", "the directory has more bytes than entries", begin + at)


def _check_entry(entry: Entry, packed: int, limit: int) -> None:
    # Some programs end a name at a NUL, and read bytes beyond ASCII in another alphabet where no
    # flag says UTF-8.
    if not entry.text.isprintable() or not (entry.flags & UTF8 or entry.name.isascii()):
        message = f"programs would read the name of the record '{shown(entry)}' differently"
        raise ZipFaultError("zip-ambiguous", message, entry.where, AMBIGUOUS)
    if entry.flags & _ENCRYPTED:
        raise ZipFaultError(
            "zip-invalid", f"the record '{shown(entry)}' is encrypted", entry.where, _SAVE
        )
    if entry.flags & ~(HAS_DESCRIPTOR | UTF8):
        raise ZipFaultError(
            "zip-invalid", f"the record '{shown(entry)}' has unknown flags", entry.where, _SAVE
        )
    if entry.method == _DEFLATED:
        raise ZipFaultError(
            "zip-invalid", f"the record '{shown(entry)}' is compressed", entry.where, _SAVE
        )
    if entry.method != _STORED:
        raise ZipFaultError(
            "zip-invalid", f"the record '{shown(entry)}' has an unknown method", entry.where, _SAVE
        )
    if packed != entry.nbytes:
        message = f"the record '{shown(entry)}' has two different sizes"
        raise ZipFaultError("zip-ambiguous", message, entry.where, AMBIGUOUS)
    if entry.at + entry.nbytes > limit:
        message = (
            f"the record '{shown(entry)}' of {entry.nbytes:,} bytes does not fit into the file"
        )
        raise ZipFaultError("zip-invalid", message, entry.where)


class Names:
    """The names of the records so far, of which no two may be equal but for case."""

    def __init__(self) -> None:
        # Names in small letters, of which torch writes no others, are kept and not copied.
        self._small: set[str] = set()
        self._folded: dict[str, str] = {}

    def add(self, entry: Entry) -> None:
        """Note a name. Raises ZipFaultError for one that is there already."""
        name = entry.text
        folded = name.casefold()
        twin = folded if folded in self._small else self._folded.get(folded)
        if twin is not None:
            message = (
                f"the names '{escape(twin)}' and '{shown(entry)}' are the same, or but for case"
            )
            raise ZipFaultError("zip-ambiguous", message, entry.where, AMBIGUOUS)
        if folded == name:
            self._small.add(name)
        else:
            self._folded[folded] = name


def _decoded(name: bytes, where: int) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise ZipFaultError("zip-invalid", "a record's name is not UTF-8", where) from None


def shown(entry: Entry) -> str:
    """The name of an entry, safe to print."""
    return escape(entry.name.decode("utf-8", "backslashreplace"))
