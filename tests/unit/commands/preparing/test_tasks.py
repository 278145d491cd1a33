"""The files of a plan as tasks: each once, and what makes the set visible last."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.preparing.tasks import tasks_of
from shardctl.planning.request import Limits, WriteOptions
from shardctl.testing.builders import materialise
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import get, put, sample, weights


@pytest.fixture
def store() -> MemoryStore:
    """A model of six tensors with two files beside it."""
    store = MemoryStore()
    sample(store)
    put(store, "m/tokenizer.json", b"[]")
    return store


def ready(store: MemoryStore, limits: Limits) -> Prepared:
    """What a run from `m` to `t` would write."""
    return prepare(store, "m", store, "t", WriteOptions(limits=limits), finish=True)


@pytest.mark.parametrize("limits", [Limits(), Limits(num_shards=2)])
def test_what_makes_the_set_visible_is_last(store: MemoryStore, limits: Limits) -> None:
    """Companions come first, then the shards, and the index after all that it names."""
    found = ready(store, limits)
    tasks = tasks_of(found.plan, found.changes.copies, found.sources, "t/{}".format)
    names = [task.filename for task in tasks]
    assert names == ["config.json", "tokenizer.json", *found.plan.filenames]
    assert names[-1] == found.plan.loads_from
    assert [task.staged for task in tasks] == [f"t/{name}" for name in names]
    assert all(task.sources == found.sources for task in tasks)


def test_the_sizes_and_the_index_are_those_of_the_plan(store: MemoryStore) -> None:
    """Each file has the bytes that the plan promised, the index to the letter."""
    found = ready(store, Limits(num_shards=2))
    tasks = tasks_of(found.plan, found.changes.copies, found.sources, str)
    sizes = {task.filename: task.layout.nbytes for task in tasks}
    assert [sizes[shard.filename] for shard in found.plan.shards] == [
        shard.size for shard in found.plan.shards
    ]
    assert materialise(tasks[-1].layout, {}) == found.plan.index
    copied = materialise(tasks[0].layout, {"m/config.json": get(store, "m/config.json")})
    assert copied == b"{}"


def test_flags_are_those_that_were_asked_for(store: MemoryStore) -> None:
    """Digests are of weights and index only; the other flags hold for companions too."""
    found = ready(store, Limits(num_shards=2))
    plain = tasks_of(found.plan, found.changes.copies, found.sources, str)
    assert not any(task.digest or task.read_back or task.accept_damage for task in plain)
    asked = tasks_of(
        found.plan,
        found.changes.copies,
        found.sources,
        str,
        digest=True,
        read_back=True,
        accept_damage=True,
    )
    assert [task.digest for task in asked] == [False, False, True, True, True]
    assert all(task.read_back and task.accept_damage for task in asked)


@pytest.mark.parametrize(("block", "aligned"), [(None, False), (4096, True)])
def test_a_reflink_layout_is_padded_to_blocks(
    store: MemoryStore, block: int | None, *, aligned: bool
) -> None:
    """The block of the plan decides whether tensors lie in their blocks as in the source's."""
    nbytes = 100_000
    put(store, "m/model.safetensors", weights({"a": bytes(nbytes), "b": bytes(nbytes)}))
    found = ready(store, Limits(num_shards=2))
    plan = replace(found.plan, request=replace(found.plan.request, block=block))
    source = {each.name: each.storage.extent.offset for each in found.checkpoint.tensors}
    for shard, task in zip(plan.shards, tasks_of(plan, {}, found.sources, str), strict=False):
        begin = task.layout.nbytes - nbytes
        assert ((begin - source[shard.tensors[0].name]) % 4096 == 0) is aligned
