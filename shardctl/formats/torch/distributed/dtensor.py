"""DTensor in torch's pickles: which part of the whole tensor the part of one rank is.

Source: `torch/distributed/tensor` of torch 2.13 (`_api.py`, `_dtensor_spec.py`,
`placement_types.py`, `_utils.py`) and `torch/distributed/device_mesh.py`; the same classes were in
`torch/distributed/_tensor` until 2.4. The mesh was a tensor of ranks until it got a layout; the
coordinate of the rank that saved was always beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from shardctl.formats.limits import MAX_SIZE
from shardctl.formats.pickle.objects import dicts_in, fields_of
from shardctl.formats.pickle.values import Opaque, ViewRef
from shardctl.formats.torch.calls.views import numbers_of
from shardctl.model import Box, Tensor, contiguous_strides
from shardctl.text import escape

_KINDS = ("torch.distributed.tensor.DTensor", "torch.distributed._tensor.api.DTensor")
_MODULES = (
    "torch.distributed.tensor.",
    "torch.distributed._tensor.",
    "torch.distributed.device_mesh.",
    "torch.distributed._mesh_layout.",
)
_CLASSES = frozenset(
    {
        "DTensor", "DTensorSpec", "TensorMeta", "ShardOrderEntry", "DeviceMesh", "_MeshLayout",
        "_FlatLayout", "Shard", "Replicate", "Partial", "_StridedShard",
    }
)  # fmt: skip
#: A part that is more pieces than this is none that training makes.
_MOST_PIECES = 4_096

#: Where the elements of a part lie along one dimension: begin and length, one after another.
_Runs = list[tuple[int, int]]


class _UnplacedError(Exception):
    """The part cannot be placed; the message says why."""


@dataclass(frozen=True, slots=True)
class LocalPart:
    """The part of one rank: its tensor, the shape of the whole, and its runs in each dimension.

    `wrong` says why it cannot be placed; empty where it can.
    """

    local: ViewRef
    shape: tuple[int, ...] = ()
    runs: tuple[_Runs, ...] = ()
    wrong: str = ""


def is_known(name: str) -> bool:
    """Whether a name to import is that of a class which a DTensor is made of.

    torch allows these with `weights_only` once `torch.distributed.tensor` was imported.
    """
    return name.startswith(_MODULES) and name.rpartition(".")[2] in _CLASSES


def local_part(value: object) -> LocalPart | None:
    """Return the part of a tensor that an object is; None for any other object."""
    if not isinstance(value, Opaque) or value.kind not in _KINDS:
        return None
    # What rebuilds it is called with a function, the class, its arguments, and the state.
    call = value.parts[0] if value.parts else None
    states = list(dicts_in([call[-1]])) if isinstance(call, tuple) and call else []
    state = next((fields for fields in states if "_local_tensor" in fields), {})
    local = state.get("_local_tensor")
    if not isinstance(local, ViewRef):
        return None
    spec = fields_of(state.get("_spec"))
    try:
        if not math.prod(local.shape) and _is_elsewhere(spec):
            return LocalPart(local, _shape(spec.get("tensor_meta")))
        shape, runs = _placed(spec)
    except _UnplacedError as error:
        return LocalPart(local, wrong=str(error))
    found = tuple(sum(length for _, length in each) for each in runs)
    if found != local.shape and math.prod(found) + math.prod(local.shape) > 0:
        wrong = f"it is {list(local.shape)}, and its placements say {list(found)}"
        return LocalPart(local, wrong=wrong)
    return LocalPart(local, shape, runs)


def boxes_of(part: LocalPart, tensor: Tensor) -> Iterator[Box]:
    """Yield the boxes of the whole tensor that the part fills; `tensor` is its local tensor."""
    if not tensor.elements:
        return
    strides = tensor.strides or contiguous_strides(tensor.shape)
    placed = [_with_positions(runs) for runs in part.runs]
    for pieces in product(*placed):
        start = tuple(begin for begin, _, _ in pieces)
        shape = tuple(length for _, length, _ in pieces)
        if shape == tensor.shape:
            yield Box(start, tensor)
            continue
        skipped = sum(at * step for (_, _, at), step in zip(pieces, strides, strict=True))
        offset = tensor.offset + skipped
        yield Box(start, Tensor("", tensor.dtype, shape, tensor.storage, offset, strides))


def _with_positions(runs: _Runs) -> list[tuple[int, int, int]]:
    """Return begin and length of each run, and where it begins in the part."""
    placed, at = [], 0
    for begin, length in runs:
        placed.append((begin, length, at))
        at += length
    return placed


def _is_elsewhere(fields: dict[object, object]) -> bool:
    """Whether a rank is not in the mesh, whose others have the tensor: it has no coordinate."""
    return fields_of(fields.get("mesh")).get("_coordinate_on_dim", ()) is None


def _placed(fields: dict[object, object]) -> tuple[tuple[int, ...], tuple[_Runs, ...]]:
    shape = _shape(fields.get("tensor_meta"))
    mesh = fields_of(fields.get("mesh"))
    sizes, coordinate = _mesh_shape(mesh), numbers_of(mesh.get("_coordinate_on_dim"))
    placements = fields.get("placements")
    if not isinstance(placements, tuple):
        raise _UnplacedError("it has no placements")
    if sizes is None or coordinate is None or not len(sizes) == len(coordinate) == len(placements):
        raise _UnplacedError("its mesh does not say which rank this is")
    _refuse_order(fields.get("shard_order"))
    runs: list[_Runs] = [[(0, size)] for size in shape]
    for placement, size, place in zip(placements, sizes, coordinate, strict=True):
        if not 0 <= place < size:
            raise _UnplacedError("its mesh does not say which rank this is")
        name = placement.kind.rpartition(".")[2] if isinstance(placement, Opaque) else ""
        if name == "Replicate":
            continue
        if name not in ("Shard", "_StridedShard"):
            raise _UnplacedError(f"it is not a slice: its placement is {escape(name) or 'unknown'}")
        divided = fields_of(placement)
        axis, factor = divided.get("dim"), 1
        if name == "_StridedShard":
            found = divided.get("split_factor")
            factor = found if type(found) is int else 0
        if type(axis) is not int or not 0 <= axis < len(shape) or not 0 < factor <= _MOST_PIECES:
            raise _UnplacedError("a placement is of a dimension that it does not have")
        runs[axis] = _share(runs[axis], size, place, factor)
    if math.prod(len(each) or 1 for each in runs) > _MOST_PIECES:
        raise _UnplacedError("it is cut into too many pieces")
    return shape, tuple(runs)


def _share(runs: _Runs, size: int, place: int, factor: int) -> _Runs:
    """Return the share of one rank of `size`: its chunk of each of as many chunks as `factor` says.

    Chunks are as large as they must be, so that the last ones may be shorter, or empty.
    """
    taken: _Runs = []
    for number in range(factor):
        taken += _chunk(list(_chunk(runs, factor, number)), size, place)
    return taken


def _chunk(runs: _Runs, count: int, number: int) -> Iterator[tuple[int, int]]:
    """Yield what chunk `number` of `count` has of the elements of runs."""
    total = sum(length for _, length in runs)
    chunk = -(-total // count)
    return _slice(runs, min(number * chunk, total), min((number + 1) * chunk, total))


def _slice(runs: _Runs, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what lies between two positions of the elements that runs have one after another."""
    at = 0
    for first, length in runs:
        low, high = max(begin - at, 0), min(end - at, length)
        if low < high:
            yield first + low, high - low
        at += length


def _refuse_order(order: object) -> None:
    """Refuse shards of one dimension that were not made in the order of the mesh."""
    for entry in order if isinstance(order, tuple) else ():
        parts = entry.parts[0] if isinstance(entry, Opaque) and entry.parts else entry
        axes = numbers_of(parts[1]) if isinstance(parts, tuple) and len(parts) == 2 else None
        if axes is None or list(axes) != sorted(axes):
            raise _UnplacedError("it was divided in another order than that of its mesh")


def _shape(meta: object) -> tuple[int, ...]:
    """Return the shape in a `TensorMeta`, which is made of shape, strides and type."""
    parts = meta.parts[0] if isinstance(meta, Opaque) and meta.parts else None
    shape = numbers_of(parts[0]) if isinstance(parts, tuple) and parts else None
    if shape is None or math.prod(filter(None, shape)) > MAX_SIZE:
        raise _UnplacedError("it does not say the shape of the whole")
    return shape


def _mesh_shape(mesh: dict[object, object]) -> tuple[int, ...] | None:
    ranks = mesh.get("mesh")
    if isinstance(ranks, ViewRef):
        return ranks.shape
    layout = fields_of(mesh.get("_layout"))
    axes = layout.get("axes")
    if isinstance(axes, tuple):
        return _counted([fields_of(axis).get("shape") for axis in axes])
    shape = layout.get("shape")
    return _counted(list(shape) if isinstance(shape, tuple) else [shape])


def _counted(axes: list[object]) -> tuple[int, ...] | None:
    """Return the number of ranks along each axis, which may be made of several."""
    sizes = [numbers_of(axis if isinstance(axis, tuple) else (axis,)) for axis in axes]
    return tuple(math.prod(size or ()) for size in sizes) if None not in sizes else None
