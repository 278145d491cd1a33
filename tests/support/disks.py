"""Filesystems in image files on loop devices; tests are skipped, with the reason, where there are
none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from shardctl.stores.local import mounts

# <linux/fs.h> and fs/xfs/xfs_fs.h: stop the filesystem at once, without flushing its log; and who
# knows that.
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, (2).to_bytes(4, "little")
_SHUT_DOWN = {"ext4", "xfs"}
#: How to make each kind, and the bytes of an image that is large enough for its tools.
KINDS: dict[str, tuple[tuple[str, ...], int]] = {
    "ext4": (("mkfs.ext4", "-q", "-F"), 32 * 1024 * 1024),
    "xfs": (("mkfs.xfs", "-q", "-f"), 320 * 1024 * 1024),
    "btrfs": (("mkfs.btrfs", "-q", "-f"), 128 * 1024 * 1024),
    "exfat": (("mkfs.exfat",), 32 * 1024 * 1024),
}
#: What mounts those that the kernel may not know, in user space (FUSE), from a loop device.
_IN_USER_SPACE = {"exfat": "mount.exfat-fuse"}


@dataclass(frozen=True, slots=True)
class Disk:
    """A filesystem in an image file, and where it is mounted."""

    kind: str
    image: Path
    mounted: Path

    def mount(self) -> None:
        """Mount it, with its log replayed."""
        # A device is taken to stay what it is as long as a process lives; this one is taken again.
        mounts.kinds.cache_clear()
        program = _IN_USER_SPACE.get(self.kind)
        if program is None:
            self._call("mount", "-o", "loop", str(self.image), str(self.mounted))
            return
        device = self._call("losetup", "--find", "--show", str(self.image)).strip()
        try:
            self._call(program, device, str(self.mounted))
        finally:
            # It is released when it is unmounted.
            self._call("losetup", "--detach", device)

    def unmount(self) -> None:
        """Unmount it; the loop device goes with it."""
        self._call("umount", str(self.mounted))

    def cut_power(self) -> None:
        """Lose everything that is not on the disk, and start again."""
        if self.kind in _SHUT_DOWN:
            self._shut_down()
            self.unmount()
        else:
            # What the filesystem has given to its disk lies in the image, and nothing else does.
            survived = self.image.with_suffix(".survived")
            shutil.copyfile(self.image, survived)
            self.unmount()
            survived.replace(self.image)
        self.mount()

    def _shut_down(self) -> None:
        import fcntl  # Windows has none, and skips the tests that need a disk

        descriptor = os.open(self.mounted, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(descriptor)

    def _call(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout


@contextmanager
def mounted_disk(kind: str, directory: Path) -> Iterator[Disk]:
    """A small disk of a kind, mounted below `directory` as long as the block lasts."""
    (program, *options), nbytes = KINDS[kind]
    for needed in filter(None, (program, _IN_USER_SPACE.get(kind))):
        if shutil.which(needed) is None:
            pytest.skip(f"needs {needed}")
    disk = Disk(kind, directory / "image", directory / "mounted")
    disk.mounted.mkdir()
    with disk.image.open("wb") as file:
        file.truncate(nbytes)
    subprocess.run([program, *options, str(disk.image)], check=True, capture_output=True)
    try:
        disk.mount()
    except RuntimeError as error:
        pytest.skip(f"needs loop devices and {kind}: {str(error).splitlines()[0]}")
    try:
        yield disk
    finally:
        disk.unmount()
