"""Zeros where tensors should be: holes of a sparse file, and a run of zeros up to the last tensor.

A download that allocates the whole file first and is interrupted leaves one or the other, and every
loader reads them as weights. Zeros can be meant (a bias that was never trained): so these are
warnings, and none where a checksum vouches for the bytes.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter, itemgetter

from shardctl.columns import Tensors, names_of, spans_of
from shardctl.findings import Finding
from shardctl.model import Extent, File, Tensor
from shardctl.stores.base import Store
from shardctl.stores.optional import holes
from shardctl.streams.chunks import CHUNK_BYTES
from shardctl.text import plural

#: A tensor counts as zeros where it ends with so many of them, or has no other bytes. Shorter runs
#: are what many numbers end with.
_RUN_BYTES = 4096
#: Holes of one file that are looked at: a hostile one can have one in every other block.
_MOST_HOLES = 100_000
_HINT = (
    "an unfinished download or save: fetch it again; where the zeros may be meant, compare the "
    "checkpoint with its source (`against`)"
)


def hole(store: Store, file: File, tensors: Sequence[Tensor]) -> Finding | None:
    """Return the finding for the holes of a file that reach into its tensors; None without any.

    Nothing is read: the store says where they are.
    """
    found = list(itertools.islice(holes(store, file.path), _MOST_HOLES))
    if not found:
        return None
    ends = [extent.end for extent in found]
    begins = [*(extent.offset for extent in found), math.inf]
    stored = _stored(tensors)
    hit = [
        (begin, begin + length, name)
        for name, (begin, length) in zip(names_of(stored), spans_of(stored), strict=True)
        if begins[bisect_right(ends, begin)] < begin + length
    ]
    if not hit:
        return None
    foremost, _, name = min(hit, key=itemgetter(0))
    # What reads as zeros.
    first = max(foremost, found[bisect_right(ends, foremost)].offset)
    last = max(end for _, end, _ in hit)
    nbytes = sum(max(0, min(each.end, last) - max(each.offset, first)) for each in found)
    message = (
        f"{nbytes:,} bytes were never written (holes in the file): "
        f"{plural(len(hit), 'tensor')} read as zeros there"
    )
    return _finding(file, first, name, message)


def zero_tail(store: Store, file: File, tensors: Sequence[Tensor]) -> Finding | None:
    """Return the finding for zeros over several tensors up to the end of the last one; else None.

    Reads backwards from there, and no further than to the first byte that is not zero.
    """
    held = [tensor for tensor in _stored(tensors) if tensor.nbytes]
    end = max((tensor.span.end for tensor in held), default=0)
    begin = _run_before(store, Extent(file.path, 0, end))
    zeros = [
        tensor
        for tensor in held
        if tensor.span.end - max(begin, tensor.span.offset) >= min(_RUN_BYTES, tensor.span.length)
    ]
    if end - begin < _RUN_BYTES or len({tensor.span.offset for tensor in zeros}) < 2:
        return None
    first = min(zeros, key=attrgetter("begin"))
    offset = max(begin, first.span.offset)
    message = (
        f"the last {end - offset:,} bytes of the tensors are zeros: "
        f"{plural(len(zeros), 'tensor')} in whole or in part"
    )
    return _finding(file, offset, first.name, message)


def _stored(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the tensors whose bytes are in a file as they are."""
    if isinstance(tensors, Tensors):
        return tensors
    return [tensor for tensor in tensors if tensor.storage.made is None]


def _run_before(store: Store, extent: Extent) -> int:
    """Return the offset after the last byte of an extent that is not zero.

    That is its start without one.
    """
    end, step = extent.end, _RUN_BYTES
    with store.open(extent.path) as reader:
        while end > extent.offset:
            begin = max(extent.offset, end - step)
            rest = len(reader.read(begin, end - begin).rstrip(b"\0"))
            if rest:
                return begin + rest
            end, step = begin, CHUNK_BYTES
    return end


def _finding(file: File, offset: int, tensor: str, message: str) -> Finding:
    return Finding("tensor-zero-run", "warning", message, _HINT, file.path, tensor, offset)
