"""A plan in parts: whose shards are whose, and what each call leaves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shardctl.commands.documents import dump
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.preparing.work import Work, prepare_all
from shardctl.commands.saved.plan_document import plan_document
from shardctl.commands.saved.planned import known_contents, prepare_planned
from shardctl.commands.saved.sharing import (
    Share,
    commit,
    refuse_pipeline,
    shared_job,
    write_share,
    write_whole,
)
from shardctl.commands.write import write
from shardctl.engine.entry import shared_run
from shardctl.engine.journal.records import NoRecords
from shardctl.engine.run import RunOptions
from shardctl.errors import TargetError, TargetExistsError, UsageError
from shardctl.planning.request import Limits, WriteOptions
from shardctl.planning.saved.plan_file import PlanFile, parse_plan_file
from shardctl.streams.progress import Silent
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights
from tests.support.pipelines import pipeline, tree

ONE, RESTART = RunOptions(jobs=1), RunOptions(jobs=1, restart=True)
WHOLE = WriteOptions(limits=Limits())
BY_3 = WriteOptions(limits=Limits(num_shards=3))
AnyStore = MemoryStore | MemoryBucket
SHARDS = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
INDEX = "model.safetensors.index.json"


@pytest.fixture(params=[MemoryStore, MemoryBucket])
def store(request: pytest.FixtureRequest) -> AnyStore:
    """A store with the checkpoint `m` of six tensors."""
    store: AnyStore = request.param()
    tensors = {f"layer.{number}": bytes([number + 1]) * 100 for number in range(6)}
    put(store, "m/model.safetensors", weights(tensors))
    put(store, "m/config.json", b"{}")
    return store


def saved(store: AnyStore, source: str = "m") -> PlanFile:
    """A plan into `t` that was saved."""
    work = prepare_all(store, source, store, "t", BY_3, finish=False)
    document = "".join(dump(plan_document("split", work, store, store)))
    return parse_plan_file(document.encode(), "plan.json")


def work_of(store: AnyStore, plan: PlanFile, source: str = "m") -> Work:
    """What a process prepares that applies it."""
    return prepare_planned(plan, store, [source], store, "t", plan.options, records=NoRecords())


def prepared(store: AnyStore, plan: PlanFile) -> Prepared:
    """The one run of that."""
    return work_of(store, plan).parts[0].prepared


def part(store: AnyStore, plan: PlanFile, number: int, count: int) -> dict[str, str]:
    """Write a part; the state of every shard afterwards."""
    share, ready = Share(number, count), prepared(store, plan)
    done = write_share(store, store, ready, share, ONE, Silent(), planned=plan.runs[""])
    return {**done.states(SHARDS)}


def finish(store: AnyStore, plan: PlanFile, how: Callable[..., object] = commit) -> None:
    """Commit, or write what is left and commit."""
    how(store, store, prepared(store, plan), ONE, Silent(), planned=plan.runs[""])


def test_each_shard_is_in_one_share(store: AnyStore) -> None:
    """Whatever the count, and whichever process asks."""
    ready = prepared(store, saved(store))
    for count in (1, 2, 3, 5):
        names = [Share(number, count).names(ready) for number in range(1, count + 1)]
        assert sorted(name for each in names for name in each) == SHARDS
        again = [Share(number, count).names(ready) for number in range(1, count + 1)]
        assert again == names


def test_a_shared_run_is_known_by_contents(store: AnyStore) -> None:
    """Its job has the contents that the plan says in place of versions, and stages every shard."""
    plan = saved(store)
    job = shared_job(store, prepared(store, plan), plan.runs[""])
    assert job.identity.shared
    assert job.identity.sources == known_contents(plan.runs[""])
    assert sorted(job.identity.sources) == ["config.json", "model.safetensors"]
    assert sorted(job.staged) == SHARDS
    assert INDEX not in job.staged


def test_parts_and_the_commit(store: AnyStore) -> None:
    """What is missing is said until all is there; the commit needs all, and leaves only the set."""
    plan = saved(store)
    states = part(store, plan, 2, 2)
    assert sorted(states.values()) == ["missing", "missing", "written"]
    with pytest.raises(TargetError, match="1 of 3 shards are done"):
        finish(store, plan)
    assert sorted(part(store, plan, 1, 2).values()) == ["done", "written", "written"]
    assert sorted(part(store, plan, 1, 1).values()) == ["kept"] * 3
    finish(store, plan)
    assert sorted(tree(store, "t")) == ["config.json", *SHARDS, INDEX]
    assert work_of(store, plan).up_to_date
    assert shared_run(store, "t") is None


def test_the_rest_is_written_whole(store: AnyStore) -> None:
    """What parts did is kept; where none has begun, the run is not a shared one."""
    plan = saved(store)
    part(store, plan, 1, 3)
    finish(store, plan, write_whole)
    first = tree(store, "t")
    for name in first:
        store.remove(f"t/{name}")
    finish(store, plan, write_whole)
    assert tree(store, "t") == first


def test_starting_over_discards_the_parts(store: AnyStore) -> None:
    """A whole run that begins again needs nothing of theirs; another one is refused until then."""
    plan = saved(store)
    part(store, plan, 1, 2)
    with pytest.raises(TargetExistsError, match="unfinished run by parts"):
        prepare_and_write(store, ONE)
    prepare_and_write(store, RESTART)
    assert sorted(tree(store, "t")) == ["config.json", *SHARDS, INDEX]


def prepare_and_write(store: AnyStore, run: RunOptions) -> None:
    """Write the checkpoint without a plan."""
    work = prepare_all(store, "m", store, "t", BY_3, finish=True)
    write(store, store, work.parts[0].prepared, run, Silent())


def test_a_pipeline_is_not_shared() -> None:
    """Each of its components is a separate run, so that a plan of all is refused."""
    store = pipeline(MemoryStore())
    refuse_pipeline(work_of_model(store))
    work = prepare_all(store, "p", store, "t", WHOLE, finish=False)
    with pytest.raises(UsageError, match="cannot be written by parts"):
        refuse_pipeline(work)


def work_of_model(store: MemoryStore) -> Work:
    """The work for a checkpoint alone."""
    put(store, "m/model.safetensors", weights({"a": b"1234"}))
    return prepare_all(store, "m", store, "u", WHOLE, finish=False)
