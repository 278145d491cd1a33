"""Write one file from its task, on any thread, process or machine.

A task is a value: it carries the whole layout and the versions of the sources that it was planned
for. Sources are compared with those when they are opened and again when the last byte was read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shardctl.checksums import crc32
from shardctl.engine.damage import Damage, damage
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.journal.sample import sample
from shardctl.engine.parts import Handled, Part, checksum, handle_parts, rest
from shardctl.engine.sources import Sources
from shardctl.engine.together import Near, Together
from shardctl.errors import StorageError
from shardctl.layout import Check, Copy, Crc, Layout, Literal
from shardctl.model import Extent, Version
from shardctl.stores.base import Copied, Reader, Store, Writer
from shardctl.stores.capabilities import streams
from shardctl.stores.optional import drop_cache
from shardctl.streams.chunks import chunks
from shardctl.streams.elements import Chunk, elements
from shardctl.streams.progress import Tick, no_tick

#: Bytes of a page, and of most filesystems' blocks: what is smaller is not shared with its source.
LEAST_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One file to write.

    `staged` is its path in the target store, `filename` its final name. The extents of the layout
    and `sources`, the versions that it was planned for, are of files of the source store. `digest`
    asks for the SHA-256, `read_back` for a comparison of what was written with the sources;
    `accept_damage` writes bytes that do not have the checksum recorded for them, and names them in
    the receipt; `threads` parts of the file are handled at once.
    """

    filename: str
    staged: str
    layout: Layout
    sources: Mapping[str, Version]
    digest: bool = False
    read_back: bool = False
    accept_damage: bool = False
    threads: int = 1


def write(task: ShardTask, source: Store, target: Store, tick: Tick) -> Receipt:
    """Write the file under its staged name, durably.

    Raises SourceChangedError, FormatError (a record of a source that does not match its checksum,
    where that does not go on with all its bytes), StorageError, and what `tick` raises. What was
    written by then is for the caller to discard.
    """
    with Sources(source, task.sources) as sources:
        with target.create(task.staged, task.layout.nbytes) as writer:
            copied, damaged = _fill(task, sources, writer, tick)
            sampled = sample(task.layout, sources)
            sources.check_unchanged()
            # Where the file can be read before it is closed, the disk writes meanwhile: the bytes
            # are still in memory, and the sync after this is a short one.
            early = task.digest and target.kind(task.staged) == "file"
            sha256 = digest(target, task.staged, tick) if early else None
            writer.sync()
        if task.digest and not early:
            sha256 = digest(target, task.staged, tick)
        if task.read_back:
            drop_cache(target, task.staged)
            compare(task, target, sources, tick)
    places = tuple(each.place for each in damaged)
    return Receipt(task.filename, task.layout.nbytes, sha256, copied, places, sampled)


def digest(store: Store, path: str, tick: Tick) -> str:
    """Return the SHA-256 of a file, in hexadecimal; reads it once."""
    sha = hashlib.sha256()
    with store.open(path) as reader:
        reader.will_stream()
        for chunk in chunks(reader, Extent(path, 0, reader.version.size)):
            sha.update(chunk)
            tick(0)
    return sha.hexdigest()


def _fill(
    task: ShardTask, sources: Sources, writer: Writer, tick: Tick
) -> tuple[Copied, tuple[Damage, ...]]:
    """Write every piece, and the checksums last.

    Return how the bytes were copied, and the damage that was accepted.
    """
    copied = copied_checks(task.layout) if sources.remote else {}

    def put(part: Part, together: Together, near: Near) -> Handled:
        match part.piece:
            case Literal(data):
                together.write(part.offset, data)
                handled = Handled(Copied(buffered=len(data)))
            case Copy():
                handled = _copy(part, part.piece, sources, writer, together, near)
            case Check(extent):
                known = part.number in copied
                handled = Handled() if known else _summed(extent, sources)
            case _:
                return _put(part, elements(sources.reader, part.piece), together, tick)
        tick(part.piece.nbytes)
        return handled

    def put_all(stretch: list[Part]) -> list[Handled]:
        found: list[Handled] = []
        crcs: dict[int, int | None] = {}
        near = Near()
        with Together(writer) as together:
            for part in stretch:
                handled = put(part, together, near)
                if part.piece.nbytes == task.layout.pieces[part.number].nbytes:
                    crcs[part.number] = handled.crc32
                    handled = _close(part, handled, task.layout, crcs, together, tick)
                found.append(handled)
        return found

    outcome = handle_parts(task.layout, task.threads, put_all)
    for check, copy in copied.items():
        outcome.crcs[check] = outcome.crcs[copy]
    damaged = damage(task.layout, outcome, accept=task.accept_damage)
    with Together(writer) as together:
        for offset, data in rest(task.layout, outcome):
            together.write(offset, data)
            outcome.copied += Copied(buffered=len(data))
            tick(len(data))
    return outcome.copied, damaged


def copied_checks(layout: Layout) -> dict[int, int]:
    """Return the checks of bytes that are copied as well, each with the number of the copy.

    What comes over a network is summed on the way, and need not be fetched again.
    """
    checks = {
        piece.extent: number
        for number, piece in enumerate(layout.pieces)
        if isinstance(piece, Check)
    }
    return {
        checks[piece.extent]: number
        for number, piece in enumerate(layout.pieces)
        if checks and isinstance(piece, Copy) and piece.extent in checks
    }


def _close(
    part: Part,
    handled: Handled,
    layout: Layout,
    crcs: Mapping[int, int | None],
    together: Together,
    tick: Tick,
) -> Handled:
    """Write the checksum that follows a piece, where all that it is of was summed in the stretch.

    Other checksums are written when all stretches were handled.
    """
    number = part.number + 1
    piece = layout.pieces[number] if number < len(layout.pieces) else None
    if not isinstance(piece, Crc):
        return handled
    if any(crcs.get(each) is None for each in range(piece.of, piece.of + piece.count)):
        return handled
    data = checksum(layout, crcs, piece)
    together.write(part.offset + part.piece.nbytes, data)
    tick(len(data))
    return Handled(handled.copied + Copied(buffered=len(data)), handled.crc32, closed=True)


def _copy(
    part: Part, piece: Copy, sources: Sources, writer: Writer, together: Together, near: Near
) -> Handled:
    """Copy by the cheapest way. Where a checksum is needed, the bytes are read again for it.

    They are in memory by then, unless they came over a network: those are summed as they come in.
    What is smaller than a block passes through memory, with its neighbours.
    """
    with sources.reader(piece.extent.path) as reader:
        if streams(reader):
            return _put(part, reader.stream(piece.extent), together, no_tick)
        if piece.nbytes < LEAST_BLOCK:
            data = near.read(reader, piece.extent)
            together.write(part.offset, data)
            summed = part.summed or piece.crc32 is not None
            return Handled(Copied(buffered=len(data)), crc32(data) if summed else None)
        copied = writer.copy(part.offset, reader, piece.extent)
        seen = copied.buffered == piece.nbytes and piece.crc32 is not None
        return Handled(copied, _sum(reader, piece.extent) if part.summed or seen else None)


def _summed(extent: Extent, sources: Sources) -> Handled:
    """Sum source bytes. Most were copied just before, so they are in memory."""
    with sources.reader(extent.path) as reader:
        return Handled(crc32=_sum(reader, extent))


def _sum(reader: Reader, extent: Extent) -> int:
    crc = 0
    for chunk in chunks(reader, extent):
        crc = crc32(chunk, crc)
    return crc


def _put(part: Part, passing: Iterable[Chunk], together: Together, tick: Tick) -> Handled:
    """Write and sum bytes that pass through memory, a few at a time."""
    crc, done = 0, 0
    for chunk in passing:
        together.write(part.offset + done, chunk)
        crc = crc32(chunk, crc)
        done += len(chunk)
        tick(len(chunk))
    return Handled(Copied(buffered=done), crc)


def compare(task: ShardTask, target: Store, sources: Sources, tick: Tick) -> tuple[Damage, ...]:
    """Read a written file back and compare it with its sources, byte for byte.

    Records of the sources are compared with their checksums as well. Raises StorageError where the
    file differs, FormatError for damage unless the task accepts it: then it is returned.
    """
    with target.open(task.staged) as written:
        written.will_stream()
        outcome = handle_parts(
            task.layout,
            task.threads,
            lambda stretch: [_compare_part(part, written, sources, tick) for part in stretch],
        )
        damaged = damage(task.layout, outcome, accept=task.accept_damage)
        for offset, data in rest(task.layout, outcome):
            _expect(written, offset, data)
    return damaged


def compared(task: ShardTask, target: Store, sources: Sources) -> tuple[Damage, ...] | None:
    """Compare a file that was written earlier with its sources, as `compare` does.

    Return the damage that is accepted; None where the file differs or cannot be read.
    """
    if task.read_back:
        drop_cache(target, task.staged)
    try:
        return compare(task, target, sources, no_tick)
    except StorageError:
        return None


def _compare_part(part: Part, written: Reader, sources: Sources, tick: Tick) -> Handled:
    match part.piece:
        case Literal(data):
            _expect(written, part.offset, data)
            tick(0)
            return Handled()
        case Check(extent):
            tick(0)
            return _summed(extent, sources)
        case _:
            crc, done = 0, 0
            for chunk in elements(sources.reader, part.piece):
                _expect(written, part.offset + done, chunk)
                crc = crc32(chunk, crc)
                done += len(chunk)
                tick(0)
            return Handled(crc32=crc)


def _expect(written: Reader, offset: int, data: bytes | bytearray | memoryview) -> None:
    if written.read(offset, len(data)) != data:
        raise StorageError(
            f"'{written.path}' does not hold what was written to it, near byte {offset:,}",
            hint="the disk, the memory or the network of the target may be failing; no file was "
            "replaced",
            file=written.path,
            offset=offset,
        )
