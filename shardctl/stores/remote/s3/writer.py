"""A new object of a bucket that is written in any order, as every store's files can be."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from shardctl.errors import TargetExistsError
from shardctl.model import Extent
from shardctl.stores.base import BUFFER_BYTES, Copied, Reader
from shardctl.stores.closing import Closing
from shardctl.stores.faults import shown
from shardctl.stores.optional import pieces
from shardctl.stores.remote.s3.service import UnmetError
from shardctl.stores.remote.s3.uploads import S3Uploads
from shardctl.stores.uploads import SentPart, Upload

#: Bytes of a part. What is not complete yet stays in memory.
PART_BYTES = 8 * 1024 * 1024


class S3Writer(Closing):
    """An object that appears when it is closed, if all its bytes were written.

    `appeared` is called then. After an error within its block it does not appear either.
    """

    def __init__(
        self, uploads: S3Uploads, path: str, nbytes: int, appeared: Callable[[], None]
    ) -> None:
        self.path = path
        self._uploads = uploads
        self._nbytes = nbytes
        self._appeared = appeared
        #: Bytes of a part: an upload has 10,000 at most.
        self._size = max(PART_BYTES, -(-nbytes // 10_000))
        self._open: dict[int, tuple[bytearray, int]] = {}
        self._upload: Upload | None = None
        self._sent: dict[int, SentPart] = {}
        self._written = 0
        self._lock = Lock()
        self._closed = False

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`; a part that is complete by that is sent."""
        view = memoryview(data).cast("B")
        while view:
            number, begin = divmod(offset, self._size)
            taken = view[: self._size - begin]
            self._put(number, begin, taken)
            view = view[len(taken) :]
            offset += len(taken)

    def copy(self, offset: int, source: Reader, extent: Extent) -> Copied:
        """Copy a range of `source` to `offset`."""
        done = 0
        for data in pieces(source, extent, BUFFER_BYTES):
            self.write(offset + done, data)
            done += len(data)
        return Copied(buffered=done)

    def sync(self) -> None:
        """Do nothing: an object is durable when it appears."""

    def close(self) -> None:
        """Let the object appear, once; raises TargetExistsError where the name was taken since."""
        if self._closed:
            return
        self._closed = True
        if self._written != self._nbytes:
            self._abort()
            return
        try:
            if self._upload is None:
                data, _ = self._open.pop(0, (bytearray(), 0))
                self._uploads.put(self.path, bytes(data), replaces=None)
            else:
                parts = [self._sent[number] for number in sorted(self._sent)]
                self._uploads.complete(self._upload, parts, None)
        except UnmetError:
            raise taken(self.path) from None
        self._appeared()

    def __exit__(self, *raised: object) -> None:
        if raised[0] is not None and not self._closed:
            self._closed = True
            self._abort()
        self.close()

    def _put(self, number: int, begin: int, data: memoryview) -> None:
        size = min(self._size, self._nbytes - number * self._size)
        with self._lock:
            part, filled = self._open.get(number) or (bytearray(size), 0)
            part[begin : begin + len(data)] = data
            filled += len(data)
            self._written += len(data)
            self._open[number] = (part, filled)
            if filled < size or self._nbytes <= self._size:
                return
            del self._open[number]
            self._upload = self._upload or self._uploads.begin(self.path)
        sent = self._uploads.send(self._upload, number + 1, part)
        with self._lock:
            self._sent[number] = sent

    def _abort(self) -> None:
        if self._upload is not None:
            self._uploads.abort(self._upload)


def taken(path: str) -> TargetExistsError:
    """Return the error for a name that is taken."""
    return TargetExistsError(
        f"{shown(path)} already exists: the name is taken",
        hint="move it away, or choose another target",
        file=path,
    )
