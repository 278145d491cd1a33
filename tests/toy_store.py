"""A store of the plainest kind: what its author writes, and nothing of the package but the seam."""

from __future__ import annotations

import itertools
from types import TracebackType
from typing import Self

from shardctl.errors import (
    InputError,
    MissingError,
    SourceChangedError,
    StorageError,
    TargetExistsError,
)
from shardctl.model import Extent, Version
from shardctl.stores.base import Copied, Entry, EntryKind, Reader

_MARKS = itertools.count()


class _Handle:
    """An open file, and the `with` block that closes it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def close(self) -> None:
        """Release nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()


class ToyReader(_Handle):
    """The bytes of an object as they were when it was opened."""

    def __init__(self, path: str, data: bytes, mark: int) -> None:
        super().__init__(path)
        self._data = data
        self.version = Version(len(data), str(mark))

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range."""
        data = self._data[offset : offset + length]
        if len(data) < length:
            raise SourceChangedError(
                f"'{self.path}' is too short",
                hint="upload it again",
                file=self.path,
                offset=offset + len(data),
            )
        return data

    def current(self) -> Version:
        """Return the version: an object never changes."""
        return self.version

    def will_stream(self) -> None:
        """Do nothing."""


class ToyWriter(_Handle):
    """The bytes of an object that appears, whole, when it is closed."""

    def __init__(self, store: ToyStore, path: str, nbytes: int) -> None:
        super().__init__(path)
        self._store = store
        self._data = bytearray(nbytes)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Put bytes where they belong."""
        self._data[offset : offset + len(data)] = data

    def copy(self, offset: int, source: Reader, extent: Extent) -> Copied:
        """Copy a range through memory."""
        self.write(offset, source.read(extent.offset, extent.length))
        return Copied(buffered=extent.length)

    def sync(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Let the object appear."""
        self._store.objects.setdefault(self.path, (bytes(self._data), next(_MARKS)))


class ToyStore:
    """Objects by path, as in a bucket: no directories, no appending, no locks, nothing to sync."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, int]] = {}

    def join(self, directory: str, *names: str) -> str:
        """Join with slashes."""
        return "/".join([*([directory.rstrip("/")] if directory else []), *names])

    def split(self, path: str) -> tuple[str, str]:
        """Split at the last slash."""
        directory, _, name = path.rstrip("/").rpartition("/")
        return directory, name

    def same(self, one: str, other: str) -> bool:
        """Compare the paths."""
        return one.rstrip("/") == other.rstrip("/") and self.kind(one) is not None

    def kind(self, path: str) -> EntryKind | None:
        """Look for an object, then for objects below."""
        if path in self.objects:
            return "file"
        below = "" if path == "" else f"{path.rstrip('/')}/"
        return "directory" if path == "" or any(p.startswith(below) for p in self.objects) else None

    def version(self, path: str) -> Version:
        """Return the version of an object."""
        return self.open(path).version

    def list(self, directory: str) -> list[Entry]:
        """Return the next part of each path below."""
        kind = self.kind(directory)
        if kind is None:
            raise MissingError(f"'{directory}' does not exist", hint="look again", file=directory)
        if kind == "file":
            raise InputError(f"'{directory}' is an object", hint="use open", file=directory)
        below = "" if directory == "" else f"{directory.rstrip('/')}/"
        entries: dict[str, Entry] = {}
        for path, (data, _) in self.objects.items():
            name, slash, _ = path.removeprefix(below).partition("/")
            if path.startswith(below):
                entries[name] = (
                    Entry(name, "directory", None, 0)
                    if slash
                    else Entry(name, "file", None, len(data))
                )
        return [entries[name] for name in sorted(entries)]

    def open(self, path: str) -> ToyReader:
        """Open an object."""
        if path in self.objects:
            return ToyReader(path, *self.objects[path])
        if self.kind(path) is None:
            raise MissingError(f"'{path}' does not exist", hint="look again", file=path)
        raise InputError(
            f"'{path}' is a directory", hint="use list", code="file-not-regular", file=path
        )

    def create(self, path: str, nbytes: int) -> ToyWriter:
        """Begin an object."""
        self._check_free(path)
        return ToyWriter(self, path, nbytes)

    def make_directory(self, path: str) -> None:
        """Do nothing, but where an object has that name."""
        if self.kind(path) == "file":
            self._check_free(path)

    def rename(self, old: str, new: str) -> None:
        """Move an object."""
        if old not in self.objects:
            raise StorageError(f"'{old}' does not exist", hint="look again", file=new)
        self.objects[new] = self.objects.pop(old)

    def remove(self, path: str) -> None:
        """Remove an object."""
        if self.kind(path) == "directory":
            raise StorageError(f"'{path}' is a directory", hint="remove its objects", file=path)
        self.objects.pop(path, None)

    def _check_free(self, path: str) -> None:
        if self.kind(path) is not None:
            raise TargetExistsError(f"'{path}' exists", hint="use another name", file=path)
