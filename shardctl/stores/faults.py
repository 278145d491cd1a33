"""Turn failures of the system into errors that say what failed, where, why, and what to do."""

from __future__ import annotations

import errno
import os
import re
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

#: Errors of the system where a name leads to nothing: no entry, a file in place of a directory, a
#: circle of links.
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
#: Errors of the system where there is no room: on the device, in the quota.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_PERMISSIONS = "check the permissions of the file and its directories, and which user runs this"
_NO_ROOM = "free space there, or choose a target on another filesystem"
_HINTS = {
    errno.EACCES: _PERMISSIONS,
    errno.EPERM: _PERMISSIONS,
    errno.EIO: "the disk or the network may be failing: see the system's log, and choose another "
    "target",
    errno.ESTALE: "the network filesystem has lost the file: mount it again, and run the same "
    "command again",
    errno.ENAMETOOLONG: "choose a shorter name, or a directory closer to the root",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`), or lower `jobs`",
    errno.ENFILE: "close other programs: the system has reached its limit of open files",
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: f"the quota is used up: {_NO_ROOM}",
    errno.EFBIG: "the filesystem or `ulimit -f` does not allow files of that size: choose a "
    "smaller `max_shard_size`",
    errno.EROFS: "the filesystem is mounted read-only: choose another target, or mount it for "
    "writing",
    errno.ENOENT: "the directory does not exist any more: find out which program removes files "
    "there, and run the same command again",
    errno.ENOTDIR: "a part of the path is a file, not a directory: choose another path",
    errno.EISDIR: "a directory has that name: move it away, or choose another target",
    errno.ENOTEMPTY: "there are other files in that directory: remove them if they are not needed",
    errno.EXDEV: "staging and target are on different filesystems: choose a target that is one "
    "directory",
}
_OTHER = "see the system's log for the reason, and run the same command again"


def shown(path: str) -> str:
    """Return a path as messages show it: quoted, safe to print, the current directory as a dot."""
    return f"'{escape(path) or os.curdir}'"


def without_secrets(url: str) -> str:
    """Return a URL without its user, its password and its query, which can be secret."""
    scheme, _, rest = url.partition("://")
    place, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


def read_failure(
    error: OSError | ValueError, path: str, offset: int | None = None
) -> ShardctlError:
    """Return the error for a file or directory that could not be read.

    `offset` is the byte where reading failed, if it was midway.
    """
    if getattr(error, "errno", None) in ABSENT:
        return _missing(path)
    return _storage("cannot be read", error, path, offset)


def write_failure(
    error: OSError | ValueError, path: str, offset: int | None = None
) -> ShardctlError:
    """Return the error for a file or directory that could not be written, renamed or removed."""
    if isinstance(error, FileExistsError):
        return TargetExistsError(
            f"{shown(path)} already exists: the name is taken",
            hint="move it away, or choose another target",
            file=path,
        )
    return _storage("cannot be written", error, path, offset)


def not_regular(path: str) -> InputError:
    """Return the error for a directory, pipe, device or socket where a file is needed."""
    return InputError(
        f"{shown(path)} is not a regular file",
        hint="name a file, or a link to one; pipes and devices cannot be read at any offset",
        code="file-not-regular",
        file=path,
    )


def shorter(path: str, offset: int, length: int) -> SourceChangedError:
    """Return the error for a file that ends at byte `offset`, `length` bytes too early."""
    end = offset + length
    return SourceChangedError(
        f"{shown(path)} has become shorter while it was read: it ends before byte {end:,}",
        hint="wait until no other program writes it, and run the same command again",
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
        message, hint = f"{shown(path)} does not exist", "check the path"
    else:
        message = f"{shown(path)} is a link to {shown(link)}, which does not exist"
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
        message, number = f"{shown(path)} is not a valid file name on this system", None
        hint = "choose another name"
    else:
        where = "" if offset is None else f" at byte {offset:,}"
        message, number = f"{shown(path)} {what}{where}: {error.strerror or error}", error.errno
        hint = _HINTS.get(number or 0, _OTHER)
    code = "disk-full" if number in FULL else None
    return StorageError(message, hint=hint, code=code, file=path, offset=offset)
