"""The records of an uncompressed zip, read strictly: they must be what the directory says.

Zip is ambiguous by nature: sizes and names are there twice, bytes may lie between records, before
and after them, and readers differ in what they believe. Only files that all readers read alike are
accepted: records one after another from byte 0, then the directory, then the end. Sources: PKWARE's
APPNOTE 6.3.10; the files of torch.
"""

from __future__ import annotations

import itertools
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from shardctl.formats.hazards import DO_NOT_LOAD
from shardctl.formats.torch.zip.central import (
    Entry,
    Names,
    entries_of,
    find_directory,
    shown,
)
from shardctl.formats.torch.zip.structure import (
    AMBIGUOUS,
    DESCRIPTOR,
    HAS_DESCRIPTOR,
    IN_ZIP64,
    LOCAL,
    LOCAL_BYTES,
    TORCHSCRIPT,
    TORCHSCRIPT_HINT,
    ZipFaultError,
    next_value,
    zip64_values,
)
from shardctl.model import Extent
from shardctl.stores.base import Reader
from shardctl.stores.capabilities import Announces
from shardctl.text import escape

_LOCAL_FORM = struct.Struct("<4xHHHHHIIIHH")
_DESCRIPTOR_FORMS = (struct.Struct("<4sIII"), struct.Struct("<4sIQQ"))


class ZipRecord(NamedTuple):
    """A record: its name, the extent of its data, and the CRC-32 that the directory has for it."""

    name: str
    extent: Extent
    crc32: int


class Directory:
    """The records in the order of the central directory.

    There can be a million of them, so no object is kept for each: `places` has the place of each
    name in the columns `offsets` and `lengths` (bytes of the data) and `crcs`.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.places: dict[str, int] = {}
        self.offsets, self.lengths, self.crcs = array("Q"), array("Q"), array("I")

    def __len__(self) -> int:
        return len(self.places)

    def add(self, name: str, offset: int, length: int, crc32: int) -> None:
        """Append a record; its name must be new."""
        self.places[name] = len(self.places)
        self.offsets.append(offset)
        self.lengths.append(length)
        self.crcs.append(crc32)

    def extent(self, place: int) -> Extent:
        """Return where the data of the record at a place is."""
        return Extent(self._path, self.offsets[place], self.lengths[place])

    def get(self, name: str) -> ZipRecord | None:
        """Return the record of that name; None where there is none."""
        place = self.places.get(name)
        if place is None:
            return None
        return ZipRecord(name, self.extent(place), self.crcs[place])


@dataclass(frozen=True, slots=True)
class Records:
    """The records below a directory of the zip, by their names there."""

    top: str
    directory: Directory

    def __len__(self) -> int:
        return len(self.directory)

    def __iter__(self) -> Iterator[str]:
        begin = len(self.top) + 1
        return (name[begin:] for name in self.directory.places)

    def __contains__(self, name: str) -> bool:
        return self.place(name) is not None

    def place(self, name: str) -> int | None:
        """Return the place of a record in the directory; None where there is none of that name."""
        return self.directory.places.get(f"{self.top}/{name}")

    def get(self, name: str) -> ZipRecord | None:
        """Return the record of that name; None where there is none."""
        return self.directory.get(f"{self.top}/{name}")


def read_directory(reader: Reader) -> tuple[Directory, bytes]:
    """Return all records, and the bytes of the central directory.

    Raises ZipFaultError for damage, and for what readers could read differently.
    """
    begin, nbytes, count = find_directory(reader)
    raw = reader.read(begin, nbytes)
    if b"/constants.pkl" in raw and b"/code/" in raw:
        raise ZipFaultError("zip-invalid", TORCHSCRIPT, 0, TORCHSCRIPT_HINT)
    if isinstance(reader, Announces):
        reader.will_read([entry.at for entry in entries_of(raw, begin, count)])
    names = Names()
    directory = Directory(reader.path)
    headers, ends = array("Q"), array("Q")
    for entry in entries_of(raw, begin, count):
        names.add(entry)
        data = _data_offset(reader, entry, begin)
        end = data + entry.nbytes
        directory.add(entry.text, data, entry.nbytes, entry.crc32)
        headers.append(entry.at)
        ends.append(end + _descriptor_bytes(reader, entry, end))
    _refuse_gaps(directory, headers, ends, begin)
    return directory, raw


def _refuse_gaps(directory: Directory, headers: array[int], ends: array[int], begin: int) -> None:
    """Raise ZipFaultError unless the records follow one another from byte 0 to the directory."""
    at = 0
    for place in sorted(range(len(headers)), key=headers.__getitem__):
        header = headers[place]
        if header != at:
            what = "unknown bytes before" if header > at else "another record overlaps"
            name = escape(next(itertools.islice(directory.places, place, None)))
            raise ZipFaultError(
                "zip-ambiguous", f"{what} the record '{name}'", min(at, header), AMBIGUOUS
            )
        at = ends[place]
    if at != begin:
        raise ZipFaultError(
            "zip-ambiguous",
            "unknown bytes between the last record and the directory",
            at,
            AMBIGUOUS,
        )


def _data_offset(reader: Reader, entry: Entry, limit: int) -> int:
    """Where a record's data begins; its local header is compared with the directory."""
    head = reader.read(entry.at, min(LOCAL_BYTES + len(entry.name), limit - entry.at))
    if len(head) < LOCAL_BYTES or not head.startswith(LOCAL):
        raise ZipFaultError(
            "zip-invalid", f"the record '{shown(entry)}' has no local header", entry.at
        )
    _, flags, method, _, _, crc32, packed, nbytes, name_length, extra_length = (
        _LOCAL_FORM.unpack_from(head)
    )
    if name_length != len(entry.name) or head[LOCAL_BYTES:] != entry.name:
        raise ZipFaultError(
            "zip-ambiguous", f"the record '{shown(entry)}' has another name", entry.at, AMBIGUOUS
        )
    extra_at = entry.at + LOCAL_BYTES + name_length
    data: int = extra_at + extra_length
    if flags != entry.flags or method != entry.method:
        message = f"the record '{shown(entry)}' has other flags than in the directory"
        raise ZipFaultError("zip-ambiguous", message, entry.at, AMBIGUOUS)
    if data + entry.nbytes > limit:
        raise ZipFaultError(
            "zip-invalid", f"the record '{shown(entry)}' does not fit into the file", entry.at
        )
    wide = zip64_values(reader.read(extra_at, extra_length), extra_at)
    if flags & HAS_DESCRIPTOR:
        # Torch leaves all three 0 and puts a large record's size into the zip64 field only.
        sizes = (0, entry.nbytes, IN_ZIP64)
        agrees = crc32 in (0, entry.crc32) and packed in sizes and nbytes in sizes
    else:
        actual = [
            next_value(wide, extra_at) if value == IN_ZIP64 else value for value in (nbytes, packed)
        ]
        agrees = crc32 == entry.crc32 and actual == [entry.nbytes, entry.nbytes]
    if not agrees:
        message = f"the record '{shown(entry)}' has another size or checksum than in the directory"
        raise ZipFaultError("zip-ambiguous", message, entry.at, AMBIGUOUS)
    return data


def _descriptor_bytes(reader: Reader, entry: Entry, at: int) -> int:
    """Bytes of the data descriptor after a record, which is compared with the directory, or 0."""
    if not entry.flags & HAS_DESCRIPTOR:
        return 0
    data = reader.read(at, min(_DESCRIPTOR_FORMS[-1].size, entry.where - at))
    for form in _DESCRIPTOR_FORMS:
        if form.size <= len(data):
            found = form.unpack_from(data)
            if found == (DESCRIPTOR, entry.crc32, entry.nbytes, entry.nbytes):
                return form.size
    message = f"the descriptor after the record '{shown(entry)}' contradicts the directory"
    raise ZipFaultError("zip-ambiguous", message, at, AMBIGUOUS)


def top_directory(directory: Directory) -> str:
    """The one directory that all records are in; torch takes that of the first."""
    if not len(directory):
        raise ZipFaultError(
            "zip-invalid", "the zip is empty", 0, "name a file that torch.save wrote"
        )
    for name, place in directory.places.items():
        if "\\" in name or name.startswith("/") or ".." in name.split("/"):
            message = f"the record '{escape(name)}' leads out of the file's directory"
            at = directory.offsets[place]
            raise ZipFaultError("zip-ambiguous", message, at, DO_NOT_LOAD)
    top = next(iter(directory.places)).split("/", 1)[0]
    if not all(name.startswith(f"{top}/") for name in directory.places):
        tops = dict.fromkeys(name.split("/", 1)[0] for name in directory.places)
        some = ", ".join(map(escape, sorted(tops)[:5]))
        hint = "name a file that torch.save wrote; a plain zip must be unpacked first"
        raise ZipFaultError(
            "zip-ambiguous", f"the records are not in one directory, but in {some}", 0, hint
        )
    return top
