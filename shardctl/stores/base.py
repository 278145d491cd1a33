"""The promises of stores, of open directories, and of readers and writers.

`Store` is the core: every place that holds files offers it, an object store included. What only
some stores can do is a separate, small protocol in `stores.capabilities`. Nothing else about a
store is promised anywhere.

Only stores know system calls. Paths are the store's own strings; everything above passes them
through unread. Every failure of the system is raised as `StorageError` (or `MissingError`) that
names the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from shardctl.model import Extent, Version

EntryKind = Literal["file", "directory", "link", "other"]

#: Bytes that pass through one buffer at a time, wherever they cannot be copied inside the kernel.
BUFFER_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory.

    `kind` is that of the name itself: a "link" is not followed. `target` is the kind of what a link
    leads to, None for a dangling link and for what is not a link. `size` is that of the file, in
    bytes; 0 for anything else.
    """

    name: str
    kind: EntryKind
    target: EntryKind | None
    size: int

    @property
    def readable(self) -> bool:
        """Whether this is a regular file, or a link to one."""
        return "file" in (self.kind, self.target)


@dataclass(frozen=True, slots=True)
class Copied:
    """Bytes moved: as shared blocks, copied inside the kernel, through buffers, or by a server."""

    shared: int = 0
    kernel: int = 0
    buffered: int = 0
    server: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.shared + self.kernel + self.buffered + self.server

    def __add__(self, other: Copied) -> Copied:
        return Copied(
            self.shared + other.shared,
            self.kernel + other.kernel,
            self.buffered + other.buffered,
            self.server + other.server,
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one file from another, and one state of it from another. A link is not followed.

    `size` in bytes, times in nanoseconds. A file's ctime cannot be set, so that what was copied,
    unpacked or written again never has the identity that was recorded. A store without these
    numbers leaves them 0 and has its own `mark` for a version.
    """

    kind: EntryKind
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    links: int = 1
    mark: str = ""

    def is_unchanged(self, seen: Identity, *, inodes: bool) -> bool:
        """Whether this is the file that was `seen`, in the state in which it was seen.

        `inodes`: the filesystem keeps inode numbers when it is mounted again. A rename of one of
        several hard links changes the ctime of all, so that there it does not count.
        """
        several = self.links > 1 and seen.links > 1
        return self.is_moved(seen, inodes=inodes) and (several or self.ctime_ns == seen.ctime_ns)

    def is_moved(self, seen: Identity, *, inodes: bool) -> bool:
        """Whether this is the file that was `seen`, perhaps renamed: a rename changes the ctime."""
        return (
            (self.kind, self.size, self.mtime_ns) == (seen.kind, seen.size, seen.mtime_ns)
            and self.mark == seen.mark
            and (not inodes or self.inode == seen.inode)
        )

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

    def is_ours(self) -> bool:
        """Whether this directory belongs to the user who runs this."""

    def names(self) -> list[str]:
        """The names in this directory, sorted."""

    def keeps_inodes(self) -> bool:
        """Whether a file has the same inode number after the filesystem was mounted again."""

    def subdirectory(self, name: str) -> Directory | None:
        """Open a directory in this one; None where there is none, TargetExistsError for a link."""

    def make_subdirectory(self, name: str, like: Directory | None = None) -> Directory:
        """Open a directory in this one, made where it is missing.

        Then it is for this user alone or, where permissions are kept, for those for whom `like`
        is.
        """

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
    """An open source file. Any number of threads may read from it at once.

    What is read is the file that was opened: where another file takes its name, or where it
    changes, reads return the old bytes or raise SourceChangedError.
    """

    @property
    def path(self) -> str: ...

    @property
    def version(self) -> Version:
        """Version of the file when it was opened."""

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`.

        Raises SourceChangedError where the file ends before them, and StorageError.
        """

    def current(self) -> Version:
        """Return the version of the open file now, to notice that it changed while it was read."""

    def will_stream(self) -> None:
        """Announce that most of the file will be read once, in order: a hint for caches."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Writer(Protocol):
    """A new file that is being written. Any number of threads may write to it at once.

    Each byte is written once, in any order. Some stores show the file only once it is closed. After
    an error within its block, part of a file may be left, which is for the caller to remove.
    """

    @property
    def path(self) -> str: ...

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`."""

    def copy(self, offset: int, source: Reader, extent: Extent) -> Copied:
        """Copy the `extent.length` bytes of a range of `source` to `offset`.

        The cheapest way that works is taken. `source` may be of another store. Whole blocks that
        are equally aligned in both files (`model.whole_blocks`) are shared where the store can.
        Raises SourceChangedError where the source has become shorter, and StorageError.
        """

    def sync(self) -> None:
        """Make the bytes durable.

        A StorageError is final: the file must be discarded, never synced again.
        """

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Store(Protocol):
    """A place that holds files in directories.

    The empty path is the directory that relative paths start from; it always exists. A store
    without real directories shows one wherever a file lies below it. A store must be picklable if
    tasks are to run in other processes.
    """

    def join(self, directory: str, *names: str) -> str:
        """Return the path of a name in a directory."""

    def split(self, path: str) -> tuple[str, str]:
        """Return the directory and the last name of a path: what `join` puts together."""

    def same(self, one: str, other: str) -> bool:
        """Whether two paths lead to the same file or directory; false where one does not exist."""

    def kind(self, path: str) -> EntryKind | None:
        """Return what `path` leads to, links followed; None where nothing, or a dangling link."""

    def version(self, path: str) -> Version:
        """Return the version of the file at `path`, links followed; raises as `open` does."""

    def list(self, directory: str) -> list[Entry]:
        """Return the names in a directory, sorted.

        Raises MissingError where it does not exist, InputError where it is not a directory.
        """

    def open(self, path: str) -> Reader:
        """Open a regular file, or a link to one, for reading.

        Raises MissingError, and InputError (code `file-not-regular`) for anything but a file; never
        waits.
        """

    def create(self, path: str, nbytes: int) -> Writer:
        """Create a file that will have `nbytes` bytes, and open it for writing.

        Raises TargetExistsError where the name is taken.
        """

    def make_directory(self, path: str) -> None:
        """Make a directory and its parents, so that files can be created in it.

        One that exists is left alone. Raises TargetExistsError where a file has that name.
        """

    def rename(self, old: str, new: str) -> None:
        """Give a file another name. A file of the new name is replaced.

        At any instant the new name has no file or the old one, and then the new one, whole.
        """

    def remove(self, path: str) -> None:
        """Remove a file or a link; one that does not exist is not an error."""
