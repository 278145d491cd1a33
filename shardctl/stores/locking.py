"""A lock file that one process holds, and that a dead process cannot hold.

`flock` where the system has it: the kernel releases it when its holder ends. Elsewhere, and on
filesystems without it, an exclusive file that names host, process and start time; one whose process
has ended is taken over.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import time
from contextlib import suppress
from dataclasses import dataclass

from shardctl.errors import LockedError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment] # the absence is the information

_NOT_SUPPORTED = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
_TRIES = 10
# A link is never followed: what it leads to would be emptied.
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


@dataclass(slots=True)
class Held:
    """A lock that is held: the open descriptor and the path of the file."""

    descriptor: int
    path: str

    def release(self) -> None:
        """Remove the file, and then release the lock, so that no other process waits for it."""
        with suppress(OSError):  # the directory may be gone with it
            if _still_named(self.path, self.descriptor):  # it may be another process's by now
                os.unlink(self.path)
        os.close(self.descriptor)


def acquire(path: str) -> Held:
    """Take the lock at `path`.

    Raises LockedError that names the holder, and OSError where the file cannot be created.
    """
    for _ in range(_TRIES):
        held = _acquire_flock(path) if fcntl is not None else _acquire_exclusive(path)
        if held is not None:
            return held
    raise _locked(path)


def _acquire_flock(path: str) -> Held | None:
    """Take the lock; None where its holder removed the file in between: try again."""
    descriptor = os.open(path, _FLAGS, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _NOT_SUPPORTED:
            return _acquire_exclusive(path)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise _locked(path) from None
        raise
    if not _still_named(path, descriptor):
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, _holder())
    return Held(descriptor, path)


def _still_named(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _acquire_exclusive(path: str) -> Held | None:
    """Take the lock by an exclusive file; None where a stale one was removed: try again."""
    try:
        descriptor = os.open(path, _FLAGS | os.O_EXCL, 0o666)
    except FileExistsError:
        if not _stale(path):
            raise _locked(path) from None
        os.unlink(path)
        return None
    os.write(descriptor, _holder())
    return Held(descriptor, path)


def _holder() -> bytes:
    who = {
        "host": platform.node(),
        "pid": os.getpid(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    return json.dumps(who).encode()


def _read_holder(path: str) -> dict[str, object]:
    try:
        with open(path, "rb") as file:
            who = json.loads(file.read(4096))
    except (OSError, ValueError):
        return {}
    return who if isinstance(who, dict) else {}


def _stale(path: str) -> bool:
    """Whether the holder was a process of this machine that has ended.

    Of a process on another machine nothing can be known.
    """
    who = _read_holder(path)
    pid = who.get("pid")
    if who.get("host") != platform.node() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _locked(path: str) -> LockedError:
    who = _read_holder(path)
    by = (
        f"process {who['pid']} on {who['host']}, since {who.get('since')}"
        if "pid" in who and "host" in who
        else "another process"
    )
    return LockedError(
        f"the target is locked by {by}",
        hint="wait until that run ends, or stop it, and run the command again",
        file=path,
    )
