"""What a filesystem does, from its type where the system says it.

Linux lists mounts with their device numbers in `/proc/self/mountinfo` (proc(5)).
"""

from __future__ import annotations

import functools
import os
import sys

#: Filesystems that keep a file's inode number as long as the file exists. Others (FAT, exFAT, SMB,
#: most of those in user space) make numbers up when they are mounted, or as files are looked at.
_KEEP_INODES = frozenset(
    (
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "bcachefs"),
        *("nilfs2", "ubifs", "erofs", "tmpfs", "ramfs", "overlay", "ufs"),
        *("nfs", "nfs4", "ceph", "lustre", "gpfs", "beegfs", "gfs2", "ocfs2"),
    )
)


#: Filesystems of local disks: what is copied inside the kernel goes through the page cache. Others
#: (NFS, SMB, Lustre, Ceph) may have their server copy, whatever the offsets.
_IN_PAGE_CACHE = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "bcachefs", "nilfs2", "tmpfs")
)


def keeps_inodes(device: int) -> bool:
    """Whether files of a device (`st_dev`) have the same inode numbers when it is mounted again.

    Of a device that is not listed this is taken to be so: btrfs gives subvolumes numbers that the
    list does not have. So it is outside Linux: APFS and NTFS keep the numbers.
    """
    return kinds(device) <= _KEEP_INODES


def allocates_late(device: int) -> bool:
    """Whether a filesystem finds a place for each page as it is written, and another for all later.

    To have it find one place for a whole range beforehand takes less time in all.
    """
    return kinds(device) == {"ext4"}


def copies_in_page_cache(device: int) -> bool:
    """Whether a copy inside the kernel moves pages of memory, as far as the system says so."""
    found = kinds(device)
    return bool(found) and found <= _IN_PAGE_CACHE


@functools.cache
def kinds(device: int) -> frozenset[str]:
    """Return the types of filesystem that a device (`st_dev`) is mounted as; none if not known.

    The answer is kept as long as the process lives.
    """
    if sys.platform != "linux":
        return frozenset()
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            lines = [line.split() for line in mounts]
    except OSError:
        return frozenset()
    return frozenset(fields[fields.index("-") + 1] for fields in lines if fields[2] == wanted)
