"""Tasks are carried out by workers, and what is finished is accepted as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import pytest

from shardctl.engine import crew
from shardctl.engine.task import ShardTask
from shardctl.errors import StorageError
from shardctl.layout import Layout, Literal
from shardctl.stores.base import Store
from shardctl.streams.chunks import PART_BYTES
from shardctl.streams.pool import Threads
from shardctl.streams.progress import CancelledError, Tick
from shardctl.testing.memory import MemoryStore
from tests.support.observers import Counting


def tasks(*names: str, nbytes: int = 1) -> list[ShardTask]:
    """Tasks that write files of so many bytes."""
    layout = Layout((Literal(b""),), nbytes)
    return [ShardTask(name, name, layout, {}) for name in names]


Work = Callable[[ShardTask, Store, Store, Tick], str]


def carry_out(work: Work, *names: str, jobs: int = 1) -> list[str]:
    """Carry out tasks, and return what was accepted."""
    accepted: list[str] = []
    store: Store = MemoryStore()
    try:
        crew.carry_out(
            tasks(*names),
            work,
            store,
            store,
            Threads(jobs),
            Counting(),
            accepted.append,
        )
    except StorageError:
        accepted.append("failed")
    return accepted


def named(task: ShardTask, source: Store, target: Store, tick: Tick) -> str:  # noqa: ARG001 - a worker's
    """Return the name of a file, or fail where it is `bad`."""
    tick(1)
    if task.filename == "bad":
        raise StorageError("bad", hint="none", file="bad")
    return task.filename


def test_results_are_accepted() -> None:
    """One for each task."""
    assert sorted(carry_out(named, "a", "b", "c", jobs=2)) == ["a", "b", "c"]


def test_a_failure_ends_it() -> None:
    """What is finished by then is accepted before that."""
    found = carry_out(named, "a", "bad", "c")
    assert (found[0], found[-1]) == ("a", "failed")


def test_a_failure_cancels_the_others() -> None:
    """Those that are at work notice it at their next tick, and are waited for."""
    begun, ended = Event(), Event()

    def work(task: ShardTask, source: Store, target: Store, tick: Tick) -> str:
        if task.filename == "bad":
            begun.wait(10)
            return named(task, source, target, tick)
        begun.set()
        try:
            while True:
                tick(0)
        except CancelledError:
            ended.set()
            raise

    assert carry_out(work, "bad", "slow", jobs=2) == ["failed"]
    assert ended.is_set()


@pytest.mark.parametrize(("count", "jobs", "threads"), [(1, 4, 4), (2, 4, 2), (8, 4, 1), (1, 1, 1)])
def test_threads_that_are_left_over(count: int, jobs: int, threads: int) -> None:
    """Few large files get several threads each; small ones do not count."""
    large = tasks(*"abcdefgh"[:count], nbytes=PART_BYTES + 1)
    spread = crew.spread([*large, *tasks("small")], jobs)
    assert {task.threads for task in spread} == {threads}
