"""Compare tensors of which one is a view with strides, element by element in row-major order.

Their bytes do not lie one after another, so that they are read apart from the rest of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from shardctl.errors import ShardctlError
from shardctl.findings import Finding, as_finding
from shardctl.layout import Copy, Gather, tensor_piece
from shardctl.model import Tensor, contiguous_strides
from shardctl.stores.base import Store
from shardctl.streams.chunks import CHUNK_BYTES
from shardctl.streams.gather import feed
from shardctl.streams.pool import in_order
from shardctl.verify.against import Compared, Hash, compared_parts, data_differs, first_difference
from shardctl.verify.twins import Other


def compare_strided(
    store: Store,
    pairs: Sequence[tuple[Tensor, Tensor]],
    other: Other,
    jobs: int,
    meanwhile: Callable[[], None],
) -> Iterator[Compared]:
    """Compare pairs of our tensors, in `store`, and theirs; yield one result each.

    `meanwhile` is called now and then as this thread waits.
    """
    yield from in_order(jobs, lambda pair: _compare(store, *pair, other), pairs, meanwhile)


def _compare(store: Store, tensor: Tensor, twin: Tensor, other: Other) -> Compared:
    ours, theirs = compared_parts(tensor, twin)
    # A digest is that of all elements, so there is none where they are not all read.
    sha = hashlib.sha256() if other.digests and ours.shape == tensor.shape else None
    mine, its = tensor_piece(ours), tensor_piece(theirs)
    try:
        if isinstance(mine, Gather) and isinstance(its, Gather):
            differs = _difference_of_views(store, mine, its, sha, other)
        else:
            differs = _difference(store, mine, its, sha, other)
    except ShardctlError as error:
        broken = replace(as_finding(error), tensor=tensor.name)
        return Compared(tensor.name, 0, None, (broken,))
    nbytes = 2 * ours.nbytes
    if differs is not None:
        found = _differing(differs, ours, tensor, other)
        return Compared(tensor.name, nbytes, None, (found,))
    return Compared(tensor.name, nbytes, None if sha is None else sha.hexdigest(), ())


def _differing(at: int, part: Tensor, tensor: Tensor, other: Other) -> Finding:
    """Return the finding for a tensor of which a part was compared, other from its byte `at` on."""
    element, byte = divmod(at, tensor.dtype.itemsize)
    if len(part.shape) != len(tensor.shape):
        # What the elements share: where in the file is known, in which element is not.
        message = (
            f"the bytes that its elements share differ from those in '{other.name}', first at byte "
            f"{at:,} of them"
        )
        place = _place(element, part.shape, part.strides or contiguous_strides(part.shape))
        offset = part.span.offset + place * tensor.dtype.itemsize + byte
        return replace(data_differs(tensor, other.name, at), message=message, offset=offset)
    place = _place(element, part.shape, contiguous_strides(tensor.shape))
    return data_differs(tensor, other.name, place * tensor.dtype.itemsize + byte)


def _place(element: int, shape: Sequence[int], strides: Sequence[int]) -> int:
    """Return where an element is, by its number in row-major order of `shape`; all in elements."""
    place = 0
    for size, step in zip(reversed(shape), reversed(strides), strict=True):
        element, index = divmod(element, size)
        place += index * step
    return place


def _difference(
    store: Store, mine: Copy | Gather, its: Copy | Gather, sha: Hash | None, other: Other
) -> int | None:
    """Return where a view and a tensor in order differ first, in bytes; None if nowhere.

    `sha` takes in the elements.
    """
    (first, streamed), (second, straight) = (store, mine), (other.store, its)
    if isinstance(its, Gather):
        (first, streamed), (second, straight) = (other.store, its), (store, mine)
    done = 0
    differs: int | None = None
    with first.open(streamed.extent.path) as reader, second.open(straight.extent.path) as twin:

        def see(chunk: bytes | bytearray | memoryview) -> None:
            nonlocal done, differs
            found = twin.read(straight.extent.offset + done, len(chunk))
            if sha is not None:
                sha.update(chunk)
            if differs is None and found != chunk:
                differs = done + first_difference(found, bytes(chunk))
            done += len(chunk)
            other.tick(2 * len(chunk))

        feed(reader, streamed, see)
    return differs


def _difference_of_views(
    store: Store, mine: Gather, its: Gather, sha: Hash | None, other: Other
) -> int | None:
    """Return where two views differ first, in bytes; None if nowhere.

    They come in different chunks, so that digests are compared; only where those differ are the
    views read again, in halves.
    """
    if _digests_equal(store, mine, its, sha or hashlib.sha256(), other):
        return None
    at = 0
    while mine.nbytes > CHUNK_BYTES:
        axis = next(axis for axis, size in enumerate(mine.shape) if size > 1)
        size, half = mine.shape[axis], mine.shape[axis] // 2
        left, left_other = _part(mine, axis, 0, half), _part(its, axis, 0, half)
        if _digests_equal(store, left, left_other, hashlib.sha256(), other):
            mine, its = _part(mine, axis, half, size), _part(its, axis, half, size)
            at += left.nbytes
        else:
            mine, its = left, left_other
    return at + first_difference(_bytes_of(store, mine), _bytes_of(other.store, its))


def _digests_equal(store: Store, mine: Gather, its: Gather, ours: Hash, other: Other) -> bool:
    theirs = hashlib.sha256()
    for place, piece, digest in ((store, mine, ours), (other.store, its, theirs)):
        with place.open(piece.extent.path) as reader:
            feed(reader, piece, digest.update)
        other.tick(piece.nbytes)
    return ours.digest() == theirs.digest()


def _part(view: Gather, axis: int, begin: int, end: int) -> Gather:
    """Return the part of a view from one position along an axis up to another."""
    shape = (*view.shape[:axis], end - begin, *view.shape[axis + 1 :])
    reach = sum((size - 1) * step for size, step in zip(shape, view.strides, strict=True))
    extent = view.extent.part(
        begin * view.strides[axis] * view.itemsize, (reach + 1) * view.itemsize
    )
    return replace(view, extent=extent, shape=shape)


def _bytes_of(store: Store, view: Gather) -> bytes:
    gathered = bytearray()
    with store.open(view.extent.path) as reader:
        feed(reader, view, gathered.extend)
    return bytes(gathered)
