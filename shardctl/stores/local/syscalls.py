"""System calls that some system lacks, each with what is done instead.

Whether a call exists is asked here and nowhere else, and again at each use.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterator

if sys.platform != "win32":
    import fcntl

#: Bytes of one call at most: Linux does no more than this at once, and macOS refuses 2 GiB.
MAX_CALL = 0x7FFFF000
#: Answers that mean "not on this filesystem", as against "it failed".
UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY})
#: From linux/fs.h: let a range of one file use the blocks of another (struct file_clone_range, 32
#: bytes).
_FICLONERANGE = 0x4020940D
#: From linux/fs.h, for sync_file_range: start to write; wait for what is being written, write the
#: rest, wait for it.
_SYNC_WRITE, _SYNC_WAIT = 2, 1 | 2 | 4
#: From linux/falloc.h, for fallocate: blocks beyond the end of the file do not make it longer.
_KEEP_SIZE = 1
#: Directories can be opened and synced (not on Windows).
DIRECTORIES_SYNC = hasattr(os, "O_DIRECTORY")

# Windows alone has O_BINARY, and needs it. A pipe in place of a file must not be waited for, and a
# terminal must not become the controlling one. (Python opens every file with O_CLOEXEC.)
_READ_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
)
# What a link leads to is never written to.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
# The umask takes away what the user does not want.
_NEW_FILE_MODE = 0o666


#: Bytes that pass through a buffer where the system cannot read into memory of the caller.
_STEP_BYTES = 1024 * 1024


class Descriptor:
    """An open file with positioned reads and writes, for several threads at once."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._position = threading.Lock()

    def pread(self, length: int, offset: int) -> bytes:
        """Return up to `length` bytes from `offset`: maybe fewer, none at the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self.number, min(length, MAX_CALL), offset)
        with self._position:
            os.lseek(self.number, offset, os.SEEK_SET)
            return os.read(self.number, min(length, MAX_CALL))

    def pread_into(self, memory: memoryview, offset: int) -> int:
        """Fill `memory` from `offset` on; return the number of bytes read, 0 at the end."""
        if hasattr(os, "preadv"):
            return os.preadv(self.number, [memory[:MAX_CALL]], offset)
        data = self.pread(min(len(memory), _STEP_BYTES), offset)
        memory[: len(data)] = data
        return len(data)

    def pwrite(self, data: memoryview, offset: int) -> int:
        """Write at `offset`; return the number of bytes written, which may be fewer than all."""
        if hasattr(os, "pwrite"):
            return os.pwrite(self.number, data[:MAX_CALL], offset)
        with self._position:
            os.lseek(self.number, offset, os.SEEK_SET)
            return os.write(self.number, data[:MAX_CALL])

    def close(self) -> None:
        """Close the file, once; a second call does nothing."""
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)


def open_to_read(path: str) -> Descriptor:
    """Open a file without ever waiting for it. It may turn out not to be a regular file."""
    return Descriptor(os.open(path, _READ_FLAGS))


def open_new(path: str) -> Descriptor:
    """Create a file; FileExistsError where the name is taken, also by a link."""
    return Descriptor(os.open(path, _WRITE_FLAGS | os.O_EXCL, _NEW_FILE_MODE))


def open_to_append(path: str) -> Descriptor:
    """Open a file, created if needed, whose every write goes to its end."""
    return Descriptor(os.open(path, _WRITE_FLAGS | os.O_APPEND | _NO_LINK, _NEW_FILE_MODE))


def copy_range(
    source: int, source_offset: int, target: int, target_offset: int, length: int
) -> int:
    """Copy between two open files inside the kernel.

    Returns the number of bytes copied, fewer than `length` where the kernel copies no more. Errors
    other than a full target are not raised. They are many (ENOSYS, EXDEV, EINVAL, EOPNOTSUPP,
    EPERM, EBADF, ETXTBSY, EIO, …), mostly mean "not this way", and never say which of the two files
    is at fault: the caller finds that out by going on through a buffer.
    """
    done = 0
    while hasattr(os, "copy_file_range") and done < length:
        count = min(length - done, MAX_CALL)
        try:
            step = os.copy_file_range(
                source, target, count, source_offset + done, target_offset + done
            )
        except InterruptedError:
            # Unlike other calls, Python does not retry this one after a signal.
            continue
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            break
        if step == 0:
            break
        done += step
    return done


def share_range(
    source: int, source_offset: int, target: int, target_offset: int, length: int
) -> bool:
    """Share whole blocks of `source` with `target`; return False where that is impossible.

    A full disk is raised. Every other error (EXDEV, EOPNOTSUPP, EINVAL, ENOTTY, EPERM, …) means
    "copy it".
    """
    if sys.platform != "linux":
        return False
    asked = struct.pack("=qQQQ", source, source_offset, length, target_offset)
    try:
        fcntl.ioctl(target, _FICLONERANGE, asked)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return False
    return True


def block_of(descriptor: int) -> int | None:
    """Return the filesystem's block size, in bytes; None where it is unknown."""
    return os.fstatvfs(descriptor).f_bsize if hasattr(os, "fstatvfs") else None


def shared_block(source: int, directory: str) -> int | None:
    """Return the block, in bytes, that a new file in a directory can share with an open file.

    None where it can share none. The only answer that can be trusted is the filesystem's own: one
    block is shared with a file that has no name and is gone when it is closed (O_TMPFILE).
    """
    if sys.platform != "linux":
        return None
    target = os.open(directory, os.O_TMPFILE | os.O_WRONLY, _NEW_FILE_MODE)
    try:
        block = block_of(target)
        if block is None or os.fstat(source).st_size < block:
            return None
        return block if share_range(source, 0, target, 0, block) else None
    finally:
        os.close(target)


def holes(descriptor: int) -> Iterator[tuple[int, int]]:
    """Yield the offset and the length of each hole of an open file, in bytes, in order.

    None where the system or the filesystem cannot tell. It moves the file's position.
    """
    size = os.fstat(descriptor).st_size
    end = 0
    while hasattr(os, "SEEK_HOLE") and end < size:
        try:
            begin = os.lseek(descriptor, end, os.SEEK_HOLE)
            end = os.lseek(descriptor, begin, os.SEEK_DATA) if begin < size else size
        except OSError as error:
            if error.errno in UNSUPPORTED:
                return
            # There are no data after the hole; or the file became shorter.
            if error.errno != errno.ENXIO:
                raise
            end = size
        if begin < end:
            yield begin, end - begin


def reserve(descriptor: int, offset: int, length: int) -> None:
    """Have the filesystem choose where bytes will be that are about to be written.

    A hint, which changes neither bytes nor size: where it is refused, for whatever reason, writing
    will say so, with the byte concerned. (`os.posix_fallocate` writes zeros where it is refused.)
    """
    # Elsewhere it does not exist, or takes other numbers.
    if sys.platform == "linux" and sys.maxsize > 2**32:
        _call("fallocate", "int", "int64", "int64")(descriptor, _KEEP_SIZE, offset, length)


def start_writing(descriptor: int, offset: int, length: int) -> None:
    """Start to write back what was just written, so that the disk does not idle until the sync."""
    _sync_range(descriptor, offset, length, _SYNC_WRITE)


def finish_writing(descriptor: int, offset: int, length: int) -> None:
    """Wait until bytes are on the disk. This does not make the file durable: its size may not be.

    The system reports an error once: what is raised here, the file's own sync will not raise again.
    """
    _sync_range(descriptor, offset, length, _SYNC_WAIT)


def _sync_range(descriptor: int, offset: int, length: int, flags: int) -> None:
    """Call `sync_file_range`, which Python's library lacks; do nothing on systems without it."""
    if sys.platform != "linux":
        return
    call = _call("sync_file_range", "int64", "int64", "uint")
    number = call(descriptor, offset, length, flags)
    if number and number not in UNSUPPORTED:
        raise OSError(number, os.strerror(number))


def _call(name: str, *kinds: str) -> Callable[..., int]:
    """Return a function of the C library that takes an open file and numbers of these C types.

    It gives the number of the error; 0 for none.
    """
    import ctypes  # noqa: PLC0415 - only large files need it

    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    function.argtypes = (ctypes.c_int, *(getattr(ctypes, f"c_{kind}") for kind in kinds))
    return lambda *numbers: ctypes.get_errno() if function(*numbers) else 0


def will_stream(descriptor: int) -> None:
    """Announce that a file will be read once, in order: read ahead, and keep what others cached."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_NOREUSE)


def sync_file(descriptor: int) -> None:
    """Make a file's bytes and size durable.

    On macOS `fsync` leaves them in the disk's cache; F_FULLFSYNC does not.
    """
    if sys.platform == "darwin":
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError as error:
            # Network filesystems have no such call.
            if error.errno not in UNSUPPORTED:
                raise
        else:
            return
    os.fsync(descriptor)


def sync_directory(path: str) -> None:
    """Make the names in a directory durable; do nothing where directories cannot be synced."""
    if not DIRECTORIES_SYNC:
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_open_directory(descriptor)
    finally:
        os.close(descriptor)


def sync_open_directory(descriptor: int) -> None:
    """Make the names in an open directory durable."""
    try:
        sync_file(descriptor)
    except OSError as error:
        # Some filesystems in user space and over the network do not have the call.
        if error.errno not in UNSUPPORTED:
            raise


def drop_cache(path: str) -> None:
    """Ask the kernel to drop a file's clean pages from its cache, where it can be asked."""
    if not hasattr(os, "posix_fadvise"):
        return
    number = os.open(path, _READ_FLAGS)
    try:
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(number)
