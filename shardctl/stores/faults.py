"""How a failure of the system becomes an error of ours: what was tried, where, why not, and what to do next."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from shardctl.errors import (
    InputError,
    MissingError,
    ShardctlError,
    SourceChangedError,
    StorageError,
    TargetExistsError,
)
from shardctl.text import escape

#: What the system answers where a name leads to nothing: no entry, a file in place of a folder,
#: links in a circle.
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
#: What the system answers where there is no room: on the device, in the quota.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_PERMISSIONS = "check the permissions of the file and of the folders above it, and who runs this"
_HINTS = {
    errno.EACCES: _PERMISSIONS,
    errno.EPERM: _PERMISSIONS,
    errno.EIO: "suspect the disk or the network under it: see the system's log, and run the command again elsewhere",
    errno.ESTALE: "the network filesystem has lost the file: mount it again, and run the same command again",
    errno.ENAMETOOLONG: "choose a shorter name, or a folder that lies less deep",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`), or run with fewer --jobs",
    errno.ENFILE: "close other programs: the system has no more open files to give",
    errno.ENOSPC: "free space there, or choose a target on another filesystem",
    errno.EDQUOT: "the quota is used up: free space there, or choose a target on another filesystem",
    errno.EFBIG: "the filesystem or `ulimit -f` allows no file that large: make smaller shards (--max-shard-size)",
    errno.EROFS: "the filesystem is mounted read-only: choose another target, or mount it for writing",
    errno.ENOENT: "the folder is gone or was never made: see what else works there, and run the same command again",
    errno.ENOTDIR: "a part of the path is a file where a folder is needed: choose another path",
    errno.EISDIR: "a folder has that name: move it away, or choose another target",
    errno.ENOTEMPTY: "something else is in that folder: look at it, and remove it if it is not needed",
    errno.EXDEV: "staging and target lie on different filesystems: choose a target that is one folder",
}
_OTHER = "see the system's log for the reason, and run the same command again"


def shown(path: str) -> str:
    """A path as messages have it: quoted, safe to print, the current folder as a dot."""
    return f"'{escape(path) or os.curdir}'"


def read_failure(
    error: OSError | ValueError, path: str, offset: int | None = None
) -> ShardctlError:
    """The error for a file or folder that could not be read; `offset` in bytes, where it failed midway."""
    if getattr(error, "errno", None) in ABSENT:
        return _missing(path)
    return _storage("cannot be read", error, path, offset)


def write_failure(
    error: OSError | ValueError, path: str, offset: int | None = None
) -> ShardctlError:
    """The error for a file or folder that could not be written, made, renamed or removed."""
    if isinstance(error, FileExistsError):
        return TargetExistsError(
            f"{shown(path)} is in the way: the name is taken",
            hint="move it away, or choose another target",
            file=path,
        )
    return _storage("cannot be written", error, path, offset)


def not_regular(path: str) -> InputError:
    """The error for a folder, pipe, device or socket where a file is needed."""
    return InputError(
        f"{shown(path)} is not a regular file",
        hint="name a file, or a link to one; pipes and devices cannot be read in any order",
        code="file-not-regular",
        file=path,
    )


def shorter(path: str, offset: int, length: int) -> SourceChangedError:
    """The error for a file that ends at byte `offset`, before the `length` bytes that are missing from there."""
    return SourceChangedError(
        f"{shown(path)} has become shorter while it was read: it ends before byte {offset + length:,}",
        hint="wait until nothing writes it any more, and run the same command again",
        file=path,
        offset=offset,
    )


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Raise what fails inside as MissingError or StorageError that names the path."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise read_failure(error, path) from error


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Raise what fails inside as TargetExistsError or StorageError that names the path."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise write_failure(error, path) from error


def _missing(path: str) -> MissingError:
    link = _link_in(path)
    if link is None:
        message, hint = (
            f"there is nothing at {shown(path)}",
            "check the path, and whether something moved it away",
        )
    else:
        message = f"{shown(path)} is a link to {shown(link)}, and leads to nothing"
        hint = "fetch the file that it should lead to, or remove the link"
    return MissingError(message, hint=hint, file=path)


def _link_in(path: str) -> str | None:
    try:
        return os.readlink(path)
    except (OSError, ValueError):
        return None


def _storage(what: str, error: OSError | ValueError, path: str, offset: int | None) -> StorageError:
    if not isinstance(error, OSError):
        # A NUL, or a character that the encoding of file names lacks: no such name can exist.
        message, number = f"{shown(path)} is not a name that this system can hold", None
        hint = "choose another name"
    else:
        where = "" if offset is None else f" at byte {offset:,}"
        message, number = f"{shown(path)} {what}{where}: {error.strerror or error}", error.errno
        hint = _HINTS.get(number or 0, _OTHER)
    code = "disk-full" if number in FULL else None
    return StorageError(message, hint=hint, code=code, file=path, offset=offset)
