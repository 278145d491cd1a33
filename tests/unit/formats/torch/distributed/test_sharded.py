"""The shards of a ShardedTensor that one rank has are placed as their metadata says."""

from __future__ import annotations

import pytest

from shardctl.formats.pickle.values import Global, Mapping, Opaque, Sequence, StorageRef, ViewRef
from shardctl.formats.torch.distributed.sharded import LocalShards, is_known, local_shards
from shardctl.model import DTYPES

F32 = DTYPES["F32"]
SHARDED = "torch.distributed._shard.sharded_tensor"
KIND = f"{SHARDED}.api.ShardedTensor"


def made(kind: str, *parts: object, **fields: object) -> Opaque:
    """An object of a class with these attributes, or with these parts."""
    items: dict[object, object] = dict(fields.items())
    return Opaque(kind, [*parts, Mapping(items=items)] if fields else list(parts))


def numbers(*values: object) -> Sequence:
    """A list."""
    return Sequence("list", list(values))


def view(shape: tuple[int, ...], dtype: str = "F32") -> ViewRef:
    """A tensor of that shape."""
    return ViewRef(StorageRef("0", None, 4096, "FloatStorage"), DTYPES[dtype], 0, shape, None)


def shard(start: object, sizes: object, tensor: object) -> Opaque:
    """A shard; the states of these classes are pairs, since they have slots."""
    placed = Opaque("ShardMetadata", [(None, Mapping(items={
        "shard_offsets": start, "shard_sizes": sizes,
    }))])  # fmt: skip
    return Opaque("Shard", [(None, Mapping(items={"tensor": tensor, "metadata": placed}))])


def state(
    *shards: object, size: object = (7, 5), dtype: str = "torch.float32", listed: object = None
) -> tuple[object, ...]:
    """The state of a ShardedTensor."""
    properties = Opaque(f"{SHARDED}.metadata.TensorProperties", [(Global(dtype), None, False)])
    metadata = made(
        f"{SHARDED}.metadata.ShardedTensorMetadata", size=size, tensor_properties=properties
    )
    return (numbers(*shards) if listed is None else listed, metadata, None, None, False)


def tensor(given: tuple[object, ...], *, built: bool = False) -> Opaque:
    """A ShardedTensor: what rebuilds it is called with its state, or it is given it afterwards."""
    return Opaque(KIND, [(), given] if built else [(None, Global(KIND), (), given)])


HALF = shard(numbers(4, 0), numbers(3, 5), view((3, 5)))


@pytest.mark.parametrize("built", [True, False])
def test_shards_are_placed(built: bool) -> None:
    """A rank has one shard, several, or none, of a whole that all say."""
    other = shard(numbers(0, 2), numbers(4, 1), view((4, 1)))
    for given in ((), (HALF,), (HALF, other)):
        found = local_shards(tensor(state(*given), built=built))
        assert found is not None
        assert (found.shape, found.dtype, found.wrong) == ((7, 5), F32, "")
        assert [(start, each.shape) for start, each in found.shards] == [
            ((4, 0), (3, 5)), ((0, 2), (4, 1))
        ][: len(given)]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (tensor(()), "where its shards lie"),
        (tensor((numbers(HALF), None)), "where its shards lie"),
        (tensor(state(size=3)), "shape and the type"),
        (tensor(state(size=(-1,))), "shape and the type"),
        (tensor(state(size=(2**40, 2**40))), "shape and the type"),
        (tensor(state(dtype="torch.qint8")), "shape and the type"),
        (tensor(state(dtype="os.float32")), "shape and the type"),
        (tensor(state(listed=(HALF,))), "not a list"),
        (tensor(state(3)), "where it lies"),
        (tensor(state(shard(numbers(4, "0"), numbers(3, 5), view((3, 5))))), "where it lies"),
        (tensor(state(shard(numbers(4, 0), numbers(3, 5), None))), "where it lies"),
        (tensor(state(shard(numbers(4, 0), numbers(3, 5), view((3, 4))))), "type and the size"),
        (tensor(state(shard(numbers(4, 0), numbers(3, 5), view((3, 5), "F16")))), "type and the"),
        (tensor(state(shard(numbers(5, 0), numbers(3, 5), view((3, 5))))), "within [7, 5]"),
        (tensor(state(shard(numbers(4), numbers(3), view((3,))))), "within [7, 5]"),
    ],
)
def test_what_cannot_be_placed(value: Opaque, wrong: str) -> None:
    """A shard that is not where it can be is not placed, and it is said why."""
    found = local_shards(value)
    assert isinstance(found, LocalShards)
    assert wrong in found.wrong
    assert not found.shards


@pytest.mark.parametrize("value", [3, view((2,)), Opaque("torch.Tensor", [(None, state())])])
def test_other_objects_have_none(value: object) -> None:
    """Anything else is not a ShardedTensor."""
    assert local_shards(value) is None


def test_names_are_compared_whole() -> None:
    """Only the classes of a ShardedTensor are known, and `getattr` is not."""
    assert is_known(KIND)
    assert not is_known(f"{KIND}.x")
    assert not is_known("builtins.getattr")
