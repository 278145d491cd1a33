"""The plan file as a document."""

from __future__ import annotations

import json

import pytest

from shardctl.commands.documents import dump
from shardctl.commands.saved.plan_document import plan_document
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, sample, weights
from tests.unit.commands.test_documents import WRITING, work


@pytest.fixture
def store() -> MemoryStore:
    """A store with the checkpoint `m` of six tensors of 100 bytes."""
    store = MemoryStore()
    sample(store)
    return store


def test_a_plan(store: MemoryStore) -> None:
    """A plan is the same document, not done, and says what it was made from."""
    document = plan_document("split", work(store), store, store)
    assert list(document) == [*WRITING, "plan", "room"]
    assert document["done"] is False
    assert {shard["sha256"] for shard in document["shards"]} == {None}
    assert list(document["plan"]) == [
        "layout_version",
        "layout",
        "block_size",
        "options",
        "settings",
        "sources",
        "companions",
    ]
    (source,) = document["plan"]["sources"]
    assert list(source) == ["name", "size", "header_sha256", "content"]
    assert (source["name"], len(source["header_sha256"])) == ("model.safetensors", 64)
    assert json.loads("".join(dump(document))) == document


def test_a_plans_sources_are_named_from_the_directory() -> None:
    """Shards in subdirectories have distinct names, in the plan and in the run's record."""
    store = MemoryStore()
    wanted = {"a": "one/model.safetensors", "b": "two/model.safetensors"}
    for name, path in wanted.items():
        put(store, f"m/{path}", weights({name: b"1"}))
    whole = {"metadata": {"total_size": 2}, "weight_map": wanted}
    put(store, "m/model.safetensors.index.json", json.dumps(whole).encode())
    asked = work(store)
    document = plan_document("split", asked, store, store)
    assert [source["name"] for source in document["plan"]["sources"]] == list(wanted.values())
    assert set(asked.parts[0].prepared.identity.sources) == set(wanted.values())
