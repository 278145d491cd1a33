"""A lock file that one process holds, and that a dead process cannot hold.

`flock` where the system has it: the kernel releases it when its holder ends. Elsewhere, and on
filesystems without it, the lock is the file itself: who creates it holds it, and its host and
process are noted in it. The file of a process that has ended is removed by one run at a time: the
one that holds a lock on doing so, which is a file of the same kind beside it.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import stat
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from shardctl.errors import LockedError, TargetExistsError
from shardctl.stores.faults import shown
from shardctl.text import escape

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment] # the absence is the information

_NOT_SUPPORTED = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}
_TRIES = 10
_FLAGS = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
#: What is added to the name of a lock file for that of the lock on removing it.
_REMOVING = "~"
#: Bytes of the longest note of a holder.
MAX_NOTE = 4096


@dataclass(slots=True)
class Held:
    """A lock that is held: the open descriptor and the path of the file."""

    descriptor: int
    path: str

    def release(self) -> None:
        """Remove the file, and then release the lock, so that no other process waits for it."""
        if sys.platform == "win32":
            # No file that is open can be removed there, so another process's lock file stays.
            os.close(self.descriptor)
            with suppress(OSError):
                os.unlink(self.path)
            return
        with suppress(OSError):  # the directory may be gone with it
            if _still_named(self.path, self.descriptor):  # it may be another process's by now
                os.unlink(self.path)
        os.close(self.descriptor)


def acquire(path: str, *, by_file: bool = False) -> Held:
    """Take the lock at `path`.

    `by_file`: the file alone is the lock, as where files cannot be locked: some network filesystems
    keep `flock` for one machine. Raises LockedError that names the holder, TargetExistsError where
    the name belongs to anything but a file with no other name, and OSError where the file cannot be
    created.
    """
    for _ in range(_TRIES):
        held = _acquire(path, by_file=by_file)
        if held is not None:
            _remove_left_over(path + _REMOVING)
            return held
    raise locked(path, {}, by_file=False)


def _acquire(path: str, *, by_file: bool) -> Held | None:
    """Take the lock; None where its file was removed in between: try again."""
    opened = _open(path)
    if opened is None:
        return None
    descriptor, is_new = opened
    with ExitStack() as on_failure:
        on_failure.callback(os.close, descriptor)
        by_file = by_file or not _flock(path, descriptor)
        if by_file and not is_new:
            who = _holder(descriptor)
            if not has_ended(who):
                raise locked(path, who, by_file=True)
            on_failure.close()  # Windows removes no file that is open
            _remove_stale(path, who)
            return None
        if not _still_named(path, descriptor):
            return None
        on_failure.pop_all()
    held = Held(descriptor, path)
    try:
        _note_holder(descriptor)
    except OSError:
        held.release()
        raise
    return held


def _open(path: str) -> tuple[int, bool] | None:
    """Open the file, and say whether this call created it; None where it was removed in between.

    What is written to the file must go nowhere else: links are refused, of either kind.
    """
    with suppress(FileExistsError):
        return os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666), True
    try:
        _refuse_others(path, os.lstat(path))
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        return None
    try:
        _refuse_others(path, os.fstat(descriptor))
    except TargetExistsError:
        os.close(descriptor)
        raise
    return descriptor, False


def _refuse_others(path: str, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        return
    what = (
        "a link"
        if stat.S_ISLNK(status.st_mode)
        else "a file that has other names too"
        if stat.S_ISREG(status.st_mode)
        else "not a regular file"
    )
    raise TargetExistsError(
        f"{shown(path)} is {what}, and no lock of shardctl",
        hint="move it away, or choose another target",
        file=path,
    )


def _flock(path: str, descriptor: int) -> bool:
    """Lock an open file; False where files cannot be locked. LockedError where another holds it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NOT_SUPPORTED:
            return False
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise locked(path, _holder(descriptor), by_file=False) from None
        raise
    return True


def _still_named(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove_stale(path: str, who: dict[str, Any]) -> None:
    """Remove the file of a holder that has ended, unless another process did so.

    Between a look at the file and its removal another process could remove it and make its own.
    None can that holds this lock on removing it; the ended holder does nothing any more.
    """
    removing = acquire(path + _REMOVING)
    try:
        if has_ended(_note_at(path)):
            os.unlink(path)
    except FileNotFoundError:
        pass  # another process found that it is stale
    except PermissionError:
        if sys.platform == "win32":  # it is open: its holder is alive
            raise locked(path, who, by_file=True) from None
        raise
    finally:
        removing.release()


def _remove_left_over(path: str) -> None:
    """Remove the lock on removing a file where a process ended while it held that.

    One that is held stays, and so does what is not a lock of this kind.
    """
    if os.path.lexists(path):
        with suppress(LockedError, TargetExistsError, OSError):
            acquire(path).release()


def _note_at(path: str) -> dict[str, Any]:
    descriptor = os.open(path, _FLAGS)
    try:
        return _holder(descriptor)
    finally:
        os.close(descriptor)


def _note_holder(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, json.dumps(note_of_this_process()).encode())


def note_of_this_process() -> dict[str, Any]:
    """Return what a holder notes of itself: host, process, and since when."""
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "processes": _processes(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _processes() -> str | None:
    """What tells the processes of a container from those of its host (pid_namespaces(7)), on Linux.

    Those of one are invisible in another, or have other numbers there.
    """
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _holder(descriptor: int) -> dict[str, Any]:
    """What a holder noted of itself; nothing where that cannot be read."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        who = json.loads(os.read(descriptor, MAX_NOTE))
    except (OSError, ValueError, RecursionError):
        return {}
    return who if isinstance(who, dict) else {}


def has_ended(who: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that has ended.

    Of a process on another machine, or in another container, nothing can be known.
    """
    pid = who.get("pid")
    if (who.get("host"), who.get("processes")) != (platform.node(), _processes()):
        return False
    if not isinstance(pid, int) or pid < 1:
        return False
    if sys.platform == "win32":
        return True  # if it has not, the file is open, and cannot be removed
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's, or no process number at all
        return False
    return False


def locked(path: str, who: dict[str, Any], *, by_file: bool) -> LockedError:
    """Return the error for a lock that another process holds, as far as it is known.

    `by_file`: the lock is the file itself, which stays where its holder was killed.
    """
    by = (
        f"process {who['pid']} on {who['host']}, since {who.get('since')}"
        if "pid" in who and "host" in who
        else "another process"
    )
    hint = "wait until that run ends, or stop it, and run the command again"
    if by_file:
        hint += f"; if it has ended already, remove {shown(path)}"
    return LockedError(f"the target is locked by {escape(by)}", hint=hint, file=path)
