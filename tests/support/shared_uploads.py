"""A run into a bucket in memory that several processes share: its parts, and its commit."""

from __future__ import annotations

from shardctl.engine.commit.guards import Surroundings
from shardctl.engine.entry import execute, write_part
from shardctl.engine.journal.journal import RunIdentity
from shardctl.engine.run import Job, RunOptions
from shardctl.engine.shared.share import PartDone
from shardctl.engine.task import ShardTask
from shardctl.engine.workers.executors import Threads
from shardctl.layout import LayoutBuilder
from shardctl.model import Extent, Version
from shardctl.streams.progress import Observer, Silent
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.place import Place
from tests.support.buckets import files, fill, state

ONE, RESTART = RunOptions(jobs=1), RunOptions(jobs=1, restart=True)
SHARDS = ("a", "b", "c", "d")
INDEX = "index"
BYTES = b"what the source holds"
EXPECTED = {name: BYTES[number:] for number, name in enumerate((*SHARDS, INDEX))}


def with_source() -> Place:
    """Return a bucket with the source `s`."""
    place = Place()
    fill(place, "s", BYTES)
    return place


def job(place: Place, plan_id: str = "id") -> Job:
    """Return a job that writes the source, one byte further on in each shard, and in the index."""
    store = MemoryBucket(place)
    sources = {"s": store.version("s")}
    tasks = []
    for number, name in enumerate((*SHARDS, INDEX)):
        builder = LayoutBuilder()
        builder.copy(Extent("s", number, len(BYTES) - number))
        tasks.append(ShardTask(name, f"t/{name}", builder.build(), sources))
    around = Surroundings.of(store, "t", [*SHARDS, INDEX], weights=True)
    identity = RunIdentity(plan_id, {}, {"s": Version(len(BYTES), "its contents")}, shared=True)
    return Job(identity, "t", tuple(tasks), sources, around, staged=frozenset(SHARDS))


def part(
    place: Place,
    *mine: str,
    store: MemoryBucket | None = None,
    work: Job | None = None,
    options: RunOptions = ONE,
    observe: Observer | None = None,
) -> PartDone:
    """Upload these shards."""
    store = store or MemoryBucket(place)
    observe = observe or Silent()
    return write_part(work or job(place), mine, store, store, options, Threads, observe)


def commit(place: Place, store: MemoryBucket | None = None, work: Job | None = None) -> None:
    """Let all files appear."""
    store = store or MemoryBucket(place)
    execute(work or job(place), store, store, ONE, Threads, Silent())


def check(place: Place) -> None:
    """The target holds what one run would have written, and nothing else is left."""
    assert files(place, "t") == EXPECTED
    assert state(place) == []
