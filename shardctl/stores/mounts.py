"""What kind of filesystem a directory is on, where the system says it.

Linux numbers mounts: `/proc/self/fdinfo/N` has the number of an open file's mount, and
`/proc/self/mountinfo` the filesystem's type by that number (proc(5)). Device numbers would not do:
btrfs gives each subvolume one that the table does not have.
"""

from __future__ import annotations

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


def keeps_inodes(descriptor: int) -> bool:
    """Whether an open file's filesystem gives a file the same inode number after a remount.

    Outside Linux this is taken to be so: APFS and NTFS do.
    """
    if sys.platform != "linux":
        return True
    kind = filesystem(descriptor)
    return kind is None or kind in _KEEP_INODES


def filesystem(descriptor: int) -> str | None:
    """The type of an open file's filesystem, as mount(8) has it; None where it cannot be known."""
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        mount = fields["mnt_id"].strip()
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                number, _, rest = line.partition(" ")
                if number == mount:
                    return rest.partition(" - ")[2].split(" ", 1)[0]
    except (OSError, KeyError, ValueError):
        pass
    return None
