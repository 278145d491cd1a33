"""The records of an uncompressed zip, read strictly: what the central directory says must be what the file holds.

Zip is ambiguous by nature: sizes and names stand twice, bytes may stand between records, before and
after them, and readers differ in what they believe. Only files that all readers read alike are
accepted: records one after another from byte 0, the directory behind them, the end at the end.
Sources: PKWARE's APPNOTE 6.3.10; the files of torch.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from shardctl.formats.limits import MAX_DIRECTORY_BYTES
from shardctl.model import Extent
from shardctl.stores.base import Reader
from shardctl.text import escape

_LOCAL, _CENTRAL, _DESCRIPTOR = b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08"
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_LOCAL_BYTES, _CENTRAL_BYTES, _END_BYTES, _END64_BYTES, _LOCATOR_BYTES = 30, 46, 22, 56, 20
_MAX_COMMENT = 0xFFFF
_IN_ZIP64, _IN_ZIP64_COUNT = 0xFFFFFFFF, 0xFFFF
_ENCRYPTED, _HAS_DESCRIPTOR, _UTF8 = 0x1, 0x8, 0x800
_STORED, _DEFLATED = 0, 8
#: Kinds of extra field: sizes of 64 bits, and Info-ZIP's second name, which some readers prefer.
_ZIP64, _UNICODE_NAME = 1, 0x7075
_LOCAL_FORM = struct.Struct("<4xHHHHHIIIHH")
_CENTRAL_FORM = struct.Struct("<4xHHHHHHIIIHHHHHII")
_EXTRA_FORM = struct.Struct("<HH")
_DESCRIPTOR_FORMS = (struct.Struct("<4sIII"), struct.Struct("<4sIQQ"))

_DAMAGED = "the file is damaged: fetch or save it again"
_DECEIT = "programs read this file differently: get it again from a source that you trust"
_SAVE = "load the checkpoint with torch and save it again with torch.save"


#: What a file of torch.jit.save is; its code is compressed, so this is said before that is.
TORCHSCRIPT = "the file is a TorchScript program, not a state dict"
TORCHSCRIPT_HINT = "in the program that made it, save `module.state_dict()`"


class ZipFaultError(Exception):
    """What is wrong with a zip: the finding's code, and at which byte. Turned into a finding by the container."""

    def __init__(self, code: str, message: str, offset: int, hint: str = _DAMAGED) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.offset = offset
        self.hint = hint


class ZipRecord(NamedTuple):
    """An entry: its name, the extent of its data, and the CRC-32 that the central directory records."""

    name: str
    extent: Extent
    crc32: int


@dataclass(frozen=True, slots=True)
class Directory:
    """The records in the order of the central directory, and that directory's own bytes."""

    records: tuple[ZipRecord, ...]
    raw: bytes


class _Entry(NamedTuple):
    """A central directory entry. `at` is where its local header begins."""

    name: bytes
    text: str
    flags: int
    method: int
    crc32: int
    nbytes: int
    at: int
    where: int


def read_directory(reader: Reader) -> Directory:
    """All records. Raises ZipFaultError for anything that readers could read differently, and for damage."""
    begin, nbytes, count = _find_directory(reader)
    raw = reader.read(begin, nbytes)
    if b"/constants.pkl" in raw and b"/code/" in raw:
        raise ZipFaultError("zip-invalid", TORCHSCRIPT, 0, TORCHSCRIPT_HINT)
    entries = list(_entries(raw, begin, count))
    _refuse_doubles(entries)
    by_place = sorted(entries, key=lambda entry: entry.at)
    extents: dict[bytes, Extent] = {}
    at = 0
    for entry in by_place:
        if entry.at != at:
            what = "bytes stand before" if entry.at > at else "another record overlaps"
            raise ZipFaultError(
                "zip-ambiguous", f"{what} the record '{_shown(entry)}'", min(at, entry.at), _DECEIT
            )
        data = _data_offset(reader, entry, begin)
        extents[entry.name] = Extent(reader.path, data, entry.nbytes)
        at = data + entry.nbytes + _descriptor_bytes(reader, entry, data + entry.nbytes)
    if at != begin:
        raise ZipFaultError(
            "zip-ambiguous", "bytes stand between the last record and the directory", at, _DECEIT
        )
    records = tuple(ZipRecord(entry.text, extents[entry.name], entry.crc32) for entry in entries)
    return Directory(records, raw)


def _find_directory(reader: Reader) -> tuple[int, int, int]:
    """Where the central directory begins, its bytes, and its number of entries."""
    size = reader.version.size
    if size < _END_BYTES:
        raise _truncated(size)
    end_at = size - _END_BYTES
    end = reader.read(end_at, _END_BYTES)
    if not end.startswith(_END):
        raise _no_end(reader, size)
    disk, first_disk, here, count, nbytes, begin, comment = struct.unpack("<4xHHHHIIH", end)
    if comment or disk or first_disk or here != count:
        raise ZipFaultError(
            "zip-ambiguous", "the end record speaks of a comment or of other disks", end_at, _DECEIT
        )
    before = end_at
    locator_at = end_at - _LOCATOR_BYTES
    if locator_at >= 0 and reader.read(locator_at, 4) == _LOCATOR64:
        before, count, nbytes, begin = _read_end64(reader, locator_at, (count, nbytes, begin))
    elif count == _IN_ZIP64_COUNT or _IN_ZIP64 in (nbytes, begin):
        raise ZipFaultError("zip-invalid", "the zip64 end record is missing", end_at)
    if begin + nbytes != before:
        raise ZipFaultError(
            "zip-ambiguous",
            "the directory does not end where the end record begins",
            before,
            _DECEIT,
        )
    if nbytes > MAX_DIRECTORY_BYTES:
        raise ZipFaultError(
            "zip-invalid", f"a directory of {nbytes:,} bytes is beyond any checkpoint's", begin
        )
    return begin, nbytes, count


def _read_end64(
    reader: Reader, locator_at: int, short: tuple[int, int, int]
) -> tuple[int, int, int, int]:
    at = locator_at - _END64_BYTES
    disk, end64_at, disks = struct.unpack("<4xIQI", reader.read(locator_at, _LOCATOR_BYTES))
    if disk or disks != 1 or end64_at != at or at < 0:
        raise ZipFaultError(
            "zip-ambiguous",
            "the zip64 end record is not where its locator says",
            locator_at,
            _DECEIT,
        )
    data = reader.read(at, _END64_BYTES)
    if not data.startswith(_END64):
        raise ZipFaultError("zip-invalid", "the zip64 end record is damaged", at)
    length, _, _, disk, first, here, count, nbytes, begin = struct.unpack("<4xQHHIIQQQQ", data)
    if length != _END64_BYTES - 12 or disk or first or here != count:
        raise ZipFaultError("zip-invalid", "the zip64 end record is damaged", at)
    limits = (_IN_ZIP64_COUNT, _IN_ZIP64, _IN_ZIP64)
    for long, brief, limit in zip((count, nbytes, begin), short, limits, strict=True):
        if brief not in (long, limit):
            raise ZipFaultError(
                "zip-ambiguous", "the two end records contradict each other", at, _DECEIT
            )
    return at, count, nbytes, begin


def _no_end(reader: Reader, size: int) -> ZipFaultError:
    """What is at the end instead of the end record: a comment or other bytes behind it, or nothing of the zip."""
    begin = max(size - _END_BYTES - _MAX_COMMENT, 0)
    found = reader.read(begin, size - begin).rfind(_END)
    if found < 0 or begin + found + _END_BYTES > size:
        return _truncated(size)
    return ZipFaultError(
        "zip-ambiguous", "bytes stand behind the end record", begin + found, _DECEIT
    )


def _truncated(size: int) -> ZipFaultError:
    message = "the file ends without the zip's directory"
    return ZipFaultError(
        "file-truncated", message, size, "incomplete download or save; fetch it again"
    )


def _entries(raw: bytes, begin: int, count: int) -> Iterator[_Entry]:
    at = 0
    for _ in range(count):
        if raw[at : at + 4] != _CENTRAL or at + _CENTRAL_BYTES > len(raw):
            raise ZipFaultError(
                "zip-invalid", "the directory has fewer entries than it says", begin + at
            )
        fields = _CENTRAL_FORM.unpack_from(raw, at)
        (
            _,
            _,
            flags,
            method,
            _,
            _,
            crc32,
            packed,
            nbytes,
            name_length,
            extra_length,
            comment,
            disk,
            _,
            _,
            offset,
        ) = fields
        name_at = at + _CENTRAL_BYTES
        extra_at = name_at + name_length
        end = extra_at + extra_length
        if end > len(raw) or comment or disk:
            raise ZipFaultError(
                "zip-invalid", "a directory entry is damaged, or has a comment", begin + at
            )
        name = raw[name_at:extra_at]
        wide = _zip64(raw[extra_at:end], begin + at)
        if _IN_ZIP64 in (nbytes, packed, offset):
            nbytes, packed, offset = (
                _next(wide, begin + at) if value == _IN_ZIP64 else value
                for value in (nbytes, packed, offset)
            )
        entry = _Entry(
            name, _decoded(name, begin + at), flags, method, crc32, nbytes, offset, begin + at
        )
        _check_entry(entry, packed, begin)
        yield entry
        at = end
    if at != len(raw):
        raise ZipFaultError("zip-invalid", "the directory has more bytes than entries", begin + at)


def _check_entry(entry: _Entry, packed: int, limit: int) -> None:
    # Some programs end a name at a NUL, and read bytes beyond ASCII in another alphabet where no
    # flag says UTF-8.
    if not entry.text.isprintable() or not (entry.flags & _UTF8 or entry.name.isascii()):
        message = f"programs would read the name of the record '{_shown(entry)}' differently"
        raise ZipFaultError("zip-ambiguous", message, entry.where, _DECEIT)
    if entry.flags & _ENCRYPTED:
        raise ZipFaultError(
            "zip-invalid", f"the record '{_shown(entry)}' is encrypted", entry.where, _SAVE
        )
    if entry.flags & ~(_HAS_DESCRIPTOR | _UTF8):
        raise ZipFaultError(
            "zip-invalid", f"the record '{_shown(entry)}' has unknown flags", entry.where, _SAVE
        )
    if entry.method == _DEFLATED:
        raise ZipFaultError(
            "zip-invalid", f"the record '{_shown(entry)}' is compressed", entry.where, _SAVE
        )
    if entry.method != _STORED:
        raise ZipFaultError(
            "zip-invalid", f"the record '{_shown(entry)}' has an unknown method", entry.where, _SAVE
        )
    if packed != entry.nbytes:
        message = f"the record '{_shown(entry)}' has two different sizes"
        raise ZipFaultError("zip-ambiguous", message, entry.where, _DECEIT)
    if entry.at + entry.nbytes > limit:
        message = (
            f"the record '{_shown(entry)}' of {entry.nbytes:,} bytes does not fit into the file"
        )
        raise ZipFaultError("zip-invalid", message, entry.where)


def _refuse_doubles(entries: list[_Entry]) -> None:
    seen: dict[str, _Entry] = {}
    for entry in entries:
        twin = seen.setdefault(entry.text.casefold(), entry)
        if twin is not entry:
            message = (
                f"the names '{_shown(twin)}' and '{_shown(entry)}' are the same, or but for case"
            )
            raise ZipFaultError("zip-ambiguous", message, entry.where, _DECEIT)


def _data_offset(reader: Reader, entry: _Entry, limit: int) -> int:
    """Where a record's data begins; its local header is compared with the directory."""
    head = reader.read(entry.at, min(_LOCAL_BYTES + len(entry.name), limit - entry.at))
    if len(head) < _LOCAL_BYTES or not head.startswith(_LOCAL):
        raise ZipFaultError(
            "zip-invalid", f"the record '{_shown(entry)}' has no local header", entry.at
        )
    _, flags, method, _, _, crc32, packed, nbytes, name_length, extra_length = (
        _LOCAL_FORM.unpack_from(head)
    )
    if name_length != len(entry.name) or head[_LOCAL_BYTES:] != entry.name:
        raise ZipFaultError(
            "zip-ambiguous", f"the record '{_shown(entry)}' has another name", entry.at, _DECEIT
        )
    extra_at = entry.at + _LOCAL_BYTES + name_length
    data: int = extra_at + extra_length
    if flags != entry.flags or method != entry.method:
        message = f"the record '{_shown(entry)}' has other flags than in the directory"
        raise ZipFaultError("zip-ambiguous", message, entry.at, _DECEIT)
    if data + entry.nbytes > limit:
        raise ZipFaultError(
            "zip-invalid", f"the record '{_shown(entry)}' does not fit into the file", entry.at
        )
    wide = _zip64(reader.read(extra_at, extra_length), extra_at)
    if flags & _HAS_DESCRIPTOR:
        # Torch leaves all three 0 and puts a large record's size into the zip64 field only.
        sizes = (0, entry.nbytes, _IN_ZIP64)
        agrees = crc32 in (0, entry.crc32) and packed in sizes and nbytes in sizes
    else:
        actual = [
            _next(wide, extra_at) if value == _IN_ZIP64 else value for value in (nbytes, packed)
        ]
        agrees = crc32 == entry.crc32 and actual == [entry.nbytes, entry.nbytes]
    if not agrees:
        message = f"the record '{_shown(entry)}' has another size or checksum than in the directory"
        raise ZipFaultError("zip-ambiguous", message, entry.at, _DECEIT)
    return data


def _descriptor_bytes(reader: Reader, entry: _Entry, at: int) -> int:
    """Bytes of the data descriptor behind a record, compared with the directory; 0 where there is none."""
    if not entry.flags & _HAS_DESCRIPTOR:
        return 0
    data = reader.read(at, min(_DESCRIPTOR_FORMS[-1].size, entry.where - at))
    for form in _DESCRIPTOR_FORMS:
        if form.size <= len(data):
            found = form.unpack_from(data)
            if found == (_DESCRIPTOR, entry.crc32, entry.nbytes, entry.nbytes):
                return form.size
    message = f"the descriptor behind the record '{_shown(entry)}' contradicts the directory"
    raise ZipFaultError("zip-ambiguous", message, at, _DECEIT)


def _zip64(extra: bytes, where: int) -> list[int]:
    """The 64-bit values of a zip64 extra field, in order; every field must be whole."""
    values: list[int] = []
    seen = False
    at = 0
    while at < len(extra):
        if at + 4 > len(extra):
            raise ZipFaultError("zip-invalid", "an extra field is cut short", where)
        kind, length = _EXTRA_FORM.unpack_from(extra, at)
        at += 4
        if at + length > len(extra):
            raise ZipFaultError(
                "zip-invalid", "an extra field is longer than its record's header", where
            )
        if kind == _UNICODE_NAME or (kind == _ZIP64 and seen):
            message = "an extra field gives the record another name, or sizes twice"
            raise ZipFaultError("zip-ambiguous", message, where, _DECEIT)
        if kind == _ZIP64:
            seen = True
            values = [
                value for (value,) in struct.iter_unpack("<Q", extra[at : at + length // 8 * 8])
            ]
        at += length
    return values


def _next(values: list[int], where: int) -> int:
    if not values:
        raise ZipFaultError("zip-invalid", "a size stands in a zip64 field that is missing", where)
    return values.pop(0)


def _decoded(name: bytes, where: int) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise ZipFaultError("zip-invalid", "a record's name is no UTF-8", where) from None


def _shown(entry: _Entry) -> str:
    return escape(entry.name.decode("utf-8", "backslashreplace"))
