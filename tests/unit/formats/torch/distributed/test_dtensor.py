"""The part of a DTensor that one rank has is placed as torch's versions describe it."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import Any

import pytest

from shardctl.formats.pickle.values import Mapping, Opaque, Sequence, StorageRef, ViewRef
from shardctl.formats.torch.distributed.dtensor import LocalPart, boxes_of, is_known, local_part
from shardctl.model import DTYPES, Extent, Storage, Tensor

F32 = DTYPES["F32"]


def made(kind: str, **fields: object) -> Opaque:
    """An object of a class with these attributes."""
    items: dict[object, object] = dict(fields.items())
    return Opaque(kind, [Mapping(items=items)])


def view(shape: tuple[int, ...]) -> ViewRef:
    """A tensor of that shape."""
    return ViewRef(StorageRef("0", F32, 4096, "FloatStorage"), F32, 0, shape, None)


def shard(dim: object, factor: object = None) -> Opaque:
    """A placement along a dimension; with a factor, a strided one."""
    if factor is None:
        return made("torch.distributed.tensor.placement_types.Shard", dim=dim)
    return made("t._StridedShard", dim=dim, split_factor=factor)


REPLICATE = made("torch.distributed.tensor.placement_types.Replicate")


def flat(size: int) -> Opaque:
    """An axis of a mesh in torch 2.13."""
    return made("torch.distributed._mesh_layout._FlatLayout", shape=(size,), stride=(1,))


def mesh(sizes: Items[int], coordinate: object, how: str = "axes") -> Opaque:
    """A mesh of these sizes as one of torch's versions describes it."""
    forms: dict[str, dict[str, object]] = {
        "mesh": {"mesh": view(tuple(sizes))},
        "shape": {"_layout": made("l", shape=tuple(sizes), stride=())},
        "nested": {"_layout": made("l", shape=tuple((size, 1) for size in sizes), stride=())},
        "one": {"_layout": made("l", shape=sizes[0], stride=1)},
        "axes": {"_layout": made("l", axes=tuple(map(flat, sizes)))},
        "nothing": {},
    }
    kind = "torch.distributed.device_mesh.DeviceMesh"
    return made(kind, **forms[how], _coordinate_on_dim=coordinate)


def dtensor(
    local: tuple[int, ...],
    whole: object,
    mesh: object,
    placements: object,
    kind: str = "torch.distributed.tensor.DTensor",
    **more: object,
) -> Opaque:
    """A DTensor of a rank, as its pickle is read."""
    meta = Opaque("TensorMeta", [(whole, (), None)])
    spec = made("DTensorSpec", mesh=mesh, placements=placements, tensor_meta=meta, **more)
    state = Mapping(items={"_local_tensor": view(local), "_spec": spec})
    return Opaque(kind, [(None, None, (), (None, state))])


def part(value: object) -> LocalPart:
    """The part that an object is."""
    found = local_part(value)
    assert found is not None
    return found


@pytest.mark.parametrize("how", ["mesh", "shape", "nested", "one", "axes"])
@pytest.mark.parametrize(
    "kind", ["torch.distributed.tensor.DTensor", "torch.distributed._tensor.api.DTensor"]
)
@pytest.mark.parametrize("coordinate", [(2,), Sequence("builtins.list", [2])])
def test_every_form_of_a_mesh(how: str, kind: str, coordinate: object) -> None:
    """The mesh is a tensor, or has a layout of one of several forms."""
    found = part(dtensor((1, 5), (7, 5), mesh([4], coordinate, how), (shard(0),), kind))
    # Seven rows for four ranks: two for each, and one for the last.
    assert found.wrong == "it is [1, 5], and its placements say [2, 5]"
    found = part(dtensor((2, 5), (7, 5), mesh([4], coordinate, how), (shard(0),), kind))
    assert (found.wrong, found.shape) == ("", (7, 5))
    assert found.runs == ([(4, 2)], [(0, 5)])


@pytest.mark.parametrize(
    ("placements", "coordinate", "local", "runs"),
    [
        ((shard(0), shard(1)), (1, 0), (4, 3), ([(4, 4)], [(0, 3)])),
        ((shard(0), shard(0)), (1, 1), (2, 6), ([(6, 2)], [(0, 6)])),
        ((shard(0), REPLICATE), (1, 1), (4, 6), ([(4, 4)], [(0, 6)])),
        ((REPLICATE, REPLICATE), (1, 1), (8, 6), ([(0, 8)], [(0, 6)])),
        ((shard(0, 2), shard(0)), (0, 1), (2, 6), ([(4, 2)], [(0, 6)])),
        ((shard(0, 2), REPLICATE), (1, 0), (4, 6), ([(2, 2), (6, 2)], [(0, 6)])),
    ],
)
def test_two_dimensions_of_a_mesh(
    placements: object,
    coordinate: object,
    local: tuple[int, ...],
    runs: tuple[list[tuple[int, int]], ...],
) -> None:
    """Placements count from the first dimension of the mesh; a strided one takes several runs."""
    found = part(dtensor(local, (8, 6), mesh([2, 2], coordinate), placements))
    assert (found.wrong, found.runs) == ("", runs)


def test_a_rank_that_is_not_in_the_mesh() -> None:
    """It has nothing of the tensor, which the ranks of the mesh have."""
    for shape in ((8, 6), ()):
        found = part(dtensor((0,), shape, mesh([2], None), (REPLICATE,)))
        assert (found.wrong, found.shape, found.runs) == ("", shape, ())
        storage = Storage(Extent("f", 0, 0), "0")
        assert not list(boxes_of(found, Tensor("x", F32, (0,), storage)))


def test_runs_become_boxes() -> None:
    """Each run is a view of the local tensor, at the place in the whole that it fills."""
    found = part(dtensor((4, 3), (8, 6), mesh([2, 2], (1, 1)), (shard(0, 2), shard(1))))
    storage = Storage(Extent("f", 100, 48), "0")
    tensor = Tensor("x", F32, (4, 3), storage)
    boxes = list(boxes_of(found, tensor))
    assert [(box.start, box.tensor.shape, box.tensor.offset) for box in boxes] == [
        ((2, 3), (2, 3), 0),
        ((6, 3), (2, 3), 6),
    ]
    assert not list(boxes_of(found, Tensor("x", F32, (0, 3), storage)))


BAD: Any = "?"


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (dtensor((8,), (8,), mesh([2], (0,)), (made("t.Partial", reduce_op="sum"),)), "Partial"),
        (dtensor((4,), (8,), mesh([2], (0,)), (BAD,)), "unknown"),
        (dtensor((4,), (8,), mesh([2], (0,)), BAD), "no placements"),
        (dtensor((4,), (8,), mesh([2], None), (shard(0),)), "which rank this is"),
        (dtensor((4,), (8,), mesh([2], (2,)), (shard(0),)), "which rank this is"),
        (dtensor((4,), (8,), mesh([0], (0,)), (shard(0),)), "which rank this is"),
        (dtensor((4,), (8,), mesh([2], (0, 0)), (shard(0),)), "which rank this is"),
        (dtensor((4,), (8,), mesh([2], (0,), "nothing"), (shard(0),)), "which rank this is"),
        (dtensor((4,), (8,), BAD, (shard(0),)), "which rank this is"),
        (dtensor((4,), (8,), mesh([2], (0,)), (shard(1),)), "dimension"),
        (dtensor((4,), (8,), mesh([2], (0,)), (shard(-1),)), "dimension"),
        (dtensor((4,), (8,), mesh([2], (0,)), (shard(0, 0),)), "dimension"),
        (dtensor((4,), (8,), mesh([2], (0,)), (shard(0, 10**12),)), "dimension"),
        (dtensor((4,), BAD, mesh([2], (0,)), (shard(0),)), "shape of the whole"),
        (dtensor((4,), (2**62, 4), mesh([2], (0,)), (shard(0),)), "shape of the whole"),
        (
            dtensor(
                (2,),
                (8,),
                mesh([2, 2], (0, 0)),
                (shard(0), shard(0)),
                shard_order=(Opaque("ShardOrderEntry", [(0, (1, 0))]),),
            ),
            "another order",
        ),
    ],
)
def test_a_part_that_cannot_be_placed(value: Opaque, wrong: str) -> None:
    """It is not placed by a guess: the reason is said."""
    found = part(value)
    assert wrong in found.wrong
    assert not found.runs


@pytest.mark.parametrize(
    "value",
    [
        None,
        view((2,)),
        Opaque("torch.distributed.tensor.DTensor"),
        Opaque("torch.distributed.tensor.DTensor", [(None, None, (), (None, Mapping()))]),
        made("torch.distributed.tensor.DTensor", _local_tensor=view((2,))),
        Opaque("x.DTensor", dtensor((4,), (8,), mesh([2], (0,)), (shard(0),)).parts),
    ],
)
def test_other_objects_are_not_parts(value: object) -> None:
    """Whatever is not what torch saves of a DTensor stays an object that is not read."""
    assert local_part(value) is None


def test_the_classes_of_a_dtensor_are_known() -> None:
    """Only those classes, in the modules where torch has them."""
    assert is_known("torch.distributed.tensor.DTensor")
    assert is_known("torch.distributed._tensor.placement_types.Shard")
    assert not is_known("torch.distributed.tensor._utils.compute_local_shape")
    assert not is_known("builtins.Shard")
