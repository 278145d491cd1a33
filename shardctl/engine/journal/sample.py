"""A digest of a few source blocks of a file, whatever its size.

It tells a later run whether the sources still hold what went into the file, where their size and
times say so and do not tell the truth: both can be set. What changed between the blocks is not
seen. Sources across a network are not sampled: the mark of their version is the server's own, and
each block would be a request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from shardctl.engine.sources import Sources
from shardctl.layout import Layout, extents_of
from shardctl.model import Extent
from shardctl.stores.base import Store
from shardctl.stores.capabilities import Remote

#: The most blocks of a sample, and the bytes of one: few enough to be read in a moment from a disk
#: that has to seek for each.
BLOCKS, BLOCK_BYTES = 64, 16 * 1024
#: The most blocks of a sample of one file alone, of which a source may have hundreds.
FEW_BLOCKS = 8


def sample(layout: Layout, sources: Sources) -> str:
    """Return the SHA-256 of the sampled source blocks of a layout, in hexadecimal.

    Raises SourceChangedError and what reading raises.
    """
    sha = hashlib.sha256()
    if sources.remote:
        return sha.hexdigest()
    for extent in sampled(layout):
        with sources.reader(extent.path) as reader:
            sha.update(reader.read(extent.offset, extent.length))
    return sha.hexdigest()


def sample_file(store: Store, path: str, size: int) -> str | None:
    """Return the SHA-256 of `FEW_BLOCKS` of a file of `size` bytes, in hexadecimal.

    It is the same through every mount and in every copy of the file. None of a file across a
    network. Raises SourceChangedError where the file is shorter, and what reading raises.
    """
    if isinstance(store, Remote):
        return None
    sha = hashlib.sha256()
    with store.open(path) as reader:
        for extent in _spread([Extent(path, 0, size)], FEW_BLOCKS):
            sha.update(reader.read(extent.offset, extent.length))
    return sha.hexdigest()


def sampled(layout: Layout) -> Iterator[Extent]:
    """Yield the sampled blocks: evenly spread over the source bytes, the first and last included.

    They follow from the layout alone. Each lies within one extent and may be shorter than
    `BLOCK_BYTES`; no byte is in two of them.
    """
    return _spread(list(_extents(layout)), BLOCKS)


def _spread(extents: Sequence[Extent], blocks: int) -> Iterator[Extent]:
    last = sum(extent.length for extent in extents) - 1
    positions = [last * number // (blocks - 1) for number in range(blocks)]
    begin = done = number = 0  # bytes are counted over all extents
    for extent in extents:
        end = begin + extent.length
        while number < blocks and positions[number] < end:
            start = max(begin, done, min(positions[number], end - BLOCK_BYTES))
            done = min(start + BLOCK_BYTES, end)
            if start < done:
                yield extent.part(start - begin, done - start)
            number += 1
        begin = end


def _extents(layout: Layout) -> Iterator[Extent]:
    return (extent for piece in layout.pieces for extent in extents_of(piece))
