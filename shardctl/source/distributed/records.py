"""The records of the files that a data file consists of: several for each slice."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from shardctl.model import Extent, Storage

#: A checksum that was not recorded.
_ABSENT = -1


class SliceRecords(Sequence[Storage]):
    """Records of one data file, with its path, as storages.

    There are seven for each slice, however small it is, so that no object is kept for one: offsets,
    lengths (both bytes in the data file) and checksums are columns.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._entries: list[str] = []
        self._names: list[str] = []
        self._offsets, self._lengths, self._crcs = array("Q"), array("Q"), array("q")

    def add(self, entry: str, records: Iterable[Storage], begin: int) -> None:
        """Append the records of an entry's file; their offsets count from `begin`."""
        for record in records:
            self._entries.append(entry)
            self._names.append(sys.intern(record.key))
            self._offsets.append(record.extent.offset + begin)
            self._lengths.append(record.extent.length)
            self._crcs.append(_ABSENT if record.crc32 is None else record.crc32)

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, at: int) -> Storage: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Storage, ...]: ...
    def __getitem__(self, at: int | slice) -> Storage | tuple[Storage, ...]:
        if isinstance(at, slice):
            return tuple(map(self._record, range(*at.indices(len(self)))))
        return self._record(at)

    def __iter__(self) -> Iterator[Storage]:
        return map(self._record, range(len(self)))

    def _record(self, at: int) -> Storage:
        """Return the record at a place; raises IndexError where there is none."""
        crc32 = self._crcs[at]
        extent = Extent(self._path, self._offsets[at], self._lengths[at])
        key = f"{self._entries[at]}/{self._names[at]}"
        return Storage(extent, key, None if crc32 == _ABSENT else crc32)
