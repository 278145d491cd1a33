"""The types of filesystems that keep their inode numbers."""

from __future__ import annotations

import builtins
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from shardctl.stores.local import mounts

TABLE = """\
22 28 0:21 / /proc rw,nosuid - proc proc rw
30 28 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 30 7:3 / /media/stick rw,nosuid shared:2 master:1 - fuseblk /dev/loop3 rw
32 30 7:4 /sub /mnt/a\\040b rw - exfat /dev/loop4 rw
33 30 0:50 / /mnt/share rw - cifs //server/share rw
34 30 0:60 / /mnt/pool rw - btrfs /dev/sdb rw
"""


@pytest.fixture(autouse=True)
def _table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mounts of TABLE, whatever this machine has."""
    real = builtins.open

    def opened(path: Any, *arguments: Any, **options: Any) -> Any:
        found = path == "/proc/self/mountinfo"
        return io.StringIO(TABLE) if found else real(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", opened)
    monkeypatch.setattr(sys, "platform", "linux")
    mounts.kinds.cache_clear()


@pytest.mark.parametrize(
    ("numbers", "kept"),
    [((8, 1), True), ((7, 3), False), ((7, 4), False), ((0, 50), False), ((0, 60), True)],
)
def test_the_type_decides(numbers: tuple[int, int], *, kept: bool) -> None:
    """FAT, exFAT, SMB and FUSE filesystems do not keep inode numbers; ext4 and btrfs do."""
    assert mounts.keeps_inodes(os.makedev(*numbers)) is kept


@pytest.mark.parametrize(
    ("numbers", "local"), [((8, 1), True), ((7, 3), False), ((0, 50), False), ((0, 99), False)]
)
def test_the_type_says_where_copies_are_made(numbers: tuple[int, int], *, local: bool) -> None:
    """Of local disks the kernel copies in memory; a server, or what is not listed, may not."""
    assert mounts.copies_in_page_cache(os.makedev(*numbers)) is local


@pytest.mark.parametrize(
    ("numbers", "late"), [((8, 1), True), ((0, 60), False), ((7, 4), False), ((0, 99), False)]
)
def test_the_type_says_when_a_place_is_found(numbers: tuple[int, int], *, late: bool) -> None:
    """Only of ext4 it is known that finding it beforehand is quicker; btrfs would not compress."""
    assert mounts.allocates_late(os.makedev(*numbers)) is late


def test_an_unlisted_device_keeps_them() -> None:
    """A btrfs subvolume has a device number of which the list knows nothing."""
    assert mounts.keeps_inodes(os.makedev(0, 99))


def test_a_real_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real table of mounts can be read."""
    monkeypatch.undo()
    mounts.kinds.cache_clear()
    assert isinstance(mounts.keeps_inodes(tmp_path.stat().st_dev), bool)
