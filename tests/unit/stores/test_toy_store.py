"""A new store, added from outside: only the core, and every command that can write or check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from shardctl.commands.index import reindex
from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.write import write
from shardctl.engine.run import RunOptions
from shardctl.errors import SourceChangedError
from shardctl.planning.request import Limits, WriteOptions
from shardctl.stores.base import Store
from shardctl.stores.registry import open_store, register
from shardctl.testing.builders import safetensors_bytes
from shardctl.testing.memory import MemoryStore
from shardctl.testing.suites.fixtures import put as put_file
from shardctl.testing.suites.reading import CAPABILITIES
from shardctl.testing.suites.stores import StoreSuite
from shardctl.verify.run import Thoroughness, verify
from tests.support.observers import Counting
from tests.toy.store import ToyStore

TENSORS = {f"layer.{number}": bytes([number + 1]) * 200 for number in range(4)}
SPLIT = WriteOptions(limits=Limits(max_shard_bytes=500), checksums=True, read_back=True)
MERGE = WriteOptions(limits=Limits())


class TestToyStore(StoreSuite):
    """It passes the suite of the core."""

    @pytest.fixture
    def store(self) -> Store:
        """A store without a file."""
        return ToyStore()

    @pytest.fixture
    def root(self) -> str:
        """A directory in it."""
        return "models/mine"


@pytest.fixture
def bucket() -> Iterator[ToyStore]:
    """The store that toy:// URLs mean, with a checkpoint in `m`."""
    store = ToyStore()
    undo = register("toy", lambda url: (store, url.removeprefix("toy://")))
    put_file(store, "m/model.safetensors", safetensors_bytes(TENSORS))
    put_file(store, "m/config.json", b"{}")
    yield store
    undo()


def run(source: str, target: str, options: WriteOptions) -> Prepared:
    """Carry out a command that writes, from one URL to another."""
    store, source_path = open_store(source)
    _, target_path = open_store(target)
    prepared = prepare(store, source_path, store, target_path, options, finish=True)
    if not prepared.up_to_date:
        write(store, store, prepared, RunOptions(jobs=2), Counting())
    return prepared


def is_equal(store: Store, directory: str, other: Store, path: str) -> bool:
    """Whether all the bytes of two checkpoints are equal."""
    how = Thoroughness(deep=True, strict=True, against=path)
    return verify(store, directory, how, other=other).ok


def test_the_toy_has_only_the_core(bucket: ToyStore) -> None:
    """It has none of the capabilities that a store may have."""
    assert not [each for each in CAPABILITIES if isinstance(bucket, each)]


def test_split_merge_and_verify(bucket: ToyStore) -> None:
    """A checkpoint is split, merged and verified in the store, as it is on a disk."""
    original = MemoryStore()
    put_file(original, "model.safetensors", safetensors_bytes(TENSORS))
    run("toy://m", "toy://split", SPLIT)
    assert [entry.name for entry in bucket.list("split")] == [
        "SHA256SUMS",
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]
    assert is_equal(bucket, "split", original, "model.safetensors")
    run("toy://split", "toy://merged.safetensors", MERGE)
    assert is_equal(original, "model.safetensors", bucket, "merged.safetensors")
    assert run("toy://m", "toy://split", SPLIT).up_to_date


def test_a_run_without_a_lock_says_so(bucket: ToyStore) -> None:
    """Where runs cannot keep each other out, each that writes says it, and one with nothing to do
    does not.
    """

    def said(notes: Iterable[str]) -> list[str]:
        return [note for note in notes if "locked" in note]

    noted = said(run("toy://m", "toy://split", SPLIT).notes)
    assert len(noted) == 1
    assert said(run("toy://m", "toy://split", SPLIT).notes) == []
    del bucket.objects["split/model.safetensors.index.json"]
    assert said(reindex(bucket, "split", check=True).notes) == []
    assert said(reindex(bucket, "split", check=False).notes) == noted


def test_replacing_and_damage(bucket: ToyStore) -> None:
    """A set is replaced by another one, and a changed byte in it is found."""
    run("toy://m", "toy://split", SPLIT)
    three = WriteOptions(limits=Limits(num_shards=3), checksums=True, replace="same")
    run("toy://m", "toy://split", three)
    names = [entry.name for entry in bucket.list("split")]
    assert len([name for name in names if name.endswith(".safetensors")]) == 3
    path = "split/model-00003-of-00003.safetensors"
    data, mark = bucket.objects[path]
    bucket.objects[path] = (data[:-1] + b"?", mark)
    found = verify(bucket, "split", Thoroughness(deep=True))
    assert [finding.code for finding in found.findings] == ["digest-mismatch"]


def test_an_interrupted_run_is_resumed(bucket: ToyStore) -> None:
    """Without appending, each finished file has its own receipt, and the next run uses it."""
    prepared = prepare(bucket, "m", bucket, "split", SPLIT, finish=True)
    held = bucket.objects["m/model.safetensors"]
    bucket.objects["m/model.safetensors"] = (held[0], -1)
    with pytest.raises(SourceChangedError):
        write(bucket, bucket, prepared, RunOptions(jobs=1), Counting())
    finished = {entry.name for entry in bucket.list("split/.shardctl/receipts")}
    assert "config.json" in finished
    bucket.objects["m/model.safetensors"] = held
    counted = Counting()
    again = prepare(bucket, "m", bucket, "split", SPLIT, finish=True)
    write(bucket, bucket, again, RunOptions(jobs=1), counted)
    assert set(counted.kept) == finished
    assert bucket.kind("split/.shardctl/receipts") is None
    assert is_equal(bucket, "split", bucket, "m")
