"""Several files that are given as one source."""

from __future__ import annotations

import json

import pytest

from shardctl.commands.preparing.prepare import prepare
from shardctl.errors import ShardctlError, UsageError
from shardctl.findings import strict
from shardctl.planning.request import Limits, WriteOptions
from shardctl.source.joined import join_files
from shardctl.source.read import read_checkpoint
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights

SHARDS = ("m/model-00001-of-00002.safetensors", "m/model-00002-of-00002.safetensors")


@pytest.fixture
def store() -> MemoryStore:
    """Two files of free names in two directories, and a set with an index."""
    store = MemoryStore()
    put(store, "a/x.safetensors", weights({"a": b"1"}))
    put(store, "b/x.safetensors", weights({"b": b"2"}))
    for number, path in enumerate(SHARDS):
        put(store, path, weights({f"t{number}": b"3"}))
    names = {f"t{number}": path[2:] for number, path in enumerate(SHARDS)}
    document = {"metadata": {"total_size": 2, "kept": "t0"}, "weight_map": names}
    put(store, "m/model.safetensors.index.json", json.dumps(document).encode())
    return store


def test_files_are_joined_in_their_order(store: MemoryStore) -> None:
    """Files of one name in two directories are one checkpoint, and told apart by their paths."""
    located = join_files(store, ("b/x.safetensors", "a/x.safetensors"))
    checkpoint = read_checkpoint(store, located, strict)
    assert [tensor.name for tensor in checkpoint.tensors] == ["b", "a"]
    assert set(located.names(store).values()) == {"b/x.safetensors", "a/x.safetensors"}


def test_all_files_of_a_set_are_the_set(store: MemoryStore) -> None:
    """What the index records is kept where every file of its set is given."""
    located = join_files(store, SHARDS)
    assert located.index is not None
    assert located.index.metadata["kept"] == "t0"


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (("a/x.safetensors", "a/x.safetensors"), "is given twice"),
        (("a/x.safetensors", "b"), "is a directory"),
        (("a/x.safetensors", "m/model.safetensors.index.json"), "is an index"),
        (("a/x.safetensors", SHARDS[1]), "is one of 2 files that belong together"),
    ],
)
def test_what_cannot_be_joined_is_a_usage_error(
    store: MemoryStore, sources: tuple[str, ...], message: str
) -> None:
    """A file twice, a directory, an index, and a part of a set are exit 2."""
    with pytest.raises(UsageError, match=message):
        join_files(store, sources)


def test_a_tensor_in_two_of_the_files_is_refused(store: MemoryStore) -> None:
    """Nothing says which of two values counts."""
    put(store, "b/x.safetensors", weights({"a": b"2"}))
    with pytest.raises(ShardctlError) as caught:
        read_checkpoint(store, join_files(store, ("a/x.safetensors", "b/x.safetensors")), strict)
    assert caught.value.code == "tensor-in-several-shards"


@pytest.mark.parametrize("target", ["a", "b"])
def test_a_target_that_is_one_of_the_sources_needs_replace(store: MemoryStore, target: str) -> None:
    """Writing into the directory of any of the files is writing in place."""
    options = WriteOptions(Limits(), stem="x")
    with pytest.raises(ShardctlError, match="is the source itself") as caught:
        prepare(
            store, "a/x.safetensors", store, target, options,
            finish=True, more_sources=("b/x.safetensors",),
        )  # fmt: skip
    assert caught.value.exit_code == 4


def test_all_slices_of_several_processes_are_their_checkpoint(store: MemoryStore) -> None:
    """The files of all processes are one checkpoint of whole tensors, and some of them none."""
    files = [f"d/shard-{rank:05d}-model-00001-of-00001.safetensors" for rank in (1, 2, 3)]
    for path in files:
        put(store, path, weights({"a": b"1"}))
    located = join_files(store, files)
    assert (located.distributed, located.files) == ("slices", tuple(files))
    assert ["without the last file" in note for note in located.notes] == [True]
    with pytest.raises(UsageError, match="one of 3 files that belong together"):
        join_files(store, files[:2])
