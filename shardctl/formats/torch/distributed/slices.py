"""The part of a tensor that one of several processes saved, as each class of torch describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shardctl.formats.pickle.values import ViewRef
from shardctl.formats.torch.distributed import dtensor, sharded
from shardctl.formats.torch.distributed.dtensor import LocalPart, boxes_of, local_part
from shardctl.formats.torch.distributed.sharded import LocalShards, local_shards
from shardctl.formats.torch.tree.unread import Held
from shardctl.model import Box, Dtype, Slice, Tensor

Part = LocalPart | LocalShards


def is_known(name: str) -> bool:
    """Whether a name to import is that of a class which such parts are made of."""
    return dtensor.is_known(name) or sharded.is_known(name)


def part_of(value: object) -> Part | None:
    """Return the part of a tensor that an object is; None for any other object."""
    return local_part(value) or local_shards(value)


def slice_of(
    part: Part, name: str, kind: str, held: Held, tensor_of: Callable[[ViewRef], Tensor | None]
) -> Slice | None:
    """Return a part as an entry of this name and kind, which alone is not read.

    `held` is what the object holds; `tensor_of` gives the tensor of a view, None where it cannot be
    read. None where that is so of a part that is there.
    """
    dtype: Dtype | None
    if isinstance(part, LocalPart):
        local = tensor_of(part.local)
        if local is None:
            return None
        dtype, boxes = local.dtype, () if part.wrong else tuple(boxes_of(part, local))
    else:
        tensors = [(start, tensor_of(view)) for start, view in part.shards]
        dtype, boxes = part.dtype, tuple(_boxes(tensors))
        if len(boxes) < len(tensors):
            return None
    return Slice(
        name,
        kind,
        unread=True,
        storages=len(held.storages),
        nbytes=sum(ref.nbytes for ref in held.storages.values()),
        shape=part.shape,
        dtype=dtype,
        boxes=boxes,
        wrong=part.wrong,
    )


def _boxes(tensors: list[tuple[tuple[int, ...], Tensor | None]]) -> Iterator[Box]:
    for start, tensor in tensors:
        if tensor is not None:
            yield Box(start, tensor)
