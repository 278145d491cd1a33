"""What a bucket in memory holds, and how its objects are read and written."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock

from shardctl.model import Extent, Version
from shardctl.stores.base import Copied, Reader
from shardctl.stores.closing import Closing
from shardctl.stores.faults import shorter
from shardctl.stores.uploads import SentPart, Upload

#: Numbers for versions, uploads and parts.
MARKS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What an object holds, and the token of the upload that it came from."""

    data: bytes
    token: str = ""
    mark: str = field(default_factory=lambda: str(next(MARKS)))

    @property
    def version(self) -> Version:
        return Version(len(self.data), self.mark)


@dataclass(slots=True)
class Place:
    """What is in a bucket, for all who have it open: objects and uploads, and the locks held.

    `uploads` has the parts of each by its id.
    """

    objects: dict[str, StoredObject] = field(default_factory=dict)
    uploads: dict[str, tuple[Upload, dict[int, tuple[SentPart, bytes]]]] = field(
        default_factory=dict
    )
    guard: RLock = field(default_factory=RLock)


class BucketReader(Closing):
    """An object as it was when it was opened."""

    def __init__(self, path: str, found: StoredObject) -> None:
        self.path = path
        self.version = found.version
        self._data = found.data

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`; raises SourceChangedError."""
        data = self._data[offset : offset + length]
        if len(data) < length:
            raise shorter(self.path, offset + len(data), length - len(data))
        return data

    def current(self) -> Version:
        """Return the version: an object never changes."""
        return self.version

    def will_stream(self) -> None:
        """Do nothing: memory needs no hint."""


class BucketWriter(Closing):
    """An object that appears when it is closed; `appeared` is called then."""

    def __init__(self, place: Place, path: str, nbytes: int, appeared: Callable[[], None]) -> None:
        self.path = path
        self._place = place
        self._appeared = appeared
        self._data: bytearray | None = bytearray(nbytes)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`."""
        if self._data is not None:
            self._data[offset : offset + memoryview(data).nbytes] = data

    def copy(self, offset: int, source: Reader, extent: Extent) -> Copied:
        """Copy a range of `source` to `offset`."""
        self.write(offset, source.read(extent.offset, extent.length))
        return Copied(buffered=extent.length)

    def sync(self) -> None:
        """Do nothing: memory cannot be made durable."""

    def close(self) -> None:
        """Let the object appear."""
        if self._data is not None:
            self._place.objects[key_of(self.path)] = StoredObject(bytes(self._data))
            self._data = None
            self._appeared()

    def __exit__(self, *raised: object) -> None:
        if raised[0] is not None:
            self._data = None
        self.close()


def key_of(path: str) -> str:
    """Return the one spelling of a path."""
    return path.strip("/")
