"""Files across a network: few requests, one version, and another try where a connection breaks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from shardctl.errors import SourceChangedError
from shardctl.model import Extent, Version
from shardctl.stores.closing import Closing
from shardctl.stores.faults import shorter, shown
from shardctl.stores.remote.client import TOO_EARLY, Client, TransientError, at_most
from shardctl.stores.remote.retry import Patience, Tries

#: Bytes of either end of a file that come with the first request for it: nearly every header of
#: safetensors files and every directory of torch's zips fits (huggingface_hub asks for
#: as many in `parse_safetensors_file_metadata`).
END_BYTES = 100_000
#: Bytes that are fetched for a smaller read: what is read next often lies beside it.
SMALL_BYTES = 4096
#: Bytes that are fetched for an offset that was announced, and how many of them lie before it.
_ANNOUNCED_BYTES, _BEFORE_BYTES = 512, 64
#: Offsets of one file that are taken, so that a hostile one takes no memory, and how many are
#: fetched at once: several files do so at the same time.
_MOST_ANNOUNCED, _AT_ONCE = 20_000, 8


class RemoteReader(Closing):
    """A file of a client. Any number of threads may read from it at once.

    `head` are its first bytes, as far as they are known. Two threads that miss what is kept at the
    same time both ask for it.
    """

    def __init__(
        self, client: Client, path: str, version: Version, patience: Patience, head: bytes = b""
    ) -> None:
        self.path = path
        self.version = version
        self._client = client
        self._patience = patience
        self._head = head
        #: What else is kept: the offset and the bytes of the end, and of the last small read.
        self._tail = self._small = (0, b"")
        #: What was announced: where each range begins, in order, and its bytes.
        self._begins: list[int] = []
        self._announced: list[bytes] = []

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`; raises SourceChangedError, StorageError."""
        size, end = self.version.size, offset + length
        if end > size:
            begin = max(offset, size)
            raise shorter(self.path, begin, end - begin)
        at = bisect_right(self._begins, offset) - 1
        announced = (self._begins[at], self._announced[at]) if at >= 0 else (0, b"")
        for begin, data in ((0, self._head), self._tail, self._small, announced):
            if begin <= offset and end <= begin + len(data):
                return data[offset - begin : end - begin]
        if offset < len(self._head):
            return self._head[offset:] + self.read(len(self._head), end - len(self._head))
        if length > SMALL_BYTES:
            return b"".join(self._chunks(offset, end))
        begin = max(len(self._head), size - END_BYTES)
        if offset >= begin:
            self._tail = begin, (data := b"".join(self._chunks(begin, size)))
        else:
            begin = offset
            data = b"".join(self._chunks(begin, min(begin + SMALL_BYTES, size)))
            self._small = begin, data
        return data[offset - begin : end - begin]

    def stream(self, extent: Extent) -> Iterator[bytes]:
        """Yield the bytes of a range as they come in, with one request where no connection breaks.

        Raises as `read` does.
        """
        if extent.end > self.version.size or extent.length <= SMALL_BYTES:
            return iter((self.read(extent.offset, extent.length),))
        return self._chunks(extent.offset, extent.end)

    def will_read(self, offsets: Sequence[int]) -> None:
        """Fetch the bytes around each of these offsets, several at once, and keep them."""
        last = self.version.size - len(self._tail[1]) if self._tail[1] else self.version.size
        begins: list[int] = []
        for at in sorted(at for at in offsets if len(self._head) <= at < last)[:_MOST_ANNOUNCED]:
            if not begins or at >= begins[-1] + _ANNOUNCED_BYTES // 2:
                begins.append(at - _BEFORE_BYTES if at > _BEFORE_BYTES else 0)

        def fetch(begin: int) -> bytes:
            return b"".join(self._chunks(begin, min(begin + _ANNOUNCED_BYTES, self.version.size)))

        with ThreadPoolExecutor(_AT_ONCE, "header") as pool:
            found = list(pool.map(fetch, begins))
        self._begins, self._announced = begins, found

    def current(self) -> Version:
        """Return the version: the server's answer to each request was compared with it."""
        return self.version

    def will_stream(self) -> None:
        """Do nothing: what is read in order is asked for with `stream`."""

    def _chunks(self, begin: int, end: int) -> Iterator[bytes]:
        tries = Tries(self.path, self._patience)
        while begin < end:
            try:
                with self._client.ranged(self.path, begin, end - begin, self.version) as answer:
                    if answer.version != self.version:
                        raise changed(self.path)
                    for chunk in at_most(self.path, end - begin, answer.chunks):
                        tries.progress()
                        yield chunk
                        begin += len(chunk)
            except TransientError as error:
                tries.pause(error, begin)
            else:
                if begin < end:
                    tries.pause(TransientError(TOO_EARLY), begin)


def changed(path: str) -> SourceChangedError:
    """Return the error for a file that has another version than when it was first looked at."""
    return SourceChangedError(
        f"{shown(path)} changed on the server while it was read",
        hint="wait until no other program writes it, and run the same command again",
        file=path,
    )
