"""The JSON documents: their keys, in their order, are an interface."""

from __future__ import annotations

import json

import pytest

from shardctl.cli import documents
from shardctl.commands.index import make_index
from shardctl.commands.pipeline import inspect_all
from shardctl.commands.work import Work, prepare_all
from shardctl.commands.write import build_job, write
from shardctl.engine.run import RunOptions
from shardctl.planning.request import Limits, WriteOptions
from shardctl.streams.progress import Silent
from shardctl.testing.memory import MemoryStore
from shardctl.verify.run import Thoroughness, verify
from tests.support.memory_checkpoints import put, sample, weights

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


def test_one_document_is_one_line() -> None:
    """Whatever is in it, and in ASCII, so that any terminal and any pipe can take it."""
    line = "".join(documents.dump({"name": "a\n\udce9漢"}))
    assert line.count("\n") == 1
    assert line.isascii()
    assert json.loads(line) == {"name": "a\n\udce9漢"}


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 3000])
def test_a_long_list_is_written_as_any_other(count: int) -> None:
    """An iterator gives the very bytes that a list of its values would."""
    values = [{"a": number} for number in range(count)]
    text = "".join(documents.dump({"first": 1, "many": iter(values), "last": None}))
    assert text == json.dumps({"first": 1, "many": values, "last": None}) + "\n"


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
    first = next(document["tensors"])
    assert list(first) == ["name", "dtype", "shape", "nbytes", "file", "offset", "tied_to"]
    with store.open("m/model.safetensors") as reader:
        assert reader.read(first["offset"], first["nbytes"]) == b"\1" * 100


def test_what_a_writer_did(store: MemoryStore) -> None:
    """A finished run has digests where they were taken, and the way that the bytes took."""
    asked = work(store)
    ready = asked.parts[0].prepared
    receipts = write(store, store, ready, RunOptions(jobs=1), Silent())
    document = documents.writing("split", asked, store, {"": receipts})
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


def test_a_plan(store: MemoryStore) -> None:
    """A plan is the same document, not done, and says what it was made from."""
    document = documents.plan_file("split", work(store), store, store)
    assert list(document) == [*WRITING, "plan", "room"]
    assert document["done"] is False
    assert {shard["sha256"] for shard in document["shards"]} == {None}
    assert list(document["plan"]) == [
        "layout_version",
        "layout",
        "block_size",
        "options",
        "sources",
    ]
    (source,) = document["plan"]["sources"]
    assert list(source) == ["name", "size", "header_sha256"]
    assert (source["name"], len(source["header_sha256"])) == ("model.safetensors", 64)
    assert json.loads("".join(documents.dump(document))) == document


def test_a_plans_sources_are_named_from_the_directory() -> None:
    """Shards in subdirectories have distinct names, in the plan and in the run's record."""
    store = MemoryStore()
    wanted = {"a": "one/model.safetensors", "b": "two/model.safetensors"}
    for name, path in wanted.items():
        put(store, f"m/{path}", weights({name: b"1"}))
    whole = {"metadata": {"total_size": 2}, "weight_map": wanted}
    put(store, "m/model.safetensors.index.json", json.dumps(whole).encode())
    asked = work(store)
    document = documents.plan_file("split", asked, store, store)
    assert [source["name"] for source in document["plan"]["sources"]] == list(wanted.values())
    assert set(asked.parts[0].prepared.identity.sources) == set(wanted.values())


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
