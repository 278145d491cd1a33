"""Room in the target: what a run needs, and what there is."""

from __future__ import annotations

from dataclasses import dataclass

from shardctl.errors import StorageError
from shardctl.sizes import format_size
from shardctl.stores.base import Store
from shardctl.stores.optional import free_bytes

#: Room to leave beside the files themselves, in bytes: for the journal and directory entries.
SLACK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that new files need in a directory, and that are free there, None where unknown."""

    needed: int
    free: int | None


def room(target: Store, directory: str, nbytes: int) -> Room:
    """Return the room for files of so many bytes in a directory, which need not exist."""
    return Room(nbytes + SLACK_BYTES, free_bytes(target, directory))


def check_space(target: Store, directory: str, nbytes: int, *, replaces: bool) -> None:
    """Raise StorageError (`disk-full`) where files of so many bytes do not fit into a directory.

    `replaces`: old files are removed, but only after the new ones are safe.
    """
    found = room(target, directory, nbytes)
    free, need = found.free, found.needed
    if free is None or free >= need:
        return
    old = " (the replaced files are removed only after the new ones are safe)" if replaces else ""
    raise StorageError(
        f"not enough space in '{directory}': {format_size(need)} needed, "
        f"{format_size(free)} free{old}",
        hint=f"free {format_size(need - free)} there, or choose a target on another filesystem",
        code="disk-full",
        file=directory,
    )
