"""What this system can do: every call that some system lacks, with what is done instead.

Whether a call is there is asked here and nowhere else, each time anew.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys
import threading

if sys.platform != "win32":
    import fcntl

#: Bytes of one call at most: Linux does no more than this at once, and macOS refuses 2 GiB.
MAX_CALL = 0x7FFFF000
#: Answers that mean "not on this filesystem", as against "it failed".
UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY})
#: From linux/fs.h: let a range of one file stand on the very blocks of another (struct
#: file_clone_range, 32 bytes).
_FICLONERANGE = 0x4020940D
#: From linux/fs.h, for sync_file_range: start to write; wait for what is being written, write the
#: rest, wait for it.
_SYNC_WRITE, _SYNC_WAIT = 2, 1 | 2 | 4
#: Folders can be opened and synced (not on Windows).
DIRECTORIES_SYNC = hasattr(os, "O_DIRECTORY")

# Windows alone has O_BINARY, and needs it. A pipe put in the place of a file must not be waited
# for, nor a terminal be taken over. (Python opens every file with O_CLOEXEC.)
_READ_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
)
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
# The umask takes away what the user does not want.
_NEW_FILE_MODE = 0o666


class Descriptor:
    """An open file with reads and writes at given positions, safe to use from several threads at once."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._position = threading.Lock()

    def pread(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer are legal, none means the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self.number, min(length, MAX_CALL), offset)
        with self._position:
            os.lseek(self.number, offset, os.SEEK_SET)
            return os.read(self.number, min(length, MAX_CALL))

    def pwrite(self, data: memoryview, offset: int) -> int:
        """Write at `offset`; returns how many bytes were, which may be fewer than all."""
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
    """Open a file without ever waiting for it. It may turn out to be no regular file."""
    return Descriptor(os.open(path, _READ_FLAGS))


def open_new(path: str) -> Descriptor:
    """Make a file; FileExistsError where the name is taken, be it by a link."""
    return Descriptor(os.open(path, _WRITE_FLAGS | os.O_EXCL, _NEW_FILE_MODE))


def open_to_append(path: str) -> Descriptor:
    """Open a file, made where it is missing, whose every write goes to its end."""
    return Descriptor(os.open(path, _WRITE_FLAGS | os.O_APPEND, _NEW_FILE_MODE))


def copy_range(
    source: int, source_offset: int, target: int, target_offset: int, length: int
) -> int:
    """Copy between two open files inside the kernel; returns the bytes done, fewer where this way leads no further.

    Errors other than a full target are not raised. They are many (ENOSYS, EXDEV, EINVAL,
    EOPNOTSUPP, EPERM, EBADF, ETXTBSY, EIO, …), mostly mean "not this way", and never say which of
    the two files is at fault: whoever goes on through a buffer finds that out.
    """
    done = 0
    while hasattr(os, "copy_file_range") and done < length:
        count = min(length - done, MAX_CALL)
        try:
            step = os.copy_file_range(
                source, target, count, source_offset + done, target_offset + done
            )
        except InterruptedError:
            # Unlike other calls, this one is not taken up again by Python when a signal came in
            # between.
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
    """Let whole blocks of `target` be those of `source`; False where the two cannot share, and then nothing is done.

    A full or failing disk is raised. Every other answer (EXDEV, EOPNOTSUPP, EINVAL, ENOTTY, EPERM,
    …) means "copy it".
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
    """The filesystem's block, in bytes; None where it does not say."""
    return os.fstatvfs(descriptor).f_bsize if hasattr(os, "fstatvfs") else None


def shared_block(path: str, directory: str) -> int | None:
    """The block, in bytes, that a new file in `folder` can share with the file at `path`; None where it can share none.

    The only answer that can be trusted is the filesystem's own: one block is shared with a file
    that has no name and is gone when it is closed (O_TMPFILE).
    """
    if sys.platform != "linux":
        return None
    with contextlib.ExitStack() as opened:
        source = os.open(path, _READ_FLAGS)
        opened.callback(os.close, source)
        target = os.open(directory, os.O_TMPFILE | os.O_WRONLY, _NEW_FILE_MODE)
        opened.callback(os.close, target)
        block = block_of(target)
        enough = block is not None and os.fstat(source).st_size >= block
        return (
            block
            if block is not None and enough and share_range(source, 0, target, 0, block)
            else None
        )


def start_writing(descriptor: int, offset: int, length: int) -> None:
    """Let the disk begin with bytes that were just written, so that it is not idle until the file is synced."""
    _sync_range(descriptor, offset, length, _SYNC_WRITE)


def finish_writing(descriptor: int, offset: int, length: int) -> None:
    """Wait until bytes are on the disk, as far as their file's size and place are there already; no sync of the file.

    An error is told once: what is raised here the file's own sync will not raise again.
    """
    _sync_range(descriptor, offset, length, _SYNC_WAIT)


def _sync_range(descriptor: int, offset: int, length: int, flags: int) -> None:
    """Call `sync_file_range` (Linux), which Python's library lacks; nothing is done where there is no such call."""
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415 - only large files need it

    call = ctypes.CDLL(None, use_errno=True).sync_file_range
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    if call(descriptor, offset, length, flags):
        number = ctypes.get_errno()
        if number not in UNSUPPORTED:
            raise OSError(number, os.strerror(number))


def will_stream(descriptor: int) -> None:
    """Say that a file will be read once, in order: read ahead, and leave in the cache what others use."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_NOREUSE)


def sync_file(descriptor: int) -> None:
    """Make a file's bytes and size durable. On macOS `fsync` leaves them in the disk's cache; F_FULLFSYNC does not."""
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
    """Make the names in a folder durable; nothing is done where folders cannot be synced."""
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
        # Some filesystems in user space and over the network keep names in order without it.
        if error.errno not in UNSUPPORTED:
            raise


def drop_cache(path: str) -> None:
    """Ask the kernel to forget a file's clean pages (posix_fadvise); it may, and nothing is lost."""
    if not hasattr(os, "posix_fadvise"):
        return
    number = os.open(path, _READ_FLAGS)
    try:
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(number)
