"""Parts of tensors of every class become entries that are placed, or say why they are not."""

from __future__ import annotations

import pytest

from shardctl.formats.pickle.machine import Unpickled
from shardctl.formats.pickle.values import (
    Global,
    Mapping,
    Opaque,
    Sequence,
    StorageRef,
    ViewRef,
)
from shardctl.formats.torch.distributed.dtensor import LocalPart
from shardctl.formats.torch.distributed.sharded import LocalShards
from shardctl.formats.torch.distributed.slices import Part, is_known, part_of, slice_of
from shardctl.formats.torch.tree.tree import TreeError, build_tree
from shardctl.formats.torch.tree.unread import Held
from shardctl.model import DTYPES, Extent, Slice, Storage, Tensor

F32 = DTYPES["F32"]
REF = StorageRef("0", F32, 64, "FloatStorage")
VIEW = ViewRef(REF, F32, 0, (2, 3), None)
TENSOR = Tensor("", F32, (2, 3), Storage(Extent("f", 0, 64), "0"))


def made(part: Part, tensor: Tensor | None = TENSOR) -> Slice | None:
    """The entry that a part becomes, where its tensors are read as `tensor`."""
    return slice_of(part, "a", "K", Held({"0": REF}, tensors=True), lambda _: tensor)


def test_both_classes_are_placed() -> None:
    """The boxes are the tensors of the part, each where it begins."""
    whole = ((4, 3), F32)
    for part in (
        LocalPart(VIEW, (4, 3), ([(2, 2)], [(0, 3)])),
        LocalShards((((2, 0), VIEW),), (4, 3), F32),
    ):
        found = made(part)
        assert found is not None
        assert (found.shape, found.dtype, found.unread) == (*whole, True)
        assert [(box.start, box.tensor) for box in found.boxes] == [((2, 0), TENSOR)]
        assert (found.storages, found.nbytes) == (1, 64)


def test_a_rank_without_shards_says_what_the_whole_is() -> None:
    """It has no boxes, and nothing is wrong with it."""
    found = made(LocalShards((), (4, 3), F32))
    assert found is not None
    assert (found.shape, found.dtype, found.boxes, found.wrong) == ((4, 3), F32, (), "")


def test_what_is_wrong_is_kept() -> None:
    """A part that cannot be placed has no boxes."""
    for part in (LocalPart(VIEW, wrong="why"), LocalShards(wrong="why")):
        found = made(part)
        assert found is not None
        assert (found.boxes, found.wrong) == ((), "why")


def test_a_part_that_cannot_be_read_is_no_entry() -> None:
    """That was reported where it was read."""
    assert made(LocalPart(VIEW, (4, 3), ([(2, 2)], [(0, 3)])), None) is None
    assert made(LocalShards((((2, 0), VIEW),), (4, 3), F32), None) is None


def test_other_objects_are_no_parts() -> None:
    """A plain tensor is none, and the classes of both kinds are known by name."""
    assert part_of(VIEW) is None
    assert is_known("torch.distributed.tensor.DTensor")
    assert is_known("torch.distributed._shard.metadata.ShardMetadata")
    assert not is_known("os.system")


def test_one_object_cannot_be_many_boxes() -> None:
    """A tensor with many shards under many names would take memory without bound."""
    sharded = "torch.distributed._shard.sharded_tensor"
    placed = Mapping(items={"shard_offsets": (0, 0), "shard_sizes": (2, 3)})
    shard = Opaque("Shard", [Mapping(items={"tensor": VIEW, "metadata": Opaque("M", [placed])})])
    whole: dict[object, object] = {
        "size": (2, 3),
        "tensor_properties": Opaque("P", [(Global("torch.float32"),)]),
    }
    metadata = Opaque(f"{sharded}.metadata.ShardedTensorMetadata", [Mapping(items=whole)])
    state = (Sequence("list", [shard] * 10_000), metadata)
    value = Opaque(f"{sharded}.api.ShardedTensor", [(None, None, (), state)])
    few: dict[object, object] = {str(number): value for number in range(5)}
    storages = {"0": TENSOR.storage}
    pickled = Unpickled(Mapping(items=few), 0, (), {"0": REF})
    assert len(build_tree(pickled, storages, "f", print, 0)) == 5
    many: dict[object, object] = {str(number): value for number in range(50)}
    pickled = Unpickled(Mapping(items=many), 0, (), {"0": REF})
    with pytest.raises(TreeError, match="unfolds to far more"):
        build_tree(pickled, storages, "f", print, 0)
