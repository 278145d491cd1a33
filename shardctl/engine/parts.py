"""A file in parts: what several threads can write or compare at once, and how the checksums of parts become one.

A layout is cut into stretches of about `PART_BYTES`: many small pieces together, or a part of a
large run. Stretches are handled side by side and their results folded in order; the CRC-32 of a run
follows from those of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from shardctl.checksums import combine
from shardctl.errors import FormatError
from shardctl.layout import Copy, Crc, Gather, Layout, Literal
from shardctl.stores.base import Copied
from shardctl.streams.pool import in_order

#: Bytes handled at once: large enough to cost nothing, small enough to show progress, to stop soon,
#: and to let the disk begin at once (a fifth faster on a quick disk than with four times as many).
PART_BYTES = 16 * 1024 * 1024

_NOTHING = Copied()


@dataclass(frozen=True, slots=True)
class Part:
    """A piece, or the part of a run, with its offset in the file. `number` is the piece's in the layout.

    `summed`: another piece of the file is the checksum of this one.
    """

    number: int
    offset: int
    piece: Literal | Copy | Gather
    summed: bool


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of a part: the way its bytes took, and their CRC-32 where they were summed."""

    copied: Copied = _NOTHING
    crc32: int | None = None


@dataclass(slots=True)
class Outcome:
    """What became of a whole layout. `crcs` are those of pieces, by number; None where not all bytes were summed."""

    copied: Copied = _NOTHING
    crcs: dict[int, int | None] = field(default_factory=dict)

    def add(self, part: Part, handled: Handled) -> None:
        """Take in the next part of the file."""
        self.copied += handled.copied
        if isinstance(part.piece, Literal):
            return
        known = self.crcs.get(part.number, 0)
        both = known is not None and handled.crc32 is not None
        self.crcs[part.number] = (
            combine(known or 0, handled.crc32 or 0, part.piece.nbytes) if both else None
        )


def handle_parts(layout: Layout, threads: int, handle: Callable[[Part], Handled]) -> Outcome:
    """Hand every piece but the checksums to `handle`, up to `threads` stretches of the file at once.

    Raises FormatError where a run does not have the checksum that its source records, and what
    `handle` raises.
    """

    def handle_stretch(stretch: list[Part]) -> list[tuple[Part, Handled]]:
        return [(part, handle(part)) for part in stretch]

    outcome = Outcome()
    for handled in in_order(threads, handle_stretch, stretches(layout)):
        for part, result in handled:
            outcome.add(part, result)
    for number, piece in enumerate(layout.pieces):
        if isinstance(piece, Copy):
            _check_crc(piece, outcome.crcs.get(number))
    return outcome


def checksums(layout: Layout, outcome: Outcome) -> Iterator[tuple[int, bytes]]:
    """The `Crc` pieces of a layout, each with its offset: four bytes, little-endian."""
    for offset, piece in layout.placed():
        if isinstance(piece, Crc):
            yield offset, (outcome.crcs[piece.of] or 0).to_bytes(4, "little")


def stretches(layout: Layout) -> Iterator[list[Part]]:
    """The parts of a file in order, in groups of about `PART_BYTES`."""
    stretch: list[Part] = []
    filled = 0
    for part in _parts(layout):
        stretch.append(part)
        filled += part.piece.nbytes
        if filled >= PART_BYTES:
            yield stretch
            stretch, filled = [], 0
    if stretch:
        yield stretch


def _parts(layout: Layout) -> Iterator[Part]:
    summed = {piece.of for piece in layout.pieces if isinstance(piece, Crc)}
    for number, (offset, piece) in enumerate(layout.placed()):
        if isinstance(piece, Copy):
            for begin, end in _cuts(offset, piece.nbytes):
                extent = piece.extent.part(begin - offset, end - begin)
                yield Part(number, begin, Copy(extent, piece.crc32), number in summed)
        elif not isinstance(piece, Crc):
            yield Part(number, offset, piece, number in summed)


def _cuts(offset: int, nbytes: int) -> Iterator[tuple[int, int]]:
    """Where parts of a run begin and end in the file: cut at multiples of `PART_BYTES`, and so between blocks."""
    begin, last = offset, offset + nbytes
    while begin < last:
        end = min(begin - begin % PART_BYTES + PART_BYTES, last)
        yield begin, end
        begin = end


def _check_crc(run: Copy, crc32: int | None) -> None:
    """Raise FormatError where the bytes of a run were summed and do not have the checksum recorded for them."""
    if run.crc32 is not None and crc32 is not None and run.crc32 != crc32:
        extent = run.extent
        raise FormatError(
            f"'{extent.path}': the record at byte {extent.offset:,} does not match its CRC-32 "
            f"(recorded {run.crc32:08x}, found {crc32:08x})",
            hint="the file is damaged: fetch or save it again; `shardctl verify --deep` lists every such record",
            code="zip-crc-mismatch",
            file=extent.path,
            offset=extent.offset,
        )
