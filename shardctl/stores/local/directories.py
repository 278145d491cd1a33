"""Open directories of this machine: files are looked at, moved and removed by identity.

A path can lead elsewhere at any moment: another program renames a directory and puts a link in
its place. An open directory stays the one that was opened, and the calls whose names end in `at`
(POSIX.1-2008) work in it without following a link. Windows has no such calls: paths are used.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from shardctl.errors import TargetExistsError
from shardctl.stores.base import Directory, EntryKind, Identity
from shardctl.stores.closing import Closing
from shardctl.stores.faults import reading, shown, write_failure, writing
from shardctl.stores.local import mounts, renames, syscalls

_OPEN = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
#: Whether the calls take an open directory in place of a path.
_AT = os.stat in os.supports_dir_fd and os.unlink in os.supports_dir_fd
#: Answers that mean that no file has a name.
_NO_SUCH_NAME = {errno.ENOENT, errno.ENAMETOOLONG}
#: Only the user who runs this may look into a directory of unfinished work.
_PRIVATE = 0o700


@dataclass(frozen=True, slots=True)
class _Name:
    """A name in an open directory, as the system's calls take it."""

    path: str
    directory: int | None


class LocalDirectory(Closing):
    """An open directory. Close it, or use it as a context manager."""

    def __init__(self, path: str, descriptor: int | None) -> None:
        self.path: Final = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: str) -> Self:
        """Open a directory, links followed; raises MissingError or StorageError."""
        with reading(path):
            return cls(path, os.open(path or os.curdir, _OPEN) if _AT else None)

    def subdirectory(self, name: str) -> Self | None:
        """Open a directory in this one; None where there is none. A link is never followed.

        Raises TargetExistsError where the name belongs to a link, a file or anything else.
        """
        path = os.path.join(self.path, name)
        found = self.identity(name)
        if found is None:
            return None
        if found.kind != "directory":
            what = "a link" if found.kind == "link" else "not a directory"
            raise TargetExistsError(
                f"{shown(path)} is {what}, and the files of a run must be beside its target",
                hint="move it away, or choose another target",
                file=path,
            )
        if not _AT:
            return type(self)(path, None)
        with reading(path):
            return type(self)(path, os.open(name, _OPEN | _NO_LINK, dir_fd=self._descriptor))

    def make_subdirectory(self, name: str, like: Directory | None = None) -> Self:
        """Open a directory in this one, made where it is missing.

        Then it is for this user alone, or for those for whom `like` is.
        """
        at = self._at(name)
        mode = like.permissions() if isinstance(like, LocalDirectory) else _PRIVATE
        with writing(os.path.join(self.path, name)), suppress(FileExistsError):
            os.mkdir(at.path, mode, dir_fd=at.directory)
        made = self.subdirectory(name)
        if made is None:  # removed by another program in between
            raise write_failure(FileNotFoundError(errno.ENOENT, "it was removed"), self.path)
        return made

    def identity(self, name: str) -> Identity | None:
        """Return what a name belongs to, a link not followed; None where it is free."""
        at = self._at(name)
        with reading(os.path.join(self.path, name)):
            try:
                status = os.stat(at.path, dir_fd=at.directory, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_SUCH_NAME:
                    raise
                return None
        return identity_of(status)

    def own_identity(self) -> Identity:
        """Return what this directory is, whatever its path leads to by now."""
        with reading(self.path):
            if self._descriptor is None:
                return identity_of(os.stat(self.path or os.curdir))
            return identity_of(os.fstat(self._descriptor))

    def is_ours(self) -> bool:
        """Whether this directory belongs to the user who runs this, where files have owners."""
        if self._descriptor is None:
            return True
        with reading(self.path):
            return os.fstat(self._descriptor).st_uid == os.geteuid()

    def permissions(self) -> int:
        """The permissions of this directory; those of a private one where the system has none."""
        if self._descriptor is None:
            return _PRIVATE
        with reading(self.path):
            return stat.S_IMODE(os.fstat(self._descriptor).st_mode) & 0o777

    def names(self) -> list[str]:
        """The names in this directory, sorted."""
        with reading(self.path):
            inside = self.path or os.curdir if self._descriptor is None else self._descriptor
            return sorted(os.listdir(inside))

    def move(self, name: str, to: Directory, new_name: str) -> None:
        """Move a file to a free name, in one step where the filesystem can.

        Raises TargetExistsError where the name is taken, and then nothing has moved; TypeError
        for the directory of another store.
        """
        if not isinstance(to, LocalDirectory):
            raise TypeError(f"a file of this machine cannot be moved to {to.path}")
        old, new = self._at(name), to._at(new_name)  # noqa: SLF001 - the same class
        path = os.path.join(to.path, new_name)
        with writing(path):
            renames.rename_to_free_name(old.path, old.directory, new.path, new.directory)

    def remove(self, name: str) -> None:
        """Remove a file or a link; one that is gone already is fine."""
        if self.identity(name) is not None:
            at = self._at(name)
            with writing(os.path.join(self.path, name)), suppress(FileNotFoundError):
                os.unlink(at.path, dir_fd=at.directory)

    def remove_subdirectory(self, name: str) -> None:
        """Remove an empty directory; one that is gone already is fine."""
        at = self._at(name)
        with writing(os.path.join(self.path, name)), suppress(FileNotFoundError):
            os.rmdir(at.path, dir_fd=at.directory)

    def sync(self) -> None:
        """Make the names in this directory durable, where the system can."""
        with writing(self.path):
            if self._descriptor is None:
                syscalls.sync_directory(self.path or os.curdir)
            else:
                syscalls.sync_open_directory(self._descriptor)

    def keeps_inodes(self) -> bool:
        """Whether a file has the same inode number after the filesystem was mounted again."""
        return mounts.keeps_inodes(self.own_identity().device)

    def close(self) -> None:
        """Close the directory; once is enough."""
        number, self._descriptor = self._descriptor, None
        if number is not None:
            with suppress(OSError):
                os.close(number)

    def _at(self, name: str) -> _Name:
        if self._descriptor is None:
            return _Name(os.path.join(self.path, name), None)
        return _Name(name, self._descriptor)


def identity_of(status: os.stat_result) -> Identity:
    """The identity of a file from what the system says of it."""
    return Identity(
        kind=kind_of(status),
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        links=status.st_nlink,
    )


def kind_of(status: os.stat_result) -> EntryKind:
    """What a file is from what the system says of it; "link" where that was of the link itself."""
    if stat.S_ISREG(status.st_mode):
        return "file"
    if stat.S_ISDIR(status.st_mode):
        return "directory"
    return "link" if stat.S_ISLNK(status.st_mode) else "other"
