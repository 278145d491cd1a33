"""Rename a file to a name that is free, and only if it is free.

`rename` (POSIX) replaces whatever has the new name, even what was put there a moment ago. Linux has
`renameat2` with RENAME_NOREPLACE (since 3.15, not on every filesystem), macOS `renameatx_np` with
RENAME_EXCL; Windows' rename never replaces. Elsewhere a hard link under the new name fails where
the name is taken, and the old name is removed after it. Where there are no hard links either
(exFAT), the name is looked at just before the rename: a file that appears in that moment is lost.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

#: linux/fs.h and sys/stdio.h of macOS.
_RENAME_NOREPLACE, _RENAME_EXCL = 1, 4
#: fcntl.h: paths are relative to the current directory.
_AT_FDCWD = -100 if sys.platform == "linux" else -2
#: Answers that mean "this filesystem or kernel has no such call".
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}
_NO_LINKS = _UNSUPPORTED | {errno.EMLINK, errno.EXDEV, errno.EACCES}


def rename_to_free_name(old: str, old_in: int | None, new: str, new_in: int | None) -> None:
    """Rename `old` to `new`; raises FileExistsError where `new` is taken, and OSError.

    Each name is relative to an open directory, or a path where that is None.
    """
    if sys.platform == "win32":
        os.rename(old, new)
    elif not _rename_exclusively(old, old_in, new, new_in):
        _rename_by_link(old, old_in, new, new_in)


def _rename_exclusively(old: str, old_in: int | None, new: str, new_in: int | None) -> bool:
    """Rename in one step; False where the system or the filesystem cannot, and nothing is done."""
    import ctypes  # noqa: PLC0415 - only a commit needs it

    found = _system_call(ctypes.CDLL(None, use_errno=True))
    if found is None:
        return False
    call, flag = found
    done = call(
        _AT_FDCWD if old_in is None else old_in,
        os.fsencode(old),
        _AT_FDCWD if new_in is None else new_in,
        os.fsencode(new),
        flag,
    )
    number = ctypes.get_errno() if done else 0
    if number and number not in _UNSUPPORTED:
        raise OSError(number, os.strerror(number))
    return not number


def _system_call(library: ctypes.CDLL) -> tuple[Callable[..., int], int] | None:
    import ctypes  # noqa: PLC0415 - only a commit needs it

    name, flag = {
        "linux": ("renameat2", _RENAME_NOREPLACE),
        "darwin": ("renameatx_np", _RENAME_EXCL),
    }.get(sys.platform, ("", 0))
    call = getattr(library, name, None) if name else None
    if call is None:  # musl, and glibc before 2.28
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return call, flag


def _rename_by_link(old: str, old_in: int | None, new: str, new_in: int | None) -> None:
    try:
        os.link(old, new, src_dir_fd=old_in, dst_dir_fd=new_in, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if _is_taken(new, new_in):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.rename(old, new, src_dir_fd=old_in, dst_dir_fd=new_in)
    else:
        os.unlink(old, dir_fd=old_in)


def _is_taken(name: str, directory: int | None) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
