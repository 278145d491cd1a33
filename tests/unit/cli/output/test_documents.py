"""The JSON documents: their keys, in their order, are an interface."""

from __future__ import annotations

import json

import pytest

from shardctl.cli.output import documents
from shardctl.commands.index import make_index
from shardctl.commands.pipeline import inspect_all
from shardctl.commands.preparing.work import Work, prepare_all
from shardctl.commands.write import write
from shardctl.engine.run import RunOptions
from shardctl.planning.request import Limits, WriteOptions
from shardctl.streams.progress import Silent
from shardctl.testing.memory import MemoryStore
from shardctl.verify.run import Thoroughness, verify
from tests.support.memory_checkpoints import put, sample


@pytest.fixture
def store() -> MemoryStore:
    """A store with the checkpoint `m` of six tensors of 100 bytes."""
    store = MemoryStore()
    sample(store)
    return store


def work(store: MemoryStore, source: str = "m") -> Work:
    """A split into shards of 250 bytes."""
    options = WriteOptions(limits=Limits(max_shard_bytes=250), checksums=True)
    return prepare_all(store, source, store, "s", options, finish=True)


def test_inspect(store: MemoryStore) -> None:
    """Keys in their order; sizes and offsets are integers of bytes in the file."""
    document = documents.inspection(inspect_all(store, "m", key=None))
    assert list(document) == [
        "schema_version", "command", "source", "container", "index", "total_size",
        "total_parameters", "metadata", "files", "tensors", "non_tensors", "warnings",
    ]  # fmt: skip
    assert (document["schema_version"], document["command"], document["index"]) == (
        1,
        "inspect",
        None,
    )
    assert list(document["files"][0]) == ["name", "size", "tensors", "data_size"]
    first = json.loads(next(document["tensors"].values))
    assert list(first) == ["name", "dtype", "shape", "nbytes", "file", "offset", "tied_to"]
    with store.open("m/model.safetensors") as reader:
        assert reader.read(first["offset"], first["nbytes"]) == b"\1" * 100


def test_verify(store: MemoryStore) -> None:
    """A verdict has its counts, and each finding all its keys, also those without a value."""
    put(store, "m/SHA256SUMS", b"")
    document = documents.verdict("m", verify(store, "m", Thoroughness(deep=True)))
    assert list(document) == [
        "schema_version",
        "command",
        "source",
        "ok",
        "depth",
        "checked",
        "counts",
        "findings",
        "unchecked",
    ]
    assert (document["ok"], document["depth"]) == (True, "deep")
    assert list(document["checked"]) == ["files", "tensors", "bytes"]
    assert document["counts"] == {"error": 0, "warning": 1, "note": 1}
    finding, note = document["findings"]
    assert note["code"] == "content-unchecked"
    assert [list(each) for each in document["unchecked"]] == [["what", "reason"]]
    assert list(finding) == ["code", "severity", "file", "tensor", "offset", "message", "hint"]
    assert (finding["code"], finding["tensor"], finding["offset"]) == ("digest-missing", None, None)


@pytest.mark.parametrize("check", [False, True])
def test_index(store: MemoryStore, *, check: bool) -> None:
    """What changes is listed, and nothing is done with `check`, nor where nothing changes."""
    ready = work(store).parts[0].prepared
    write(store, store, ready, RunOptions(jobs=1), Silent())
    sound = documents.indexing("s", make_index(store, "s"), check=check)
    assert list(sound) == [
        "schema_version", "command", "done", "up_to_date", "source", "index", "changes",
    ]  # fmt: skip
    assert (sound["done"], sound["up_to_date"], sound["changes"]) == (True, True, [])
    store.remove("s/model.safetensors.index.json")
    broken = documents.indexing("s", make_index(store, "s"), check=check)
    assert (broken["done"], broken["up_to_date"]) == (not check, False)
    assert broken["changes"] == ["the index is missing"]
