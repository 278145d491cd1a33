"""Write one file from its task: a pure function of its argument, so that it can run on any thread or machine.

A task carries the whole layout and the versions of the sources that it was planned for. Sources are compared with
those when they are opened and again when the last byte was read.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from shardctl.engine.gather import gather
from shardctl.errors import FormatError, SourceChangedError, StorageError
from shardctl.layout import Crc, Gather, Layout, Literal, Piece, Run
from shardctl.model import Extent, Version
from shardctl.stores.base import BUFFER_BYTES, Copied, Reader, Store, Writer

#: Bytes of one copy inside the kernel: large enough to cost nothing, small enough to show progress and to stop soon.
COPY_BYTES = 64 * 1024 * 1024
#: Source files held open by one task; a merge of a thousand shards must stay under the limit of open files.
OPEN_SOURCES = 32


class CancelledError(Exception):
    """Raised inside a task when the run was told to stop; never leaves the engine."""


#: Told the bytes done; raises CancelledError when the run shall stop.
Tick = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One file to write: `staged` is where, `filename` its final name, `sources` the versions it was planned for."""

    filename: str
    staged: str
    layout: Layout
    sources: Mapping[str, Version]
    digest: bool = False
    read_back: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was written: the file's size in bytes, its SHA-256 where it was asked for, and the way the bytes took."""

    filename: str
    nbytes: int
    sha256: str | None
    copied: Copied


def write(task: ShardTask, store: Store, tick: Tick) -> Receipt:
    """Write the file under its staged name, durably.

    Raises SourceChangedError, FormatError (a record that does not match its checksum, where its bytes pass through
    our buffers) and StorageError. What was written by then stays for the caller to discard.
    """
    with Sources(store, task.sources) as sources:
        with store.create(task.staged, task.layout.nbytes) as writer:
            copied = _Filler(task.layout, sources, writer, tick).fill()
            sources.check_unchanged()
            writer.sync()
        if task.read_back:
            store.drop_cache(task.staged)
            compare(task, store, sources, tick)
    sha256 = digest(store, task.staged, tick) if task.digest else None
    return Receipt(task.filename, task.layout.nbytes, sha256, copied)


def digest(store: Store, path: str, tick: Tick) -> str:
    """The SHA-256 of a file, in hexadecimal; reads it once."""
    sha = hashlib.sha256()
    with store.open(path) as reader:
        for chunk in chunks(reader, Extent(path, 0, reader.version.size)):
            sha.update(chunk)
            tick(0)
    return sha.hexdigest()


def chunks(reader: Reader, extent: Extent) -> Iterator[bytes]:
    """The bytes of an extent, a buffer at a time."""
    for offset in range(extent.offset, extent.end, BUFFER_BYTES):
        yield reader.read(offset, min(BUFFER_BYTES, extent.end - offset))


class Sources:
    """The source files of one task, opened when first needed, a bounded number at a time."""

    def __init__(self, store: Store, versions: Mapping[str, Version]) -> None:
        self._store = store
        self._versions = versions
        self._readers: dict[str, Reader] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def reader(self, path: str) -> Reader:
        """The open file; the one used longest ago is closed (and compared) where too many are open."""
        reader = self._readers.pop(path, None)
        if reader is None:
            if len(self._readers) >= OPEN_SOURCES:
                oldest = self._readers.pop(next(iter(self._readers)))
                self._compare(oldest)
                oldest.close()
            reader = self._store.open(path)
            if reader.version != self._versions[path]:
                reader.close()
                raise source_changed(path)
        self._readers[path] = reader
        return reader

    def check_unchanged(self) -> None:
        """Raise SourceChangedError where an open source is no longer what it was when it was opened."""
        for reader in self._readers.values():
            self._compare(reader)

    def _compare(self, reader: Reader) -> None:
        if reader.current() != self._versions[reader.path]:
            raise source_changed(reader.path)


def source_changed(path: str) -> SourceChangedError:
    """The error for a source that is not the file that was planned for."""
    return SourceChangedError(
        f"'{path}' changed while it was read",
        hint="wait until nothing writes it any more, and run the same command again",
        file=path,
    )


class _Filler:
    """Fills one new file, piece by piece, and keeps the checksums that later pieces ask for."""

    def __init__(self, layout: Layout, sources: Sources, writer: Writer, tick: Tick) -> None:
        self._layout = layout
        self._sources = sources
        self._writer = writer
        self._tick = tick
        self._summed = {piece.of for piece in layout.pieces if isinstance(piece, Crc)}
        self._crcs: dict[int, int] = {}

    def fill(self) -> Copied:
        copied = Copied()
        for number, (offset, piece) in enumerate(self._layout.placed()):
            match piece:
                case Literal(data):
                    self._put(offset, data)
                case Crc(of):
                    self._put(offset, self._crcs[of].to_bytes(4, "little"))
                case Run() if number not in self._summed:
                    copied += self._copy(offset, piece)
                    continue
                case Run() | Gather():
                    self._pass_through(number, offset, piece)
            copied += Copied(buffered=piece.nbytes)
        return copied

    def _put(self, offset: int, data: bytes) -> None:
        self._writer.write(offset, data)
        self._tick(len(data))

    def _copy(self, offset: int, run: Run) -> Copied:
        copied = Copied()
        reader = self._sources.reader(run.extent.path)
        for done in range(0, run.nbytes, COPY_BYTES):
            part = run.extent.part(done, min(COPY_BYTES, run.nbytes - done))
            copied += self._writer.copy(offset + done, reader, part)
            self._tick(part.length)
        return copied

    def _pass_through(self, number: int, offset: int, piece: Run | Gather) -> None:
        crc, done = 0, 0

        def emit(chunk: bytes | bytearray | memoryview) -> None:
            nonlocal crc, done
            self._writer.write(offset + done, chunk)
            crc = zlib.crc32(chunk, crc)
            done += len(chunk)
            self._tick(len(chunk))

        reader = self._sources.reader(piece.extent.path)
        if isinstance(piece, Gather):
            gather(reader, piece, emit)
        else:
            for chunk in chunks(reader, piece.extent):
                emit(chunk)
            check_crc(piece, crc)
        self._crcs[number] = crc


def check_crc(run: Run, crc: int) -> None:
    """Raise FormatError where the bytes of a run do not have the checksum that the source records for them."""
    if run.crc32 is not None and run.crc32 != crc:
        extent = run.extent
        raise FormatError(
            f"'{extent.path}': the record at byte {extent.offset:,} does not match its CRC-32 "
            f"(recorded {run.crc32:08x}, found {crc:08x})",
            hint="the file is damaged: fetch or save it again; `shardctl verify --deep` lists every such record",
            code="zip-crc-mismatch",
            file=extent.path,
            offset=extent.offset,
        )


def compare(task: ShardTask, store: Store, sources: Sources, tick: Tick) -> None:
    """Read a written file back and compare it with its sources, byte for byte; raise StorageError where it differs.

    Records that carry a checksum are compared with that as well, so a fault of the source is found too.
    """
    crcs: dict[int, int] = {}
    with store.open(task.staged) as written:
        for number, (offset, piece) in enumerate(task.layout.placed()):
            crcs[number] = _compare_piece(piece, offset, written, sources, crcs, tick)


def _compare_piece(
    piece: Piece, offset: int, written: Reader, sources: Sources, crcs: Mapping[int, int], tick: Tick
) -> int:
    crc, done = 0, 0

    def expect(chunk: bytes | bytearray | memoryview) -> None:
        nonlocal crc, done
        found = written.read(offset + done, len(chunk))
        if found != chunk:
            raise StorageError(
                f"'{written.path}' does not hold what was written to it, near byte {offset + done:,}",
                hint="suspect the disk, the memory or the network under the target; nothing was put in place",
                file=written.path,
                offset=offset + done,
            )
        crc = zlib.crc32(found, crc)
        done += len(chunk)
        tick(0)

    match piece:
        case Literal(data):
            expect(data)
        case Crc(of):
            expect(crcs[of].to_bytes(4, "little"))
        case Gather():
            gather(sources.reader(piece.extent.path), piece, expect)
        case Run():
            for chunk in chunks(sources.reader(piece.extent.path), piece.extent):
                expect(chunk)
            check_crc(piece, crc)
    return crc
