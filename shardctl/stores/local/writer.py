"""New local files, whose bytes are on the disk when the last call returns."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from types import TracebackType
from typing import Self

from shardctl.errors import StorageError
from shardctl.model import Extent, whole_blocks
from shardctl.stores.base import BUFFER_BYTES, Copied, Reader
from shardctl.stores.faults import write_failure, writing
from shardctl.stores.local import mounts, syscalls
from shardctl.stores.local.files import LocalReader
from shardctl.stores.optional import pieces

#: Bytes that are written with one call, and that pass through a buffer. For what one call writes
#: Linux looks for memory in one piece for the page cache, and where much memory is in use it moves
#: pages to make room: with 256 KiB and more, calls took up to three times as long by turns.
_CALL_BYTES = 128 * 1024
#: Pieces of at least so many bytes get their place beforehand, and are written back early (a call
#: for each small piece costs more than it gains).
_WORTH_WRITING = 1024 * 1024
#: Bytes of one file that may wait for the disk while more are written: it never idles, and memory
#: does not fill up.
_AHEAD_BYTES = 192 * 1024 * 1024


class LocalWriter:
    """A new file. Any number of threads may write to it at once."""

    def __init__(self, path: str, nbytes: int) -> None:
        """Create the file, `nbytes` long.

        Raises TargetExistsError and StorageError, and then leaves no file.
        """
        self.path = path
        self._sync_failure: StorageError | None = None
        self._block: int | None = None
        self._in_page_cache = False
        self._late = False
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
                device = os.fstat(self._descriptor.number).st_dev
                self._in_page_cache = mounts.copies_in_page_cache(device)
                self._late = mounts.allocates_late(device)
        except BaseException:
            self._descriptor.close()
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`; raises StorageError (`disk-full` for no room)."""
        view = memoryview(data).cast("B")
        self._put(offset, view)
        self._start_writing(offset, len(view))

    def _put(self, offset: int, view: memoryview) -> None:
        done = 0
        while done < len(view):
            try:
                part = view[done : done + _CALL_BYTES]
                done += self._descriptor.pwrite(part, offset + done)
            except OSError as error:
                raise write_failure(error, self.path, offset + done) from error

    def copy(self, offset: int, source: Reader, extent: Extent) -> Copied:
        """Copy a range of `source`: as shared blocks, else in the kernel, else through a buffer.

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
        if not isinstance(source, LocalReader):
            return self._copy_pieces(offset, source, extent)
        if self._late and extent.length >= _WORTH_WRITING:
            syscalls.reserve(self._descriptor.number, offset, extent.length)
        kernel = 0
        if not self._by_single_pages(offset - extent.offset):
            kernel = self._copy_in_kernel(offset, source, extent)
            self._start_writing(offset, kernel)
        rest = extent.part(kernel, extent.length - kernel)
        return Copied(kernel=kernel) + self._copy_buffered(offset + kernel, source, rest)

    def _copy_pieces(self, offset: int, source: Reader, extent: Extent) -> Copied:
        """Copy from a reader that is not of a local file."""
        done = 0
        for data in pieces(source, extent, BUFFER_BYTES):
            self.write(offset + done, data)
            done += len(data)
        return Copied(buffered=extent.length)

    def _copy_buffered(self, offset: int, source: LocalReader, extent: Extent) -> Copied:
        """Copy through one buffer."""
        buffer = memoryview(bytearray(min(_CALL_BYTES, extent.length)))
        for begin in range(0, extent.length, _CALL_BYTES):
            data = buffer[: min(_CALL_BYTES, extent.length - begin)]
            source.read_into(extent.offset + begin, data)
            self._put(offset + begin, data)
        self._start_writing(offset, extent.length)
        return Copied(buffered=extent.length)

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

    def _by_single_pages(self, shift: int) -> bool:
        """Whether the kernel would copy page by page.

        It does so in the page cache where the place in the file and that in the source, which are
        `shift` bytes apart, are not the same within a page: a buffer takes half the time then.
        """
        return shift % mmap.PAGESIZE != 0 and self._in_page_cache

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
