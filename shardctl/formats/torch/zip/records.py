"""The records of an uncompressed zip, read strictly: they must be what the directory says.

Zip is ambiguous by nature: sizes and names are there twice, bytes may lie between records, before
and after them, and readers differ in what they believe. Only files that all readers read alike are
accepted: records one after another from byte 0, then the directory, then the end. Sources: PKWARE's
APPNOTE 6.3.10; the files of torch.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from shardctl.formats.hazards import DO_NOT_LOAD
from shardctl.formats.torch.zip.central import Names, entries_of, find_directory
from shardctl.formats.torch.zip.local import Local, Nearby
from shardctl.formats.torch.zip.structure import (
    AMBIGUOUS,
    TORCHSCRIPT,
    TORCHSCRIPT_HINT,
    ZipFaultError,
)
from shardctl.model import Extent
from shardctl.stores.base import Reader
from shardctl.text import escape


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
    names = Names()
    directory = Directory(reader.path)
    headers, flags = array("Q"), array("H")
    for entry in entries_of(raw, begin, count):
        names.add(entry)
        directory.add(entry.text, entry.at, entry.nbytes, entry.crc32)
        headers.append(entry.at)
        flags.append(entry.flags)
    _locate(reader, directory, headers, flags, begin)
    return directory, raw


def _locate(
    reader: Reader, directory: Directory, headers: array[int], flags: array[int], limit: int
) -> None:
    """Set the offset of each record's data, whose header it is so far.

    Raises ZipFaultError unless the records are what the directory says, and follow one another from
    byte 0 to the directory, which is at `limit`.
    """
    names, lengths, crcs = list(directory.places), directory.lengths, directory.crcs
    order = sorted(range(len(headers)), key=headers.__getitem__)
    near = Nearby(reader, array("Q", map(headers.__getitem__, order)))
    at = 0
    for number, place in enumerate(order):
        header = headers[place]
        near.approach(number)
        record = Local(names[place], header, flags[place], lengths[place], crcs[place])
        data, end = record.extent(near, limit)
        if header != at:
            what = "unknown bytes before" if header > at else "another record overlaps"
            message = f"{what} the record '{escape(record.name)}'"
            raise ZipFaultError("zip-ambiguous", message, min(at, header), AMBIGUOUS)
        directory.offsets[place] = data
        at = end
    if at != limit:
        raise ZipFaultError(
            "zip-ambiguous",
            "unknown bytes between the last record and the directory",
            at,
            AMBIGUOUS,
        )


def top_directory(directory: Directory) -> str:
    """The one directory that all records are in; torch takes that of the first."""
    if not len(directory):
        raise ZipFaultError(
            "zip-invalid", "the zip is empty", 0, "name a file that torch.save wrote"
        )
    for name, place in directory.places.items():
        if "\\" in name or name.startswith("/") or (".." in name and ".." in name.split("/")):
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
