"""Compare tensors of which one is a view with strides or is made from others, in row-major order.

Their bytes do not lie one after another, so that they are read apart from the rest of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from shardctl.errors import ShardctlError, UsageError
from shardctl.findings import Finding, as_finding
from shardctl.model import Tensor, contiguous_strides
from shardctl.repeats import compared_parts
from shardctl.stores.base import Store
from shardctl.streams.elements import elements_of, in_step
from shardctl.streams.pool import in_order
from shardctl.verify.against import Compared, Hash, data_differs, first_difference
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
    try:
        differs = _difference(store, ours, theirs, sha, other)
    except UsageError:
        raise  # What converts is not installed, which says nothing about the checkpoints.
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
    store: Store, ours: Tensor, theirs: Tensor, sha: Hash | None, other: Other
) -> int | None:
    """Return where the elements of two tensors differ first, in bytes; None if nowhere.

    `sha` takes in the elements.
    """
    done = 0
    differs: int | None = None
    for mine, its in in_step(elements_of(store.open, ours), elements_of(other.store.open, theirs)):
        if sha is not None:
            sha.update(mine)
        if differs is None and mine != its:
            differs = done + first_difference(mine, its)
        done += len(mine)
        other.tick(2 * len(mine))
    return differs
