"""A task on another machine: what is compared before it, and what a repeated one leaves."""

from __future__ import annotations

import os
import pickle
import platform
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.write import build_job
from shardctl.engine.task import ShardTask, write
from shardctl.engine.workers import distant
from shardctl.engine.workers.distant import Order, Program, Tried, carry_out
from shardctl.errors import ShardctlError, SourceChangedError, StorageError, UsageError
from shardctl.naming import is_try_name
from shardctl.planning.request import Limits, WriteOptions
from shardctl.stores.local.store import LocalStore
from shardctl.streams.progress import CancelledError, no_tick
from tests.support.memory_checkpoints import weights

STORE = LocalStore()
TENSORS = {f"layer.{number}": bytes([number + 1]) * 2000 for number in range(6)}


@pytest.fixture
def tasks(tmp_path: Path) -> tuple[ShardTask, ...]:
    """The tasks that make safetensors shards of a `.bin`, which check its sums, and their room."""
    source = tmp_path / "source" / "pytorch_model.bin"
    source.parent.mkdir()
    source.write_bytes(weights(TENSORS, "bin"))
    options = WriteOptions(limits=Limits(num_shards=3), format="safetensors", checksums=True)
    target = str(tmp_path / "target")
    prepared = prepare(STORE, str(source), STORE, target, options, finish=True)
    found = build_job(STORE, prepared).tasks
    os.makedirs(os.path.dirname(found[0].staged))
    return found


def sent(task: ShardTask) -> Tried:
    """Carry out a task as a worker does."""
    return carry_out(Order.of(write, task, STORE, STORE), "w1", no_tick)


def left(task: ShardTask) -> list[str]:
    """What is in the directory of a staged file."""
    return sorted(os.listdir(os.path.dirname(task.staged)))


def test_each_try_has_a_file_of_its_own(tasks: tuple[ShardTask, ...]) -> None:
    """One task on several workers gives as many whole files, and none has the staged name."""
    at_once = threading.Barrier(4, timeout=60)

    def work(_: int) -> Tried:
        at_once.wait()
        return sent(tasks[0])

    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(work, range(4)))
    assert sorted(os.path.basename(str(each.path)) for each in written) == left(tasks[0])
    assert all(is_try_name(name) for name in left(tasks[0]))
    assert len({Path(str(each.path)).read_bytes() for each in written}) == 1
    assert {each.written for each in written} == {written[0].written}
    assert written[0].written.filename == tasks[0].filename


def test_an_order_has_the_sources_of_its_task_only(tasks: tuple[ShardTask, ...]) -> None:
    """The versions of sources that a task neither copies from nor checks do not travel."""
    other = {
        f"/other/{number}": tasks[0].sources[path]
        for number in range(1000)
        for path in tasks[0].sources
    }
    padded = replace(tasks[0], sources={**other, **tasks[0].sources})
    assert Order.of(write, padded, STORE, STORE) == Order.of(write, tasks[0], STORE, STORE)
    assert all(sent(task).written.nbytes == task.layout.nbytes for task in tasks)


def test_a_try_that_fails_leaves_nothing(tasks: tuple[ShardTask, ...]) -> None:
    """A try that is cancelled removes what it wrote."""

    def cancelled(_: int) -> None:
        assert len(left(tasks[0])) == 1
        raise CancelledError

    with pytest.raises(CancelledError):
        carry_out(Order.of(write, tasks[0], STORE, STORE), "w1", cancelled)
    assert left(tasks[0]) == []


def test_a_worker_that_cannot_write_is_named(tasks: tuple[ShardTask, ...]) -> None:
    """An error of the disk, the network or the credentials says on which machine it was."""

    def full(_: int) -> None:
        raise StorageError("'a' cannot be written: no room", hint="make room")

    with pytest.raises(StorageError) as caught:
        carry_out(Order.of(write, tasks[0], STORE, STORE), "w1", full)
    arrived = str(pickle.loads(pickle.dumps(caught.value)))
    assert arrived == f"'a' cannot be written: no room (the worker w1 on {platform.node()})"
    assert left(tasks[0]) == []


def no_target(task: ShardTask) -> None:
    """Take the directory of the staged files away."""
    os.rmdir(os.path.dirname(task.staged))


def no_source(task: ShardTask) -> None:
    """Take the source away."""
    os.remove(next(iter(task.sources)))


def other_source(task: ShardTask) -> None:
    """Put another file in the source's place."""
    path = Path(next(iter(task.sources)))
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (no_target, StorageError, "does not see the target"),
        (no_source, StorageError, "does not see the source"),
        (other_source, SourceChangedError, "sees another"),
    ],
)
def test_a_worker_that_sees_other_files_says_so(
    tasks: tuple[ShardTask, ...],
    change: Callable[[ShardTask], None],
    kind: type[ShardctlError],
    message: str,
) -> None:
    """A worker without the same filesystem is named, with what it does not see."""
    change(tasks[0])
    with pytest.raises(kind, match=f"the worker w1 on .* {message}") as caught:
        sent(tasks[0])
    assert "same filesystem" in caught.value.hint


def test_other_versions_are_refused_unread(
    tasks: tuple[ShardTask, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of another version names both, before it unpickles what it may not know."""
    order = replace(Order.of(write, tasks[0], STORE, STORE), content=b"not a pickle")
    monkeypatch.setattr(distant, "__version__", "0.0.1")
    with pytest.raises(UsageError) as caught:
        carry_out(order, "w1", no_tick)
    assert (
        f"has {Program.here()}, and the machine that planned has {order.program}"
        in caught.value.message
    )
