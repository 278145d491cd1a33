"""Open local files: positioned reads, and writes that end up durable."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from types import TracebackType
from typing import Self

from shardctl.errors import StorageError
from shardctl.model import Extent, Version, whole_blocks
from shardctl.stores import mounts, syscalls
from shardctl.stores.base import BUFFER_BYTES, Copied, Reader
from shardctl.stores.closing import Closing
from shardctl.stores.faults import (
    not_regular,
    read_failure,
    reading,
    shorter,
    write_failure,
    writing,
)
from shardctl.stores.optional import pieces

#: Pieces of at least so many bytes are written back early (a call for each small piece costs more
#: than it gains).
_WORTH_WRITING = 1024 * 1024
#: Bytes of one file that may wait for the disk while more are written: it never idles, and memory
#: does not fill up.
_AHEAD_BYTES = 192 * 1024 * 1024


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
                raise shorter(self.path, offset, len(memory))
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


class LocalWriter:
    """A new file. Any number of threads may write to it at once."""

    def __init__(self, path: str, nbytes: int) -> None:
        """Create the file, `nbytes` long.

        Raises TargetExistsError and StorageError, and then leaves no file.
        """
        self.path = path
        self._sync_failure: StorageError | None = None
        self._block: int | None = None
        self._started: deque[tuple[int, int]] = deque()
        self._ahead = 0
        self._lock = Lock()
        with writing(path):
            self._descriptor = syscalls.open_new(path)
        try:
            # A file of the final size from the start shows at once what the filesystem cannot hold.
            with writing(path):
                os.ftruncate(self._descriptor.number, nbytes)
                self._block = syscalls.block_of(self._descriptor.number)
        except BaseException:
            self._descriptor.close()
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`; raises StorageError (`disk-full` for no room)."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            try:
                done += self._descriptor.pwrite(view[done:], offset + done)
            except OSError as error:
                raise write_failure(error, self.path, offset + done) from error
        self._start_writing(offset, len(view))

    def copy(self, offset: int, source: Reader, extent: Extent) -> Copied:
        """Copy a range of `source`, as shared blocks, else in the kernel, else through a buffer.

        Raises SourceChangedError where the source has become shorter, and StorageError that names
        the file at fault.
        """
        begin, length = (
            self._share(offset, source, extent) if isinstance(source, LocalReader) else (0, 0)
        )
        end = begin + length
        before = self._copy(offset, source, extent.part(0, begin))
        after = self._copy(offset + end, source, extent.part(end, extent.length - end))
        return before + Copied(shared=length) + after

    def _copy(self, offset: int, source: Reader, extent: Extent) -> Copied:
        # `sendfile` is not used: it writes at the file's one position, which threads would share,
        # and it gained little where `copy_file_range` does not work (10 to 30 % from ext4 to
        # tmpfs).
        kernel = (
            self._copy_in_kernel(offset, source, extent) if isinstance(source, LocalReader) else 0
        )
        self._start_writing(offset, kernel)
        done = kernel
        for data in pieces(source, extent.part(kernel, extent.length - kernel), BUFFER_BYTES):
            self.write(offset + done, data)
            done += len(data)
        return Copied(kernel=kernel, buffered=extent.length - kernel)

    def sync(self) -> None:
        """Make the bytes durable.

        Once this has failed it always fails: the kernel drops what it could not write.
        """
        with self._synced():
            syscalls.sync_file(self._descriptor.number)

    def close(self) -> None:
        """Close the file; raises StorageError where the system reports a failed write only now."""
        with writing(self.path):
            self._descriptor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except StorageError:
            # The error that is being raised came first and says more.
            if error is None:
                raise

    def _start_writing(self, offset: int, length: int) -> None:
        """Start to write back what was just written, and wait for what was started some time ago.

        So the disk is never idle, memory never fills with what waits for it, and no call takes
        long: an interrupted process cannot end before its calls do.
        """
        if length < _WORTH_WRITING:
            return
        with self._synced():
            syscalls.start_writing(self._descriptor.number, offset, length)
            for begun, size in self._far_behind(offset, length):
                syscalls.finish_writing(self._descriptor.number, begun, size)

    def _far_behind(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Note a piece whose write-back was started; return the earlier ones to wait for."""
        with self._lock:
            self._started.append((offset, length))
            self._ahead += length
            due: list[tuple[int, int]] = []
            while self._ahead > _AHEAD_BYTES:
                due.append(self._started.popleft())
                self._ahead -= due[-1][1]
        return due

    @contextmanager
    def _synced(self) -> Iterator[None]:
        """Raise the error of a sync as StorageError, now and at each later sync."""
        if self._sync_failure is not None:
            raise self._sync_failure
        try:
            yield
        except OSError as error:
            failure = write_failure(error, self.path)
            self._sync_failure = failure if isinstance(failure, StorageError) else None
            raise failure from error

    def _share(self, offset: int, source: LocalReader, extent: Extent) -> tuple[int, int]:
        """Share what can be shared; return where in the extent that begins, and its bytes."""
        begin, length = whole_blocks(offset, extent, self._block) if self._block else (0, 0)
        try:
            done = length > 0 and syscalls.share_range(
                source.descriptor.number,
                extent.offset + begin,
                self._descriptor.number,
                offset + begin,
                length,
            )
        except OSError as error:
            raise write_failure(error, self.path, offset) from error
        return (begin, length) if done else (0, 0)

    def _copy_in_kernel(self, offset: int, source: LocalReader, extent: Extent) -> int:
        try:
            return syscalls.copy_range(
                source.descriptor.number,
                extent.offset,
                self._descriptor.number,
                offset,
                extent.length,
            )
        except OSError as error:
            raise write_failure(error, self.path, offset) from error


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
