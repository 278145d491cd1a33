"""Files and folders of this machine. Paths are what the system takes, absolute or relative; "" is the current folder.

Runs on Linux, macOS and Windows: what a system lacks is made up for in `syscalls`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from shardctl.errors import InputError
from shardctl.model import Version
from shardctl.stores import local_files, locking, syscalls
from shardctl.stores.base import Entry, EntryKind, Properties
from shardctl.stores.faults import ABSENT, not_regular, reading, shown, writing
from shardctl.stores.local_files import LocalReader, LocalWriter, version_of

#: Who may do what with a file: user, group and others, without the set-id and sticky bits.
_PERMISSIONS = 0o777


class LocalStore:
    """The store of local paths. It keeps no state, so that any number of threads may use one."""

    @property
    def properties(self) -> Properties:
        """Renames are atomic; Linux can share blocks; folders are durable where they can be synced."""
        return Properties(
            atomic_rename=True,
            server_copy=False,
            shared_blocks=sys.platform == "linux",
            durable=syscalls.DIRECTORIES_SYNC,
        )

    def join(self, directory: str, *names: str) -> str:
        """The path of a name in a folder."""
        return os.path.join(directory, *names)

    def split(self, path: str) -> tuple[str, str]:
        """The folder and the last name of a path; separators at its end do not count."""
        directory, name = os.path.split(path)
        return (directory, name) if name or directory == path else os.path.split(directory)

    def same(self, one: str, other: str) -> bool:
        """Whether two paths lead to the same file or folder; false where one leads to nothing."""
        first, second = _look(one), _look(other)
        return first is not None and second is not None and os.path.samestat(first, second)

    def kind(self, path: str) -> EntryKind | None:
        """What lies at `path`, links followed; None where nothing does, or where no file can have that name."""
        status = _look(path)
        return None if status is None else _kind_of(status)

    def version(self, path: str) -> Version:
        """Size and mark of a regular file, links followed; raises MissingError or InputError."""
        with reading(path):
            status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise not_regular(path)
        return version_of(status)

    def list(self, directory: str) -> list[Entry]:
        """The names in a folder, sorted; raises MissingError, or InputError where it is no folder."""
        if self.kind(directory) in ("file", "other"):
            raise InputError(
                f"{shown(directory)} is not a folder",
                hint="name a folder, or a file alone",
                file=directory,
            )
        with reading(directory), os.scandir(directory or os.curdir) as found:
            entries = [_entry(item) for item in found]
        return sorted(
            (entry for entry in entries if entry is not None), key=lambda entry: entry.name
        )

    def open(self, path: str) -> LocalReader:
        """Open a regular file, or a link to one; raises MissingError, InputError (`file-not-regular`), StorageError."""
        return LocalReader(path)

    def create(self, path: str, nbytes: int) -> LocalWriter:
        """Make a new file of `nbytes` bytes with the umask's mode; raises TargetExistsError or StorageError."""
        return LocalWriter(path, nbytes)

    def append(self, path: str, data: bytes) -> None:
        """Add bytes to the end of a file, which is made where it is missing; durable on return."""
        local_files.append(path, data)

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        """Hold a lock file, alone; LockedError that says who holds it. The file is gone afterwards."""
        with writing(path):
            held = locking.acquire(path)
        try:
            yield
        finally:
            held.release()

    def copy_mode(self, path: str, fresh: str) -> None:
        """Give a new file the permissions of the one that it will replace, as far as the filesystem has them."""
        with writing(path):
            mode = stat.S_IMODE(os.stat(path).st_mode) & _PERMISSIONS
        with writing(fresh):
            try:
                os.chmod(fresh, mode)
            except OSError as error:
                if error.errno not in syscalls.UNSUPPORTED | {errno.EPERM}:
                    raise

    def make_directory(self, path: str) -> None:
        """Make a folder and its parents; raises TargetExistsError where something else has that name."""
        with writing(path):
            os.makedirs(path or os.curdir, exist_ok=True)

    def remove_directory(self, path: str) -> None:
        """Remove an empty folder; one that is gone already is fine."""
        with writing(path), contextlib.suppress(FileNotFoundError):
            os.rmdir(path)

    def rename(self, old: str, new: str) -> None:
        """Give a file its final name, in one step; a file of that name is replaced."""
        with writing(new):
            os.replace(old, new)

    def remove(self, path: str) -> None:
        """Remove a file or a link; one that is gone already is fine."""
        with writing(path), contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def sync_directory(self, path: str) -> None:
        """Make the names in a folder durable, where the system can."""
        with writing(path):
            syscalls.sync_directory(path or os.curdir)

    def drop_cache(self, path: str) -> None:
        """Drop the file's clean pages, where the system can."""
        with reading(path):
            syscalls.drop_cache(path)

    def shared_block(self, path: str, directory: str) -> int | None:
        """The block, in bytes, that a new file in `folder` could share with the file at `path`; None where none."""
        try:
            return syscalls.shared_block(path, _nearest(directory))
        except (OSError, ValueError):
            # No unnamed files there, or none that may be written: nothing was shared, and the run
            # will say the rest.
            return None

    def free_bytes(self, directory: str) -> int | None:
        """Bytes that this user can still write below `folder`, or below where it would be made; None where unknown."""
        try:
            usage = shutil.disk_usage(_nearest(directory))
        except (OSError, ValueError):
            return None
        # Some filesystems in user space say zero of everything.
        return usage.free if usage.total else None


def _look(path: str) -> os.stat_result | None:
    """What lies at a path, links followed; None where it leads to nothing."""
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


def _kind_of(status: os.stat_result) -> EntryKind:
    if stat.S_ISREG(status.st_mode):
        return "file"
    return "directory" if stat.S_ISDIR(status.st_mode) else "other"


def _entry(item: os.DirEntry[str]) -> Entry | None:
    """One name of a folder; None where it was removed while the folder was read."""
    try:
        if item.is_symlink():
            return _link_entry(item)
        status = item.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    kind = _kind_of(status)
    return Entry(item.name, kind, None, status.st_size if kind == "file" else 0)


def _link_entry(item: os.DirEntry[str]) -> Entry:
    try:
        status = item.stat()
    except OSError as error:
        # A place that may not be looked at is still something; one link in a folder is no reason to
        # refuse the rest.
        return Entry(item.name, "link", None if error.errno in ABSENT else "other", 0)
    target = _kind_of(status)
    return Entry(item.name, "link", target, status.st_size if target == "file" else 0)
