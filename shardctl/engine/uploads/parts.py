"""Cut a file into the parts of an upload: those that are sent, and those that the server copies.

Every part but the last has at least as many bytes as the store asks for. So the header of a file is
sent together with the first bytes after it, and what lies between two copied ranges with the first
bytes of the second one. The bytes of the file are those of its layout in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shardctl.errors import UsageError
from shardctl.layout import Copy, Layout
from shardctl.model import Extent
from shardctl.stores.uploads import PartLimits

#: Bytes of a part that is sent, where the file does not need larger ones: several are in memory for
#: each file. And those of a part that the server copies: it copies several at once.
SENT_BYTES, COPIED_BYTES = 8 * 1024 * 1024, 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A part of a file: its number, from 1, and its place in the file, in bytes.

    `extent` is the range of a source file that the server copies; None where bytes are sent.
    """

    number: int
    offset: int
    nbytes: int
    extent: Extent | None = None


def plan_parts(
    layout: Layout, limits: PartLimits, is_copied: Callable[[int], bool]
) -> tuple[PlannedPart, ...]:
    """Return the parts of a file, in order; an empty file has one without bytes.

    `is_copied` says of the pieces that are copies, by number, whether the server may copy them.
    Raises UsageError for a file of more bytes than an upload can have.
    """
    # A quarter of all parts is enough for the copied ranges, another for what lies between them,
    # and each of the others for cutting these.
    quarter = -(-layout.nbytes * 4 // limits.count)
    if quarter * 2 > limits.most:
        raise UsageError(
            f"a file of {layout.nbytes:,} bytes is too large for the target's uploads",
            hint="choose a smaller `max_shard_size`",
        )
    least = max(limits.least, quarter)
    sent = min(max(SENT_BYTES, least), limits.most // 2)
    copied = min(max(COPIED_BYTES, 2 * least), limits.most // 2)
    parts: list[PlannedPart] = []
    for offset, nbytes, extent in _stretches(layout, least, is_copied):
        size = sent if extent is None else copied
        last = offset + nbytes == layout.nbytes
        for begin, length in _cut(nbytes, size, rest=last):
            source = None if extent is None else extent.part(begin, length)
            parts.append(PlannedPart(len(parts) + 1, offset + begin, length, source))
    return tuple(parts)


def _stretches(
    layout: Layout, least: int, is_copied: Callable[[int], bool]
) -> Iterator[tuple[int, int, Extent | None]]:
    """Yield what is sent and what is copied in turn: offset, bytes, and the range to copy."""
    sent = 0  # where what is to be sent begins
    for number, (offset, piece) in enumerate(layout.placed()):
        if not isinstance(piece, Copy) or not is_copied(number):
            continue
        end = offset + piece.nbytes
        begin = offset if offset == sent else max(offset, sent + least)
        # Only the last part of a file may be small.
        if end - begin < (1 if end == layout.nbytes else least):
            continue
        if sent < begin:
            yield sent, begin - sent, None
        yield begin, end - begin, piece.extent.part(begin - offset, end - begin)
        sent = end
    if sent < layout.nbytes or not layout.nbytes:
        yield sent, layout.nbytes - sent, None


def _cut(nbytes: int, size: int, *, rest: bool) -> Iterator[tuple[int, int]]:
    """Yield offset and bytes of parts of `size`; what is left is a part only with `rest`.

    Without it the part before is larger, by less than `size`.
    """
    count = max(1, -(-nbytes // size) if rest else nbytes // size)
    for number in range(count):
        end = nbytes if number == count - 1 else (number + 1) * size
        yield number * size, end - number * size
