"""Directories to work in: free space, the kind of filesystem, and an XFS in an image file."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from shardctl.sizes import format_size


class NoRoomError(Exception):
    """There is not enough room, or no such disk can be made; the message says what is missing."""


def need(directory: str, nbytes: int) -> None:
    """Raise NoRoomError unless a directory's filesystem has so many bytes free."""
    free = shutil.disk_usage(directory).free
    if free < nbytes:
        raise NoRoomError(
            f"needs {format_size(nbytes)} free, and there are {format_size(free)}: choose a "
            "smaller --size, fewer works with --only, or another directory with --dir"
        )


def filesystem(directory: str) -> str:
    """Return the kind of a directory's filesystem, for example `ext4`, or `unknown`."""
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            lines = [line.split() for line in file]
    except OSError:
        return "unknown"
    # proc_pid_mountinfo(5): the device is the third field, the kind the first one after a lone
    # hyphen.
    return next((words[words.index("-") + 1] for words in lines if words[2] == wanted), "unknown")


@contextmanager
def work_directory(parent: str | None) -> Iterator[str]:
    """Yield a new directory, which is removed afterwards."""
    with tempfile.TemporaryDirectory(
        prefix="shardctl-bench-", dir=parent, ignore_cleanup_errors=True
    ) as directory:
        yield directory


@contextmanager
def xfs(directory: str, nbytes: int) -> Iterator[str]:
    """Yield an XFS of so many bytes that shares blocks, in an image below `directory`.

    It is removed afterwards. Raises NoRoomError, with the reason, where it cannot be made: it takes
    root, loop devices and xfsprogs.
    """
    if os.geteuid() != 0:
        raise NoRoomError("needs root, to mount an image")
    image, mounted = os.path.join(directory, "image"), os.path.join(directory, "mounted")
    # What mkfs.xfs asks for at least.
    with open(image, "wb") as file:
        file.truncate(max(nbytes, 320 * 1024 * 1024))
    os.mkdir(mounted)
    with ExitStack() as undo:
        undo.callback(os.remove, image)
        undo.callback(os.rmdir, mounted)
        _call("mkfs.xfs", "-q", "-m", "reflink=1", image)
        # Past the page cache of the filesystem below, or every byte would be kept and written
        # twice.
        device = _call("losetup", "--find", "--show", "--direct-io=on", image).strip()
        undo.callback(_call, "losetup", "--detach", device)
        _call("mount", "-t", "xfs", device, mounted)
        undo.callback(_call, "umount", mounted)
        yield mounted


def _call(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise NoRoomError(f"needs {command[0]}") from None
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["failed"])[0]
        raise NoRoomError(f"{command[0]}: {reason}") from None
