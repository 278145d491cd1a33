"""The JSON documents of the writers: their keys, in their order, are an interface."""

from __future__ import annotations

import json

import pytest

from shardctl.commands.documents import SCHEMA_VERSION, Texts, dump, writing
from shardctl.commands.preparing.work import Work, prepare_all
from shardctl.commands.write import build_job, write
from shardctl.engine.run import RunOptions
from shardctl.planning.request import Limits, WriteOptions
from shardctl.planning.saved import plan_file
from shardctl.streams.progress import Silent
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import sample

WRITING = [
    "schema_version", "command", "done", "up_to_date", "source", "target", "loads_from",
    "container", "total_size", "max_shard_size", "plan_id", "shards", "oversize", "copied",
    "companions", "superseded", "not_carried", "damaged",
]  # fmt: skip


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


def test_there_is_one_version() -> None:
    """The version that documents have is the one that is read back."""
    assert SCHEMA_VERSION == plan_file.VERSION


def test_one_document_is_one_line() -> None:
    """Whatever is in it, and in ASCII, so that any terminal and any pipe can take it."""
    line = "".join(dump({"name": "a\n\udce9漢"}))
    assert line.count("\n") == 1
    assert line.isascii()
    assert json.loads(line) == {"name": "a\n\udce9漢"}


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 3000])
def test_a_long_list_is_written_as_any_other(count: int) -> None:
    """An iterator, and one of texts, gives the very bytes that a list of its values would."""
    values = [{"a": number} for number in range(count)]
    text = "".join(dump({"first": 1, "many": iter(values), "last": None}))
    assert text == json.dumps({"first": 1, "many": values, "last": None}) + "\n"
    texts = Texts(json.dumps(value) for value in values)
    assert "".join(dump({"first": 1, "many": texts, "last": None})) == text


def test_what_a_writer_did(store: MemoryStore) -> None:
    """A finished run has digests where they were taken, and the way that the bytes took."""
    asked = work(store)
    ready = asked.parts[0].prepared
    receipts = write(store, store, ready, RunOptions(jobs=1), Silent())
    document = writing("split", asked, store, {"": receipts})
    assert list(document) == WRITING
    assert document["done"] is True
    assert document["loads_from"] == "s/model.safetensors.index.json"
    assert list(document["shards"][0]) == ["name", "size", "data_size", "tensors", "sha256"]
    assert [shard["data_size"] for shard in document["shards"]] == [200, 200, 200]
    assert all(len(shard["sha256"]) == 64 for shard in document["shards"])
    assert list(document["copied"]) == ["kernel", "shared", "buffered"]
    assert sum(document["copied"].values()) == sum(
        task.layout.nbytes for task in build_job(store, ready).tasks
    )
    assert document["companions"] == ["config.json"]
