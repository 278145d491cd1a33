"""Compare the bytes of our files with another checkpoint's, as they are read for the other checks.

So each side is read once.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from shardctl.checksums import crc32
from shardctl.errors import ShardctlError
from shardctl.findings import Finding, as_finding
from shardctl.layout import Copy, view_of
from shardctl.model import Extent, Tensor
from shardctl.repeats import compared_parts
from shardctl.stores.base import Reader, Store
from shardctl.streams.progress import Tick
from shardctl.verify.against import Compared, Hash, data_differs, first_difference


@dataclass(frozen=True, slots=True)
class Twin:
    """A range of one of our files, and the equally long one that should have the same bytes.

    `tensors` are those of ours that are these bytes: one, or several that are tied.
    """

    extent: Extent
    other: Copy
    tensors: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """The other checkpoint: its store, and how it is called.

    `digests` asks for the SHA-256 of each tensor that is equal; `tick` is called with the bytes
    read of it.
    """

    store: Store
    name: str
    digests: bool
    tick: Tick


@dataclass(frozen=True, slots=True)
class Pairs:
    """Tensors to compare: by the path of our file, those whose bytes lie in order; and the rest."""

    twins: dict[str, list[Twin]]
    rest: list[tuple[Tensor, Tensor]]

    @property
    def nbytes(self) -> int:
        """The bytes that are read for them, beside those of our files that are read anyway."""
        straight = (twin.extent.length for twins in self.twins.values() for twin in twins)
        return sum(straight) + sum(
            2 * compared_parts(tensor, twin)[0].nbytes for tensor, twin in self.rest
        )


def sort_pairs(pairs: Iterable[tuple[Tensor, Tensor]]) -> Pairs:
    """Sort tensors by how they can be compared.

    `pairs` are of ours and theirs, equal in dtype and shape.
    """
    rest: list[tuple[Tensor, Tensor]] = []
    tied: dict[tuple[Extent, Copy], list[Tensor]] = {}
    for tensor, twin in pairs:
        mine, its = _run(tensor), _run(twin)
        if mine is not None and its is not None and mine.nbytes:
            tied.setdefault((mine.extent, its), []).append(tensor)
        else:
            rest.append((tensor, twin))
    twins: dict[str, list[Twin]] = {}
    for (extent, its), tensors in tied.items():
        twins.setdefault(extent.path, []).append(Twin(extent, its, tuple(tensors)))
    return Pairs(twins, rest)


def _run(tensor: Tensor) -> Copy | None:
    """Return the one run of a file's bytes that the elements of a tensor are; else None."""
    if tensor.storage.made is not None:
        return None
    piece = view_of(tensor)
    return piece if isinstance(piece, Copy) else None


class OpenFiles:
    """The files of the other checkpoint that are open; they are closed with `stack`."""

    def __init__(self, store: Store, stack: ExitStack) -> None:
        self._store = store
        self._stack = stack
        self._readers: dict[str, Reader] = {}

    def reader(self, path: str) -> Reader:
        """Return the file at `path`, opened once; raises as `Store.open` does."""
        if path not in self._readers:
            self._readers[path] = self._stack.enter_context(self._store.open(path))
        return self._readers[path]


class Follower:
    """Reads the other side of one range as ours goes by."""

    def __init__(self, twin: Twin, other: Other, files: OpenFiles) -> None:
        self._twin = twin
        self._other = other
        self._files = files
        self._sha: Hash | None = hashlib.sha256() if other.digests else None
        self._crc = 0
        self._read = 0
        self._differs: int | None = None
        self._error: ShardctlError | None = None

    def see(self, offset: int, chunk: bytes | memoryview) -> None:
        """Compare what of a chunk is in the range.

        Chunks come in order; `offset` is in our file.
        """
        extent, other = self._twin.extent, self._twin.other.extent
        begin, end = max(offset, extent.offset), min(offset + len(chunk), extent.end)
        mine = chunk if end - begin == len(chunk) else chunk[begin - offset : end - offset]
        if self._error is None:
            try:
                its = self._files.reader(other.path).read(
                    other.offset + begin - extent.offset, len(mine)
                )
            except ShardctlError as error:
                self._error = error
                return
            self._compare(mine, its)

    def results(self) -> Iterator[Compared]:
        """Yield the result for each of the tensors, once all of the range was seen."""
        sha256 = None if self._sha is None or self._failed else self._sha.hexdigest()
        read = self._read
        for tensor in self._twin.tensors:
            yield Compared(tensor.name, read, sha256, tuple(self._findings(tensor)))
            read = 0

    @property
    def _failed(self) -> bool:
        return self._error is not None or self._differs is not None

    def _compare(self, mine: bytes | memoryview, its: bytes) -> None:
        if self._differs is None and mine != its:
            self._differs = self._read + first_difference(mine, its)
        if self._sha is not None:
            self._sha.update(mine)
        if self._twin.other.crc32 is not None:
            self._crc = crc32(its, self._crc)
        self._read += len(its)
        self._other.tick(len(its))

    def _findings(self, tensor: Tensor) -> Iterator[Finding]:
        if self._error is not None:
            yield replace(as_finding(self._error), tensor=tensor.name)
            return
        if self._differs is not None:
            yield data_differs(tensor, self._other.name, self._differs)
        recorded = self._twin.other.crc32
        if recorded not in (None, self._crc):
            yield Finding(
                "zip-crc-mismatch",
                "error",
                f"the bytes in '{self._other.name}' do not match their CRC-32 (recorded "
                f"{recorded or 0:08x}, found {self._crc:08x}): they changed after it was saved",
                "the other checkpoint is damaged: fetch or save it again",
                file=self._twin.other.extent.path,
                tensor=tensor.name,
                offset=self._twin.other.extent.offset,
            )


class Followers:
    """The followers of the ranges within one segment of our file."""

    def __init__(self, twins: Sequence[Twin], other: Other, files: OpenFiles) -> None:
        in_order = sorted(twins, key=lambda twin: twin.extent.offset)
        self._all = [(twin, Follower(twin, other, files)) for twin in in_order]
        # Views of one storage can be very many: each is asked only while it is passed.
        self._waiting = deque(self._all)
        self._passed: list[tuple[Twin, Follower]] = []

    def see(self, offset: int, chunk: bytes | memoryview) -> None:
        """Compare a chunk; chunks come in order, `offset` is in our file."""
        end = offset + len(chunk)
        while self._waiting and self._waiting[0][0].extent.offset < end:
            self._passed.append(self._waiting.popleft())
        for _, follower in self._passed:
            follower.see(offset, chunk)
        self._passed = [each for each in self._passed if each[0].extent.end > end]

    def results(self) -> Iterator[Compared]:
        """Yield the results, once the whole segment was seen."""
        for _, follower in self._all:
            yield from follower.results()
