"""What a kind of server must offer for its files to be read: small requests, each made once.

A client asks; it neither waits nor tries again (`retry`), and it keeps no bytes (`reader`). Paths
are URLs without credentials, as messages, plans and journals show them: what a client needs beside
them to be let in stays within it, and is in no error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from shardctl.errors import StorageError
from shardctl.model import Version
from shardctl.stores.base import Entry
from shardctl.stores.faults import shown

#: Bytes that are handed on at a time as they come in.
CHUNK_BYTES = 1024 * 1024
#: The reason where fewer bytes came than were promised.
TOO_EARLY = "the server ended its answer too early"


class TransientError(Exception):
    """A request failed in a way that may pass: try it again.

    `reason` follows the file's name in a message; `after` is how many seconds the server asks for.
    """

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request for a range: the file's version, and the bytes as they come in.

    Iterating raises TransientError where the connection breaks off.
    """

    version: Version
    chunks: Iterator[bytes]


def at_most(path: str, length: int, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes of an answer; raises StorageError before more than `length` of them.

    Servers exist that promise a range and send the whole file: which bytes came is not known then.
    """
    left = length
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise StorageError(
                f"{shown(path)} cannot be read in parts: the server sends more bytes than were "
                "asked for",
                hint="download the file first, or use a server that answers requests for ranges",
                file=path,
            )
        yield chunk


class Client(Protocol):
    """Asks one place for files. Any number of threads may use it at once; it can be pickled."""

    @property
    def at_once(self) -> int:
        """How many requests the place takes at once without slowing down."""

    @property
    def requests(self) -> int:
        """How many requests were sent."""

    @property
    def nbytes(self) -> int:
        """How many bytes of files, and of listings, came in."""

    def ranged(
        self, path: str, offset: int, length: int, expected: Version | None
    ) -> AbstractContextManager[Answer]:
        """Ask for up to `length` bytes from `offset`; fewer come where the file ends.

        `expected` is the version that is wanted: another one may be an error already here, and the
        caller compares in any case. Raises MissingError, SourceChangedError, StorageError and
        TransientError.
        """

    def version(self, path: str) -> Version:
        """Return the version that a file has now; raises as `ranged` does."""

    def entries(self, directory: str) -> Sequence[Entry] | None:
        """Return the names in a directory, none for one that does not exist.

        None where the place does not list its files. Raises StorageError and TransientError.
        """
