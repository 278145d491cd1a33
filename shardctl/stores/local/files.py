"""Open local files: positioned reads, and records that grow at the end."""

from __future__ import annotations

import contextlib
import os
import stat

from shardctl.model import Version
from shardctl.stores.closing import Closing
from shardctl.stores.faults import (
    not_regular,
    read_failure,
    reading,
    shorter,
    writing,
)
from shardctl.stores.local import mounts, syscalls


def version_of(status: os.stat_result) -> Version:
    """Return the size in bytes, and the time of the last change with the inode as the mark.

    With the inode, a file that was renamed into place differs.
    """
    inode = f"-{status.st_ino}" if mounts.keeps_inodes(status.st_dev) else ""
    return Version(status.st_size, f"{status.st_mtime_ns}-{status.st_ctime_ns}{inode}")


class LocalReader(Closing):
    """An open regular file. Any number of threads may read from it at once."""

    def __init__(self, path: str) -> None:
        """Open the file, without ever waiting for it.

        Raises MissingError, InputError (not a regular file) and StorageError.
        """
        self.path = path
        with reading(path):
            # Checked before it is opened, since opening some devices has effects.
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise not_regular(path)
            self.descriptor = syscalls.open_to_read(path)
        try:
            self.version = self._checked_version()
        except BaseException:
            self.descriptor.close()
            raise

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`.

        Raises SourceChangedError where the file ends before them, and StorageError.
        """
        data = self._some(offset, length) if length else b""
        if len(data) == length:
            return data
        pieces, done = [data], len(data)
        while done < length:
            pieces.append(self._some(offset + done, length - done))
            done += len(pieces[-1])
        return b"".join(pieces)

    def read_into(self, offset: int, memory: memoryview) -> None:
        """Fill all of `memory` from `offset` on; raises as `read` does."""
        done = 0
        while done < len(memory):
            try:
                count = self.descriptor.pread_into(memory[done:], offset + done)
            except OSError as error:
                raise read_failure(error, self.path, offset + done) from error
            if not count:
                raise shorter(self.path, offset + done, len(memory) - done)
            done += count

    def current(self) -> Version:
        """Return the version of the open file now."""
        with reading(self.path):
            return version_of(os.fstat(self.descriptor.number))

    def will_stream(self) -> None:
        """Announce that most of the file will be read once, in order."""
        # A hint that is refused changes nothing.
        with contextlib.suppress(OSError):
            syscalls.will_stream(self.descriptor.number)

    def close(self) -> None:
        """Close the file; again is not an error."""
        # What was read is not in doubt when closing fails.
        with contextlib.suppress(OSError):
            self.descriptor.close()

    def _checked_version(self) -> Version:
        with reading(self.path):
            status = os.fstat(self.descriptor.number)
        if not stat.S_ISREG(status.st_mode):
            raise not_regular(self.path)
        return version_of(status)

    def _some(self, offset: int, length: int) -> bytes:
        try:
            data = self.descriptor.pread(length, offset)
        except OSError as error:
            raise read_failure(error, self.path, offset) from error
        if not data:
            raise shorter(self.path, offset, length)
        return data


def append(path: str, data: bytes) -> None:
    """Add bytes to the end of a file, created if needed, and make them durable."""
    with writing(path):
        descriptor = syscalls.open_to_append(path)
        try:
            is_new = os.fstat(descriptor.number).st_size == 0
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor.number, view[: syscalls.MAX_CALL]) :]
            syscalls.sync_file(descriptor.number)
        finally:
            descriptor.close()
        if is_new:
            syscalls.sync_directory(os.path.dirname(path) or os.curdir)
