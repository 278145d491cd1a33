"""Directories of a store that cannot open them: the same promises, as far as the core goes."""

from __future__ import annotations

from typing import Final

from shardctl.errors import InputError, TargetExistsError
from shardctl.stores.base import Directory, EntryKind, Identity, Store
from shardctl.stores.capabilities import RemovesDirectories, SyncsDirectories
from shardctl.stores.closing import Closing


class PlainDirectory(Closing):
    """A directory of a store, by its path: nothing is open."""

    def __init__(self, store: Store, path: str) -> None:
        self.path: Final = path
        self._store = store

    def identity(self, name: str) -> Identity | None:
        """Return what a name belongs to; None where it is free."""
        path = self._path(name)
        kind = self._store.kind(path)
        if kind is None:
            return None
        if kind != "file":
            return _identity(kind)
        try:
            version = self._store.version(path)
        except InputError:  # removed or replaced since it was looked at
            return None
        return _identity(kind, version.size, version.mark)

    def own_identity(self) -> Identity:
        """Return that this is a directory: there is nothing to tell it from others by."""
        return _identity("directory")

    def is_ours(self) -> bool:
        """True: the core knows no owners."""
        return True

    def names(self) -> list[str]:
        """The names in this directory, sorted."""
        return [entry.name for entry in self._store.list(self.path)]

    def keeps_inodes(self) -> bool:
        """False: the core knows no inode numbers."""
        return False

    def subdirectory(self, name: str) -> Directory | None:
        """Open a directory in this one; None where there is none."""
        path = self._path(name)
        kind = self._store.kind(path)
        if kind is None:
            return None
        if kind != "directory":
            raise TargetExistsError(
                f"'{path}' is not a directory, and the files of a run must be beside its target",
                hint="move it away, or choose another target",
                file=path,
            )
        return PlainDirectory(self._store, path)

    def make_subdirectory(
        self,
        name: str,
        like: Directory | None = None,  # noqa: ARG002 - the core knows no permissions
    ) -> Directory:
        """Open a directory in this one, made where it is missing."""
        self._store.make_directory(self._path(name))
        return PlainDirectory(self._store, self._path(name))

    def move(self, name: str, to: Directory, new_name: str) -> None:
        """Move a file to a name that is free when it is looked at; else TargetExistsError."""
        path = self._store.join(to.path, new_name)
        if self._store.kind(path) is not None:
            raise TargetExistsError(
                f"'{path}' already exists", hint="move it away, or choose another target", file=path
            )
        self._store.rename(self._path(name), path)

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is fine."""
        self._store.remove(self._path(name))

    def remove_subdirectory(self, name: str) -> None:
        """Remove an empty directory; without real directories it is gone with its last file."""
        if isinstance(self._store, RemovesDirectories):
            self._store.remove_directory(self._path(name))

    def sync(self) -> None:
        """Make the names in this directory durable, where the store can."""
        if isinstance(self._store, SyncsDirectories):
            self._store.sync_directory(self.path)

    def _path(self, name: str) -> str:
        return self._store.join(self.path, name)


def _identity(kind: EntryKind, size: int = 0, mark: str = "") -> Identity:
    return Identity(kind, 0, 0, size, 0, 0, mark=mark)
