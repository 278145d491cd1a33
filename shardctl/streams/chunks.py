"""The bytes of a range, a few at a time, and how many are handled at once."""

from __future__ import annotations

from collections.abc import Iterator

from shardctl.model import Extent
from shardctl.stores.base import Reader
from shardctl.stores.capabilities import streams
from shardctl.stores.optional import pieces

#: Bytes that are summed or compared at a time: enough for a system call to cost nothing, few enough
#: for the caches.
CHUNK_BYTES = 1024 * 1024
#: Bytes of a file that one thread handles at once: large enough to cost nothing, small enough to
#: show progress, to stop soon, and to let the disk begin at once (a fifth faster on a quick disk
#: than with four times as many).
PART_BYTES = 16 * 1024 * 1024


def chunks(reader: Reader, extent: Extent) -> Iterator[bytes | memoryview]:
    """Yield the bytes of an extent, at most CHUNK_BYTES at a time.

    Over a network they come in as they are sent, in one answer.
    """
    if streams(reader):
        return reader.stream(extent)
    return pieces(reader, extent, CHUNK_BYTES)
