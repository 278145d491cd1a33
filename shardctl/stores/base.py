"""The seam to the places where bytes live: what a store, a reader and a writer promise.

Only stores know system calls. Paths are the store's own strings; everything above passes them
through unread. Every failure of the system is raised as `StorageError` (or `MissingError`) that
names the file.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from shardctl.model import Extent, Version

EntryKind = Literal["file", "directory", "link", "other"]

#: Bytes that pass through one buffer at a time, wherever they cannot be copied inside the kernel.
BUFFER_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Properties:
    """What a store can honestly promise. `durable`: a synced folder's renames survive a power cut.

    `shared_blocks`: it knows how to share blocks; whether two places do, `Store.shared_block` says.
    """

    atomic_rename: bool
    server_copy: bool
    shared_blocks: bool
    durable: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder. `kind` is the name's own ("link" is not followed); `target` is what a link leads to."""

    name: str
    kind: EntryKind
    target: EntryKind | None
    size: int

    @property
    def readable(self) -> bool:
        """A regular file, or a link to one."""
        return "file" in (self.kind, self.target)


@dataclass(frozen=True, slots=True)
class Copied:
    """Bytes moved, by the way they took: blocks shared, copied inside the kernel, or through our buffers."""

    shared: int = 0
    kernel: int = 0
    buffered: int = 0

    def __add__(self, other: Copied) -> Copied:
        return Copied(
            self.shared + other.shared, self.kernel + other.kernel, self.buffered + other.buffered
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one file from another, and one state of it from another. A link is not followed.

    `size` in bytes, times in nanoseconds. Nobody can set a file's ctime, so that what was copied,
    unpacked or written again never has the identity that was recorded.
    """

    kind: EntryKind
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    links: int = 1
    owner: int = 0
    mode: int = 0

    def is_unchanged(self, seen: Identity, *, inodes: bool) -> bool:
        """Whether this is the file that was `seen`, in the state in which it was seen.

        `inodes`: the filesystem keeps inode numbers when it is mounted again. A rename of one of
        several hard links changes the ctime of all, so that there it does not count.
        """
        several = self.links > 1 and seen.links > 1
        return self.is_moved(seen, inodes=inodes) and (several or self.ctime_ns == seen.ctime_ns)

    def is_moved(self, seen: Identity, *, inodes: bool) -> bool:
        """Whether this is the file that was `seen`, perhaps renamed: a rename changes the ctime."""
        same = (self.kind, self.size, self.mtime_ns) == (seen.kind, seen.size, seen.mtime_ns)
        return same and (not inodes or self.inode == seen.inode)

    def is_same_file(self, other: Identity) -> bool:
        """Whether two names, looked at now, are those of one file."""
        return (self.device, self.inode) == (other.device, other.inode)


class Directory(Protocol):
    """An open directory: it stays the one that was opened, wherever its path leads by now."""

    @property
    def path(self) -> str: ...

    def identity(self, name: str) -> Identity | None:
        """What a name belongs to, a link not followed; None where it is free."""

    def own_identity(self) -> Identity:
        """What this directory is."""

    def names(self) -> list[str]:
        """The names in this directory, sorted."""

    def keeps_inodes(self) -> bool:
        """Whether a file has the same inode number after the filesystem was mounted again."""

    def subdirectory(self, name: str) -> Directory | None:
        """Open a directory in this one; None where there is none, TargetExistsError for a link."""

    def make_subdirectory(self, name: str) -> Directory:
        """Open a directory in this one, made for this user alone where it is missing."""

    def move(self, name: str, to: Directory, new_name: str) -> None:
        """Move a file to a free name; TargetExistsError where it is taken, and nothing moved."""

    def remove(self, name: str) -> None:
        """Remove a file or a link; one that is gone already is fine."""

    def remove_subdirectory(self, name: str) -> None:
        """Remove an empty directory; one that is gone already is fine."""

    def sync(self) -> None:
        """Make the names in this directory durable, where the system can."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Reader(Protocol):
    """An open source file. Never writes; the file that was opened stays the one that is read."""

    @property
    def path(self) -> str: ...

    @property
    def version(self) -> Version:
        """Size and mark as they were when the file was opened."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; raises SourceChangedError where the file has become shorter."""

    def current(self) -> Version:
        """Size and mark as they are now, to notice a source that changed while it was read."""

    def will_stream(self) -> None:
        """Say that most of the file will be read once, in order: a hint for caches."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Writer(Protocol):
    """A new file that is being written. It has its final size from the start where the system can reserve it."""

    @property
    def path(self) -> str: ...

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`."""

    def copy(self, offset: int, source: Reader, extent: Extent) -> Copied:
        """Copy a range of `source` to `offset`, by the cheapest way that works. Exactly `extent.length` bytes.

        Whole blocks that stand alike in both files (`layout.whole_blocks`) are shared where the
        store can.
        """

    def sync(self) -> None:
        """Make the bytes durable. A failure is final: the file must be thrown away, never synced again."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Store(Protocol):
    """A place that holds files in folders."""

    @property
    def properties(self) -> Properties: ...

    def join(self, directory: str, *names: str) -> str:
        """The path of a name in a folder."""

    def split(self, path: str) -> tuple[str, str]:
        """The folder and the last name of a path: what `join` puts together."""

    def same(self, one: str, other: str) -> bool:
        """Whether two paths lead to the same file or folder; false where one leads to nothing."""

    def kind(self, path: str) -> EntryKind | None:
        """What lies at `path`, links followed; None where nothing does (also for a dangling link)."""

    def version(self, path: str) -> Version:
        """Size and mark of the file at `path`, links followed; MissingError where there is none."""

    def list(self, directory: str) -> list[Entry]:
        """The names in a folder, sorted."""

    def open(self, path: str) -> Reader:
        """Open a regular file (or a link to one) for reading; anything else is an InputError, never waited for."""

    def create(self, path: str, nbytes: int) -> Writer:
        """Make a new file that will have `nbytes` bytes; TargetExistsError where the name is taken."""

    def append(self, path: str, data: bytes) -> None:
        """Add bytes to the end of a file, which is made where it is missing; durable on return."""

    def lock(self, path: str) -> AbstractContextManager[None]:
        """Hold a lock file, alone; LockedError that says who holds it. The file is gone afterwards."""

    def copy_mode(self, path: str, fresh: str) -> None:
        """Give a new file the permissions of the file that it will replace, where the store has permissions."""

    def make_directory(self, path: str) -> None:
        """Make a folder and its parents; one that is there is fine."""

    def remove_directory(self, path: str) -> None:
        """Remove an empty folder."""

    def rename(self, old: str, new: str) -> None:
        """Give a file its final name, in one step; a file of that name is replaced."""

    def remove(self, path: str) -> None:
        """Remove a file or a link; one that is gone already is fine."""

    def sync_directory(self, path: str) -> None:
        """Make the names in a folder durable, where the store can."""

    def drop_cache(self, path: str) -> None:
        """Let the next read of a synced file come from where it is kept, not from a cache, where the system can."""

    def shared_block(self, path: str, directory: str) -> int | None:
        """The block, in bytes, that a new file in `folder` could share with the file at `path`.

        The folder need not exist yet. None where blocks cannot be shared. Leaves nothing behind.
        """

    def free_bytes(self, directory: str) -> int | None:
        """Bytes that can still be written below `folder` (which need not exist yet); None where unknown."""
