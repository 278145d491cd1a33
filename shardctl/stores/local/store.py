"""Files and directories of this machine.

Paths are what the system takes, absolute or relative; "" is the current directory. Runs on Linux,
macOS and Windows: `syscalls` makes up for what a system lacks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from shardctl.errors import InputError
from shardctl.model import Extent, Version
from shardctl.stores import locking
from shardctl.stores.base import Entry, EntryKind, Reader
from shardctl.stores.faults import ABSENT, not_regular, reading, shown, writing
from shardctl.stores.local import files as local_files
from shardctl.stores.local import syscalls
from shardctl.stores.local.directories import LocalDirectory, kind_of
from shardctl.stores.local.files import LocalReader, version_of
from shardctl.stores.local.writer import LocalWriter

#: Permissions of user, group and others, without the set-id and sticky bits.
_PERMISSIONS = 0o777


class LocalStore:
    """Store of local paths, with every capability of `stores.capabilities` that the system has.

    It keeps no state, so that any number of threads and processes may use one, and any two are
    equal.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalStore)

    def __hash__(self) -> int:
        return hash(LocalStore)

    def join(self, directory: str, *names: str) -> str:
        """Return the path of a name in a directory."""
        return os.path.join(directory, *names)

    def split(self, path: str) -> tuple[str, str]:
        """Return the directory and the last name of a path; separators at its end do not count."""
        directory, name = os.path.split(path)
        return (directory, name) if name or directory == path else os.path.split(directory)

    def same(self, one: str, other: str) -> bool:
        """Whether two paths lead to the same file or directory; false where one does not exist."""
        first, second = _look(one), _look(other)
        return first is not None and second is not None and os.path.samestat(first, second)

    def kind(self, path: str) -> EntryKind | None:
        """Return what `path` leads to, links followed.

        None where nothing does, or where no file can have that name.
        """
        status = _look(path)
        return None if status is None else kind_of(status)

    def version(self, path: str) -> Version:
        """Return the version of a regular file, links followed.

        Raises MissingError, InputError (not a regular file) and StorageError.
        """
        with reading(path):
            status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise not_regular(path)
        return version_of(status)

    def list(self, directory: str) -> list[Entry]:
        """Return the names in a directory, sorted; raises MissingError and InputError."""
        if self.kind(directory) in ("file", "other"):
            raise InputError(
                f"{shown(directory)} is not a directory",
                hint="name a directory, or a file alone",
                file=directory,
            )
        with reading(directory), os.scandir(directory or os.curdir) as found:
            entries = [_entry(item) for item in found]
        return sorted(
            (entry for entry in entries if entry is not None), key=lambda entry: entry.name
        )

    def open(self, path: str) -> LocalReader:
        """Open a regular file, or a link to one.

        Raises MissingError, InputError (`file-not-regular`) and StorageError.
        """
        return LocalReader(path)

    def create(self, path: str, nbytes: int) -> LocalWriter:
        """Create a file of `nbytes` bytes with the umask's mode.

        Raises TargetExistsError and StorageError.
        """
        return LocalWriter(path, nbytes)

    def make_directory(self, path: str) -> None:
        """Make a directory and its parents; raises TargetExistsError where a file has that name."""
        with writing(path):
            os.makedirs(path or os.curdir, exist_ok=True)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name in one step. A file of the new name is replaced."""
        with writing(new):
            os.replace(old, new)

    def remove(self, path: str) -> None:
        """Remove a file or a link; one that does not exist is not an error."""
        with writing(path), contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def open_directory(self, path: str) -> LocalDirectory:
        """Open a directory, links followed; raises MissingError and StorageError."""
        return LocalDirectory.open(path)

    def append(self, path: str, data: bytes) -> None:
        """Add bytes to the end of a file, created if needed; durable on return."""
        local_files.append(path, data)

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        """Hold a lock file, alone; raises LockedError that names the holder."""
        with self._held(path, by_file=False):
            yield

    @contextmanager
    def lease(self, path: str) -> Iterator[None]:
        """Hold a lock file that keeps other machines out too; raises as `lock` does."""
        with self._held(path, by_file=True):
            yield

    @contextmanager
    def _held(self, path: str, *, by_file: bool) -> Iterator[None]:
        with writing(path):
            held = locking.acquire(path, by_file=by_file)
        try:
            yield
        finally:
            held.release()

    # Where directories cannot be synced, the store does not claim that they can: a power cut may
    # undo the last renames there.
    if syscalls.DIRECTORIES_SYNC:

        def sync_directory(self, path: str) -> None:
            """Make the names in a directory durable, where the filesystem can."""
            with writing(path):
                syscalls.sync_directory(path or os.curdir)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory; one that does not exist is not an error."""
        with writing(path), contextlib.suppress(FileNotFoundError):
            os.rmdir(path)

    def shared_block(self, source: Reader, directory: str) -> int | None:
        """Return the block, in bytes, that a new file in `directory` could share with `source`."""
        if not isinstance(source, LocalReader):
            return None
        try:
            return syscalls.shared_block(source.descriptor.number, _nearest(directory))
        except (OSError, ValueError):
            # No unnamed files there, or none that may be written: nothing was shared, and the run
            # will say the rest.
            return None

    def free_bytes(self, directory: str) -> int | None:
        """Return the bytes that this user can still write below a directory, or its nearest parent.

        None where that is unknown.
        """
        try:
            usage = shutil.disk_usage(_nearest(directory))
        except (OSError, ValueError):
            return None
        # Some filesystems in user space report zero for everything.
        return usage.free if usage.total else None

    def mode(self, path: str) -> int:
        """Return the permissions of a file or a directory, without the set-id and sticky bits."""
        with reading(path):
            return stat.S_IMODE(os.stat(path or os.curdir).st_mode) & _PERMISSIONS

    def set_mode(self, path: str, mode: int) -> None:
        """Give a file these permissions, as far as the filesystem has them."""
        with writing(path):
            try:
                os.chmod(path or os.curdir, mode)
            except OSError as error:
                if error.errno not in syscalls.UNSUPPORTED | {errno.EPERM}:
                    raise

    def holes(self, path: str) -> Iterator[Extent]:
        """Yield the holes of a file in order, where the system and the filesystem tell them."""
        with self.open(path) as reader, reading(path):
            for offset, length in syscalls.holes(reader.descriptor.number):
                yield Extent(path, offset, length)

    def followed(self, path: str) -> str:
        """Return the absolute path that `path` leads to, through every link."""
        with reading(path):
            return os.path.realpath(path)

    def drop_cache(self, path: str) -> None:
        """Drop the file's clean pages, where the system can."""
        with reading(path):
            syscalls.drop_cache(path)


def _look(path: str) -> os.stat_result | None:
    """Status of what a path leads to, links followed; None where it leads to nothing."""
    with reading(path):
        try:
            return os.stat(path or os.curdir)
        except OSError as error:
            if error.errno not in ABSENT:
                raise
        except ValueError:
            # No file can have a name with a NUL, or with characters that the encoding lacks.
            pass
    return None


def _nearest(directory: str) -> str:
    directory = os.path.abspath(directory)
    while not os.path.exists(directory) and os.path.dirname(directory) != directory:
        directory = os.path.dirname(directory)
    return directory


def _entry(item: os.DirEntry[str]) -> Entry | None:
    """One name in a directory; None where it was removed while the directory was read."""
    try:
        if item.is_symlink():
            return _link_entry(item)
        status = item.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    kind = kind_of(status)
    return Entry(item.name, kind, None, status.st_size if kind == "file" else 0)


def _link_entry(item: os.DirEntry[str]) -> Entry:
    try:
        status = item.stat()
    except OSError as error:
        # A target without permission to read it still exists; for one such link the rest of the
        # directory is not refused.
        return Entry(item.name, "link", None if error.errno in ABSENT else "other", 0)
    target = kind_of(status)
    return Entry(item.name, "link", target, status.st_size if target == "file" else 0)
