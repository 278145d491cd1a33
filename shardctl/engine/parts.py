"""A file in parts, which several threads can write or compare at once.

A layout is cut into stretches of about `PART_BYTES`: many small pieces together, or a part of a
large one. Stretches are handled in parallel and their results folded in order; the CRC-32 of a
copy follows from those of its parts, as does that of source bytes that are only checked. What
follows the last source bytes comes afterwards, since all checksums may stand in it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from itertools import islice
from typing import Self

from shardctl.checksums import combine
from shardctl.layout import Check, Copy, Crc, Elements, Layout, Literal
from shardctl.stores.base import Copied
from shardctl.streams.chunks import PART_BYTES
from shardctl.streams.elements import cut
from shardctl.streams.pool import in_order

_NOTHING = Copied()
#: Pieces of one stretch. Each takes some hundred bytes while it is handled, however small it is.
_MOST_PIECES = 2_000


@dataclass(frozen=True, slots=True)
class Part:
    """A piece, or the part of a copy or a check, with its offset in the file, in bytes.

    `number` is the piece's index in the layout. `summed`: another piece of the file is the checksum
    of this one.
    """

    number: int
    offset: int
    piece: Literal | Elements | Check
    summed: bool

    @property
    def handled(self) -> int:
        """Bytes that are read or written for it; of a check none are in the file."""
        return self.piece.extent.length if isinstance(self.piece, Check) else self.piece.nbytes


@dataclass(frozen=True, slots=True)
class Handled:
    """The result for a part: how its bytes were copied, and their CRC-32 where it was taken.

    `closed`: the checksum that follows it in the file was written as well.
    """

    copied: Copied = _NOTHING
    crc32: int | None = None
    closed: bool = False


class Crcs(MutableMapping[int, int | None]):
    """The CRC-32 of pieces, by number; None where not all bytes were summed.

    They are in arrays with a place for each piece: a dictionary takes a hundred bytes for each.
    """

    def __init__(self, pieces: int) -> None:
        self._sums = array("I", bytes(array("I").itemsize * pieces))
        self._states = bytearray(pieces)  # 0: nothing is known, 1: summed, 2: not summed

    def __getitem__(self, number: int) -> int | None:
        state = self._states[number]
        if not state:
            raise KeyError(number)
        return self._sums[number] if state == 1 else None

    def __setitem__(self, number: int, crc32: int | None) -> None:
        self._states[number] = 2 if crc32 is None else 1
        self._sums[number] = crc32 or 0

    def __delitem__(self, number: int) -> None:
        self._states[number] = 0

    def __iter__(self) -> Iterator[int]:
        return (number for number, state in enumerate(self._states) if state)

    def __len__(self) -> int:
        return len(self._states) - self._states.count(0)


@dataclass(slots=True)
class Outcome:
    """The result for a whole layout.

    `crcs` are those of pieces. `written` says of each piece, by number, whether it is a checksum
    that is in the file already.
    """

    crcs: Crcs
    written: bytearray  # a set would take a hundred bytes for each
    copied: Copied = _NOTHING

    @classmethod
    def of(cls, layout: Layout) -> Self:
        """Return the result before anything was done."""
        return cls(Crcs(len(layout.pieces)), bytearray(len(layout.pieces)))

    def add(self, part: Part, handled: Handled) -> None:
        """Add the result for the next part of the file."""
        self.copied += handled.copied
        if handled.closed:
            self.written[part.number + 1] = True
        if isinstance(part.piece, Literal):
            return
        known = self.crcs.get(part.number, 0)
        both = known is not None and handled.crc32 is not None
        self.crcs[part.number] = (
            combine(known or 0, handled.crc32 or 0, part.handled) if both else None
        )


def handle_parts(
    layout: Layout, threads: int, handle: Callable[[list[Part]], Iterable[Handled]]
) -> Outcome:
    """Pass every stretch to `handle`, up to `threads` at once; it returns a result for each part.

    Raises what `handle` raises. Whether source bytes have the checksums recorded for them, `damage`
    says afterwards.
    """

    def handle_stretch(stretch: list[Part]) -> list[tuple[Part, Handled]]:
        return list(zip(stretch, handle(stretch), strict=True))

    outcome = Outcome.of(layout)
    for handled in in_order(threads, handle_stretch, stretches(layout)):
        for part, result in handled:
            outcome.add(part, result)
    return outcome


def rest(layout: Layout, outcome: Outcome) -> Iterator[tuple[int, bytes]]:
    """Yield the pieces that no stretch has, each with its offset, once all stretches were handled.

    These are the `Crc` pieces, but for those that were written, and what follows the last source
    bytes.
    """
    end = _end(layout)
    for number, (offset, piece) in enumerate(layout.placed()):
        if isinstance(piece, Crc) and not outcome.written[number]:
            yield offset, checksum(layout, outcome.crcs, piece)
        elif isinstance(piece, Literal) and number >= end:
            yield offset, piece.data


def checksum(layout: Layout, crcs: Mapping[int, int | None], piece: Crc) -> bytes:
    """Return the bytes of one `Crc` piece, from the checksums of the pieces that it is of.

    They are four, little-endian.
    """
    crc = 0
    for number in range(piece.of, piece.of + piece.count):
        crc = combine(crc, crcs[number] or 0, layout.pieces[number].nbytes)
    return crc.to_bytes(4, "little")


def stretches(layout: Layout) -> Iterator[list[Part]]:
    """Yield the parts of a file in order, in groups of about `PART_BYTES` or `_MOST_PIECES`."""
    stretch: list[Part] = []
    filled = 0
    for part in _parts(layout):
        stretch.append(part)
        filled += part.handled
        if filled >= PART_BYTES or len(stretch) == _MOST_PIECES:
            yield stretch
            stretch, filled = [], 0
    if stretch:
        yield stretch


def _end(layout: Layout) -> int:
    """Return the number of the first piece after the last one that reads source bytes."""
    end = len(layout.pieces)
    while end and isinstance(layout.pieces[end - 1], Literal | Crc):
        end -= 1
    return end


def _parts(layout: Layout) -> Iterator[Part]:
    summed = summed_pieces(layout)
    for number, (offset, piece) in enumerate(islice(layout.placed(), _end(layout))):
        match piece:
            case Crc():
                continue
            case Literal():
                yield Part(number, offset, piece, bool(summed[number]))
            case Copy() if offset // PART_BYTES == (offset + piece.nbytes - 1) // PART_BYTES:
                yield Part(number, offset, piece, bool(summed[number]))
            case Copy():
                for begin, end in _cuts(offset, piece.nbytes):
                    extent = piece.extent.part(begin - offset, end - begin)
                    yield Part(number, begin, Copy(extent, piece.crc32), bool(summed[number]))
            case Check():
                for begin, end in _cuts(0, piece.extent.length):
                    extent = piece.extent.part(begin, end - begin)
                    check = Check(extent, piece.crc32, piece.tensor)
                    yield Part(number, offset, check, summed=True)
            case _:
                begin = offset
                for part in cut(piece, PART_BYTES):
                    yield Part(number, begin, part, bool(summed[number]))
                    begin += part.nbytes


def summed_pieces(layout: Layout) -> bytearray:
    """Return for each piece whether another one is its checksum."""
    summed = bytearray(len(layout.pieces))  # a set would take a hundred bytes for each
    for piece in layout.pieces:
        if isinstance(piece, Crc):
            summed[piece.of : piece.of + piece.count] = b"\1" * piece.count
    return summed


def _cuts(offset: int, nbytes: int) -> Iterator[tuple[int, int]]:
    """Yield where parts of a copy begin and end, counted as `offset` is.

    Cut at multiples of `PART_BYTES`, and so between blocks.
    """
    begin, last = offset, offset + nbytes
    while begin < last:
        end = min(begin - begin % PART_BYTES + PART_BYTES, last)
        yield begin, end
        begin = end
