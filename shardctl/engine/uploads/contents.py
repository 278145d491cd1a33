"""The bytes of a file from its first to its last, in bounded memory: uploads take them in order.

Sources are read as for any other file. The checksum of source bytes follows them in every format,
so that it is known when its turn comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from shardctl.checksums import crc32
from shardctl.engine.parts import Handled, Outcome, Part, checksum, rest, stretches
from shardctl.engine.sources import Sources
from shardctl.engine.task import copied_checks
from shardctl.layout import Check, Copy, Crc, Layout, Literal
from shardctl.model import Extent
from shardctl.stores.base import Copied
from shardctl.streams.chunks import chunks
from shardctl.streams.elements import Chunk, elements
from shardctl.streams.progress import Tick


def contents(
    layout: Layout,
    sources: Sources,
    left_out: Sequence[tuple[int, int]],
    tick: Tick,
    outcome: Outcome,
) -> Iterator[Chunk]:
    """Yield the bytes of a file in order, but for the ranges `left_out`, within copies of sources.

    Each is a begin and an end in the file, in bytes; they are in order. `tick` is given the bytes
    that are yielded; `outcome` is what was found once all were. Raises what the sources raise.
    """
    waiting = deque(
        (offset, number, piece)
        for number, (offset, piece) in enumerate(layout.placed())
        if isinstance(piece, Crc)
    )
    skipped = deque(left_out)
    checks = copied_checks(layout)
    wanted = frozenset(checks.values())

    def due(before: int) -> Iterator[bytes]:
        while waiting and waiting[0][0] < before:
            _, number, piece = waiting.popleft()
            outcome.written[number] = True
            yield counted(checksum(layout, outcome.crcs, piece))

    def counted(data: bytes) -> bytes:
        outcome.copied += Copied(buffered=len(data))
        tick(len(data))
        return data

    for stretch in stretches(layout):
        for part in stretch:
            yield from due(part.offset)
            crc, done = 0, 0
            summed = _is_summed(part) or part.number in wanted
            for chunk in _bytes(part, sources, checks, skipped):
                crc = crc32(chunk, crc) if summed else 0
                if not isinstance(part.piece, Check):
                    done += len(chunk)
                    yield chunk
                tick(len(chunk) if not isinstance(part.piece, Check) else 0)
            whole = isinstance(part.piece, Check) or done == part.piece.nbytes
            outcome.add(part, Handled(Copied(buffered=done), crc if summed and whole else None))
    for check, copy in checks.items():
        outcome.crcs[check] = outcome.crcs.get(copy)
    for _, data in rest(layout, outcome):
        yield counted(data)


def _is_summed(part: Part) -> bool:
    """Whether the checksum of a part is written, or compared with a recorded one."""
    piece = part.piece
    return part.summed or (isinstance(piece, Copy) and piece.crc32 is not None)


def _bytes(
    part: Part, sources: Sources, checks: dict[int, int], skipped: deque[tuple[int, int]]
) -> Iterator[Chunk]:
    """Yield the bytes that are read for a part, without those that are left out of the file."""
    match part.piece:
        case Literal(data):
            yield data
        case Check(extent):
            if part.number not in checks:  # else they are summed where they are copied
                yield from _read(extent, sources)
        case Copy(extent):
            for kept in _kept(part.offset, extent, skipped):
                yield from _read(kept, sources)
        case _:
            yield from elements(sources.reader, part.piece)


def _read(extent: Extent, sources: Sources) -> Iterator[Chunk]:
    with sources.reader(extent.path) as reader:
        yield from chunks(reader, extent)


def _kept(offset: int, extent: Extent, skipped: deque[tuple[int, int]]) -> Iterator[Extent]:
    """Yield what is left of an extent at `offset` in the file without the ranges over it."""
    begin, end = offset, offset + extent.length
    while skipped and skipped[0][0] < end:
        start, stop = skipped[0]
        if begin < start:
            yield extent.part(begin - offset, start - begin)
        begin = min(max(begin, stop), end)
        if stop > end:
            break
        skipped.popleft()
    if begin < end:
        yield extent.part(begin - offset, end - begin)
