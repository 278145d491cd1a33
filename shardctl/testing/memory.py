"""Files in memory, for tests: a store without a disk.

Paths are separated by `/`; the directories "" and "/" always exist. There are no links and no
permissions. The store can append, lock, and make and remove directories.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock

from shardctl.errors import (
    InputError,
    LockedError,
    MissingError,
    StorageError,
    TargetExistsError,
)
from shardctl.model import Extent, Version
from shardctl.stores.base import Copied, Entry, EntryKind, Reader
from shardctl.stores.closing import Closing
from shardctl.stores.faults import shorter

_CLOCK = itertools.count()


@dataclass(slots=True)
class _File:
    data: bytearray
    mark: int = field(default_factory=_CLOCK.__next__)

    @property
    def version(self) -> Version:
        return Version(len(self.data), str(self.mark))

    def put(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes at `offset`, which is at most the end; the file grows as needed."""
        self.data[offset : offset + memoryview(data).nbytes] = data
        self.mark = next(_CLOCK)


class _Handle(Closing):
    """What open files have in common."""

    def __init__(self, path: str, file: _File) -> None:
        self.path = path
        self._file = file


class MemoryReader(_Handle):
    """An open file. A file that takes its name later does not change what is read."""

    def __init__(self, path: str, file: _File) -> None:
        super().__init__(path, file)
        self.version = file.version

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`; raises SourceChangedError."""
        data = bytes(self._file.data[offset : offset + length])
        if len(data) < length:
            raise shorter(self.path, offset + len(data), length - len(data))
        return data

    def current(self) -> Version:
        """Return the version of the open file now."""
        return self._file.version

    def will_stream(self) -> None:
        """Do nothing: memory needs no hint."""


class MemoryWriter(_Handle):
    """A new file, zeros at first."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`."""
        self._file.put(offset, data)

    def copy(self, offset: int, source: Reader, extent: Extent) -> Copied:
        """Copy a range of `source` to `offset`."""
        self.write(offset, source.read(extent.offset, extent.length))
        return Copied(buffered=extent.length)

    def sync(self) -> None:
        """Do nothing: memory cannot be made durable."""


class MemoryStore:
    """Store that holds its files in memory, for as long as it lives."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._directories = {"", "/"}
        self._locked: set[str] = set()
        self._guard = RLock()

    def join(self, directory: str, *names: str) -> str:
        """Return the path of a name in a directory."""
        return posixpath.join(directory, *names)

    def split(self, path: str) -> tuple[str, str]:
        """Return the directory and the last name of a path."""
        return posixpath.split(path.rstrip("/"))

    def same(self, one: str, other: str) -> bool:
        """Whether two paths are one, and lead to a file or a directory."""
        return _plain(one) == _plain(other) and self.kind(one) is not None

    def kind(self, path: str) -> EntryKind | None:
        """Return `file`, `directory`, or None where there is neither."""
        if _plain(path) in self._files:
            return "file"
        return "directory" if _plain(path) in self._directories else None

    def version(self, path: str) -> Version:
        """Return the version of a file; raises as `open` does."""
        return self._at(path).version

    def list(self, directory: str) -> list[Entry]:
        """Return the names in a directory, sorted; raises MissingError and InputError."""
        kind = self.kind(directory)
        if kind is None:
            raise _missing(directory)
        if kind != "directory":
            raise InputError(
                f"'{directory}' is not a directory", hint="name a directory", file=directory
            )
        with self._guard:
            files = {
                path: Entry(self.split(path)[1], "file", None, len(f.data))
                for path, f in self._files.items()
            }
            directories = {
                path: Entry(self.split(path)[1], "directory", None, 0)
                for path in self._directories - {"", "/"}
            }
        inside = [
            entry
            for path, entry in {**files, **directories}.items()
            if self.split(path)[0] == _plain(directory)
        ]
        return sorted(inside, key=lambda entry: entry.name)

    def open(self, path: str) -> MemoryReader:
        """Open a file; raises MissingError, and InputError (`file-not-regular`) for a directory."""
        return MemoryReader(path, self._at(path))

    def create(self, path: str, nbytes: int) -> MemoryWriter:
        """Create a file of `nbytes` bytes.

        Raises TargetExistsError, and StorageError where its directory does not exist.
        """
        with self._guard:
            if self.kind(path) is not None:
                raise TargetExistsError(
                    f"'{path}' already exists", hint="choose another name", file=path
                )
            return MemoryWriter(path, self._put(path, _File(bytearray(nbytes))))

    def make_directory(self, path: str) -> None:
        """Make a directory and its parents; raises TargetExistsError where a file has that name."""
        with self._guard:
            directory = _plain(path)
            if directory in self._files:
                raise TargetExistsError(
                    f"'{path}' is a file", hint="choose another name", file=path
                )
            while directory not in self._directories:
                self._directories.add(directory)
                directory = posixpath.dirname(directory)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name. A file of the new name is replaced."""
        with self._guard:
            file = self._files.get(_plain(old))
            if file is None:
                raise _failed(new, f"cannot be made from '{old}', which does not exist")
            self._put(new, file)
            if _plain(old) != _plain(new):
                del self._files[_plain(old)]

    def remove(self, path: str) -> None:
        """Remove a file; one that does not exist is not an error."""
        with self._guard:
            if self.kind(path) == "directory":
                raise _failed(path, "is a directory")
            self._files.pop(_plain(path), None)

    def append(self, path: str, data: bytes) -> None:
        """Add bytes to the end of a file, created if needed."""
        with self._guard:
            file = self._files.get(_plain(path)) or self._put(path, _File(bytearray()))
            file.put(len(file.data), data)

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        """Hold a lock file, alone; raises LockedError. The file is removed afterwards."""
        with self._guard:
            if _plain(path) in self._locked:
                raise LockedError(
                    f"'{path}' is held by another run", hint="wait for it to end", file=path
                )
            self._put(path, _File(bytearray()))
            self._locked.add(_plain(path))
        try:
            yield
        finally:
            with self._guard:
                self._locked.discard(_plain(path))
                self._files.pop(_plain(path), None)

    def sync_directory(self, path: str) -> None:
        """Check only that the directory exists."""
        if self.kind(path) != "directory":
            raise _failed(path, "is not a directory")

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory; one that does not exist is not an error."""
        with self._guard:
            if self.kind(path) == "directory" and self.list(path):
                raise _failed(path, "is not empty")
            self._directories.discard(_plain(path))

    def _at(self, path: str) -> _File:
        file = self._files.get(_plain(path))
        if file is not None:
            return file
        if self.kind(path) is None:
            raise _missing(path)
        raise InputError(
            f"'{path}' is not a file", hint="name a file", code="file-not-regular", file=path
        )

    def _put(self, path: str, file: _File) -> _File:
        if self.kind(posixpath.dirname(_plain(path))) != "directory":
            raise _failed(path, "has no directory")
        self._files[_plain(path)] = file
        return file


def _plain(path: str) -> str:
    """Return the one spelling of a path; that of the current directory is empty."""
    plain = posixpath.normpath(path)
    return "" if plain == "." else plain


def _missing(path: str) -> MissingError:
    return MissingError(f"'{path}' does not exist", hint="check the path", file=path)


def _failed(path: str, why: str) -> StorageError:
    return StorageError(f"'{path}' {why}", hint="check the path", file=path)
