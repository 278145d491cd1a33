"""ShardedTensor in torch's pickles: which parts of the whole tensor one rank has.

Source: `metadata.py` and `sharded_tensor` of `torch/distributed/_shard` of torch 2.13. FSDP1 saves
them with `StateDictType.SHARDED_STATE_DICT`. The state of one begins with the shards of the rank,
each a tensor with its offsets and sizes, and the metadata of the whole, with its size and type.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from shardctl.formats.limits import MAX_SIZE
from shardctl.formats.pickle.objects import fields_of
from shardctl.formats.pickle.values import Global, Opaque, Sequence, ViewRef
from shardctl.formats.torch.calls.types import TORCH_DTYPES
from shardctl.formats.torch.calls.views import numbers_of
from shardctl.model import Dtype

_SHARD = "torch.distributed._shard."
_KIND = f"{_SHARD}sharded_tensor.api.ShardedTensor"
_METADATA = f"{_SHARD}sharded_tensor.metadata.ShardedTensorMetadata"
#: What the pickle of one imports. It also imports `getattr`, for a class within ShardedTensor, and
#: torch does not allow that with `weights_only`, since it gives access to anything.
_IMPORTED = frozenset(
    {
        _KIND,
        _METADATA,
        f"{_SHARD}sharded_tensor.metadata.TensorProperties",
        f"{_SHARD}sharded_tensor.metadata.MEM_FORMAT_ENCODING",
        f"{_SHARD}sharded_tensor.shard.Shard",
        f"{_SHARD}metadata.ShardMetadata",
        f"{_SHARD}sharding_spec.api.EnumerableShardingSpec",
        f"{_SHARD}sharding_spec.chunk_sharding_spec.ChunkShardingSpec",
        "torch.distributed.remote_device._remote_device",
    }
)


class _UnplacedError(Exception):
    """The shards cannot be placed; the message says why."""


@dataclass(frozen=True, slots=True)
class LocalShards:
    """The shards of one rank, each with where it begins, and the shape and type of the whole.

    `wrong` says why they cannot be placed; empty where they can.
    """

    shards: tuple[tuple[tuple[int, ...], ViewRef], ...] = ()
    shape: tuple[int, ...] = ()
    dtype: Dtype | None = None
    wrong: str = ""


def is_known(name: str) -> bool:
    """Whether a name to import is that of a class which a ShardedTensor is made of."""
    return name in _IMPORTED


def local_shards(value: object) -> LocalShards | None:
    """Return the shards of a tensor that an object has; None for any other object."""
    if not isinstance(value, Opaque) or value.kind != _KIND:
        return None
    try:
        return _placed(next((each for each in _tuples(value.parts) if _is_state(each)), ()))
    except _UnplacedError as error:
        return LocalShards(wrong=str(error))


def _placed(state: tuple[object, ...]) -> LocalShards:
    if not state:
        raise _UnplacedError("it does not say where its shards lie")
    listed, metadata = state[0], fields_of(state[1])
    shape, dtype = numbers_of(metadata.get("size")), _dtype(metadata.get("tensor_properties"))
    if shape is None or dtype is None or math.prod(filter(None, shape)) > MAX_SIZE:
        raise _UnplacedError("it does not say the shape and the type of the whole")
    if not isinstance(listed, Sequence):
        raise _UnplacedError("its shards are not a list")
    return LocalShards(tuple(_shard(each, shape, dtype) for each in listed.items), shape, dtype)


def _shard(value: object, shape: tuple[int, ...], dtype: Dtype) -> tuple[tuple[int, ...], ViewRef]:
    """Return where a shard begins, and its tensor."""
    shard = fields_of(value)
    placed, view = fields_of(shard.get("metadata")), shard.get("tensor")
    start, sizes = (numbers_of(placed.get(f"shard_{key}")) for key in ("offsets", "sizes"))
    if start is None or sizes is None or not isinstance(view, ViewRef):
        raise _UnplacedError("a shard does not say where it lies")
    if view.dtype is not dtype or view.shape != sizes:
        raise _UnplacedError("a shard does not have the type and the size that are said")
    if not _within(start, sizes, shape):
        raise _UnplacedError(f"a shard does not lie within {list(shape)}")
    return start, view


def _within(start: tuple[int, ...], sizes: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(start) == len(sizes) == len(shape) and (
        0 in sizes
        or all(at + size <= most for at, size, most in zip(start, sizes, shape, strict=True))
    )


def _tuples(parts: list[object]) -> Iterator[tuple[object, ...]]:
    """Yield the states of an object: what it is given (BUILD), or what rebuilds it is called with.

    That is called with a function, the class, its arguments, and the state.
    """
    for part in parts:
        if isinstance(part, tuple):
            yield part
            if part and isinstance(part[-1], tuple):
                yield part[-1]


def _is_state(state: tuple[object, ...]) -> bool:
    return len(state) > 1 and isinstance(state[1], Opaque) and state[1].kind == _METADATA


def _dtype(properties: object) -> Dtype | None:
    """Return the type in `TensorProperties`, which is the first value of its state."""
    state = properties.parts[-1] if isinstance(properties, Opaque) and properties.parts else None
    found = state[0] if isinstance(state, tuple) and state else None
    module, _, name = found.path.rpartition(".") if isinstance(found, Global) else ("", "", "")
    return TORCH_DTYPES.get(name) if module == "torch" else None
