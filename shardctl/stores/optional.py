"""What a store or a reader may not be able to do, and what happens then: a function for each.

`Appends` is missing here: the journal keeps its receipts in another way without it
(`engine.journal.receipts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from operator import and_

from shardctl.model import Extent
from shardctl.stores.base import BUFFER_BYTES, Directory, Reader, Store
from shardctl.stores.capabilities import (
    DropsCaches,
    FindsHoles,
    FollowsLinks,
    KeepsModes,
    KnowsFreeSpace,
    Leases,
    Locks,
    OpensDirectories,
    ReadOnly,
    ReadsInto,
    Remote,
    RemovesDirectories,
    SharesBlocks,
    SyncsDirectories,
    is_in_memory,
)
from shardctl.stores.plain import PlainDirectory
from shardctl.stores.uploads import has_uploads


def open_directory(store: Store, path: str) -> Directory:
    """Open a directory.

    Without `OpensDirectories` files are distinguished by their versions alone, and a name that is
    free when it is looked at may be taken a moment later.
    """
    if isinstance(store, OpensDirectories):
        return store.open_directory(path)
    return PlainDirectory(store, path)


def lock(store: Store, path: str) -> AbstractContextManager[None]:
    """Hold a lock file, alone; raises LockedError.

    Without `Locks` nothing is held: two runs are not kept apart, and only what the second one finds
    changed in the target stops it. Say so where `can_lock` is false.
    """
    return store.lock(path) if isinstance(store, Locks) else nullcontext()


def lease(store: Store, path: str) -> AbstractContextManager[None]:
    """Hold a lock file that keeps out processes on other machines too; raises LockedError.

    Without `Leases` nothing is held, as without `Locks`.
    """
    return store.lease(path) if isinstance(store, Leases) else nullcontext()


def can_lease(store: Store) -> bool:
    """Whether it shows in the store that a process has ended."""
    return isinstance(store, Leases)


def can_lock(store: Store) -> bool:
    """Whether a run can keep others out of a directory of the store."""
    return isinstance(store, Locks)


def sync_directory(store: Store, path: str) -> None:
    """Make the names in a directory durable.

    Without `SyncsDirectories` they are as durable as the store's `rename`, `create` and `remove`.
    """
    if isinstance(store, SyncsDirectories):
        store.sync_directory(path)


def remove_directory(store: Store, path: str) -> None:
    """Remove an empty directory. Without `RemovesDirectories` one is gone with its last file."""
    if isinstance(store, RemovesDirectories):
        store.remove_directory(path)


def shared_block(store: Store, source: Reader, directory: str) -> int | None:
    """Return the block, in bytes, that a new file in `directory` could share with `source`.

    None where it could share none, and without `SharesBlocks`: bytes are copied.
    """
    return store.shared_block(source, directory) if isinstance(store, SharesBlocks) else None


def free_bytes(store: Store, directory: str) -> int | None:
    """Return the bytes that can still be written below a directory.

    None where that is unknown, and without `KnowsFreeSpace`: a lack of room shows on writing.
    """
    return store.free_bytes(directory) if isinstance(store, KnowsFreeSpace) else None


def keep_mode(store: Store, path: str, fresh: str) -> None:
    """Give a new file the permissions of the file that it will replace.

    Without `KeepsModes` it has those that the store gave it.
    """
    if isinstance(store, KeepsModes):
        store.set_mode(fresh, store.mode(path))


def restrict_mode(source: Store, paths: Iterable[str], target: Store, path: str) -> None:
    """Take from a new file or directory every permission that one of its sources lacks.

    So it has the stricter of their permissions and of those that the store gave it. Without
    `KeepsModes` on either side it keeps the latter.
    """
    if isinstance(source, KeepsModes) and isinstance(target, KeepsModes):
        given = target.mode(path)
        # The owner can always read what was written, and replace it.
        allowed = reduce(and_, map(source.mode, paths), given) | (given & 0o700)
        if allowed != given:
            target.set_mode(path, allowed)


def drop_cache(store: Store, path: str) -> None:
    """Let the next read of a file come from where it is kept.

    Without `DropsCaches` it may come from a cache: what is read back is then what was sent.
    """
    if isinstance(store, DropsCaches):
        store.drop_cache(path)


def holes(store: Store, path: str) -> Iterator[Extent]:
    """Yield the ranges of a file that were never written, and read as zeros.

    Without `FindsHoles` there are none: zeros that were written look the same.
    """
    return store.holes(path) if isinstance(store, FindsHoles) else iter(())


def followed(store: Store, path: str) -> str:
    """Return the path that `path` leads to, through every link.

    Without `FollowsLinks` it is the path itself: there are no links, or they are not seen.
    """
    return store.followed(path) if isinstance(store, FollowsLinks) else path


def read_into(reader: Reader, offset: int, memory: memoryview) -> None:
    """Fill `memory` from `offset` on. Without `ReadsInto` the bytes pass through a buffer."""
    if isinstance(reader, ReadsInto):
        reader.read_into(offset, memory)
        return
    for begin in range(0, len(memory), BUFFER_BYTES):
        part = memory[begin : begin + BUFFER_BYTES]
        part[:] = reader.read(offset + begin, len(part))


def pieces(reader: Reader, extent: Extent, most: int) -> Iterator[bytes | memoryview]:
    """Yield the bytes of an extent, at most `most` at a time.

    They are copies, except of a reader that is `InMemory`.
    """
    read = reader.view if is_in_memory(reader) else reader.read
    for offset in range(extent.offset, extent.end, most):
        yield read(offset, min(most, extent.end - offset))


def refuse_read_only(store: Store, path: str) -> None:
    """Raise UsageError where nothing can be written to a path.

    Without `ReadOnly` the store takes files, as far as permissions and room go.
    """
    if isinstance(store, ReadOnly):
        raise store.refusal(path)


def forget(store: Store) -> None:
    """Look at a store afresh. Without `Uploads` it remembers nothing, or nothing is written there.

    Call it before a decision that another program's change must not escape.
    """
    if has_uploads(store):
        store.forget()


def at_once(store: Store) -> int:
    """Return how many files to read the headers of at once.

    Without `Remote` it is one: each takes a moment, and the order on the disk counts.
    """
    return store.at_once if isinstance(store, Remote) else 1
