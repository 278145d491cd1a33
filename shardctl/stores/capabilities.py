"""What only some stores, or their readers, can do: each is a small protocol.

They have a capability when their class has the method. Callers ask with `isinstance(store, Locks)`,
and `stores.optional` says what is done without. What is asked for each of many small ranges has a
function here, which asks the class: Python remembers that answer, so that it costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeGuard, runtime_checkable

from shardctl.errors import UsageError
from shardctl.model import Extent
from shardctl.stores.base import Directory, Reader


@runtime_checkable
class OpensDirectories(Protocol):
    """A store whose directories can be opened, so that their files are known by identity."""

    def open_directory(self, path: str) -> Directory:
        """Open a directory, links followed; raises MissingError and StorageError."""


@runtime_checkable
class Appends(Protocol):
    """A store whose files can grow."""

    def append(self, path: str, data: bytes) -> None:
        """Add bytes to the end of a file, created if needed; durable on return."""


@runtime_checkable
class Locks(Protocol):
    """A store in which one process can keep others out."""

    def lock(self, path: str) -> AbstractContextManager[None]:
        """Hold a lock file, alone; the file is removed afterwards.

        Raises LockedError, which names the holder where it is known.
        """


@runtime_checkable
class Leases(Protocol):
    """A store in which a process on one machine can keep out those on others."""

    def lease(self, path: str) -> AbstractContextManager[None]:
        """Hold a lock file by its existence alone; the file is removed afterwards.

        Raises LockedError. The file of a process that ended without removing it holds until a
        process on the same machine asks for it, or a person removes it.
        """


@runtime_checkable
class SyncsDirectories(Protocol):
    """A store that can make renames survive a power cut."""

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable."""


@runtime_checkable
class RemovesDirectories(Protocol):
    """A store with real directories: they exist also when empty, and can be removed then."""

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory; one that does not exist is not an error."""


@runtime_checkable
class SharesBlocks(Protocol):
    """A store whose writers can share blocks with source files."""

    def shared_block(self, source: Reader, directory: str) -> int | None:
        """Return the block, in bytes, that a new file in `directory` could share with `source`.

        None where blocks cannot be shared. The directory need not exist. No file is left there.
        """


@runtime_checkable
class KnowsFreeSpace(Protocol):
    """A store that can fill up, and says how much room is left."""

    def free_bytes(self, directory: str) -> int | None:
        """Return the bytes that can still be written below a directory, which need not exist.

        None where that is unknown.
        """


@runtime_checkable
class KeepsModes(Protocol):
    """A store whose files have permissions."""

    def mode(self, path: str) -> int:
        """Return the permissions of a file, links followed: POSIX bits, at most 0o777."""

    def set_mode(self, path: str, mode: int) -> None:
        """Give a file these permissions, as far as the filesystem has them."""


@runtime_checkable
class DropsCaches(Protocol):
    """A store that can read a file from the disk again, and not from memory."""

    def drop_cache(self, path: str) -> None:
        """Let the next read of a synced file come from where it is kept, as far as possible."""


@runtime_checkable
class FindsHoles(Protocol):
    """A store whose files can have holes: ranges that were never written, and read as zeros."""

    def holes(self, path: str) -> Iterator[Extent]:
        """Yield the holes of a file in order, as far as the system tells.

        Raises as `open` does.
        """


@runtime_checkable
class FollowsLinks(Protocol):
    """A store that has links, and says where they lead."""

    def followed(self, path: str) -> str:
        """Return the path that `path` leads to, through every link; itself where it is none."""


@runtime_checkable
class ReadsInto(Protocol):
    """A reader that fills memory of the caller, without a buffer in between."""

    def read_into(self, offset: int, memory: memoryview) -> None:
        """Fill all of `memory`, bytes that can be written, from `offset` on; raises as `read`."""


@runtime_checkable
class InMemory(Protocol):
    """A reader whose bytes are in memory already."""

    def view(self, offset: int, length: int) -> memoryview:
        """Return exactly `length` bytes from `offset`, valid while the reader is open."""


def is_in_memory(reader: Reader) -> TypeGuard[InMemory]:
    """Whether a reader is `InMemory`."""
    return issubclass(type(reader), InMemory)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went over a network: requests that were sent, and bytes that came back.

    `sent` are the bytes of files that were sent; `copied` those that the server copied on request.
    """

    requests: int = 0
    nbytes: int = 0
    sent: int = 0
    copied: int = 0


@runtime_checkable
class Remote(Protocol):
    """A store across a network, where a request takes long and each is worth a count.

    The version of a file there is the server's own mark, which no program can set.
    """

    @property
    def at_once(self) -> int:
        """How many files to read at once, so that waiting for one does not delay the others."""

    def traffic(self) -> Traffic:
        """Return what was asked for and received so far."""


@runtime_checkable
class ReadOnly(Protocol):
    """A store in which nothing can be written, whoever asks."""

    def refusal(self, path: str) -> UsageError:
        """Return the error for a path that something would be written to."""


@runtime_checkable
class Announces(Protocol):
    """A reader that fetches many small ranges at once: one after another they would take long."""

    def will_read(self, offsets: Sequence[int]) -> None:
        """Fetch a few hundred bytes around each of these offsets, for the reads that follow."""


def announces(reader: Reader) -> TypeGuard[Announces]:
    """Whether a reader has `Announces`."""
    return issubclass(type(reader), Announces)


@runtime_checkable
class Streams(Protocol):
    """A reader of a range in one go: a request for each buffer would take much longer."""

    def stream(self, extent: Extent) -> Iterator[bytes]:
        """Yield the bytes of a range in order, in chunks of any size; raises as `read` does."""


def streams(reader: Reader) -> TypeGuard[Streams]:
    """Whether a reader has `Streams`."""
    return issubclass(type(reader), Streams)
