"""Let workers carry out the tasks of a run, and take what each returns as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from shardctl.engine.task import ShardTask
from shardctl.errors import Stopped
from shardctl.stores.base import Store
from shardctl.streams.chunks import PART_BYTES
from shardctl.streams.pool import Workers
from shardctl.streams.progress import TICK_SECONDS, Observer, Tick

Target = TypeVar("Target", bound=Store)
Result = TypeVar("Result")


def carry_out(
    tasks: Sequence[ShardTask],
    work: Callable[[ShardTask, Store, Target, Tick], Result],
    source: Store,
    target: Target,
    workers: Workers,
    observe: Observer,
    accept: Callable[[Result], None],
) -> None:
    """Pass each task to `work` on a worker, and each result to `accept` on this thread.

    The workers are shut down in any case. Raises what `work` and `accept` raise: then what has not
    begun is not begun.
    """
    with _shut_down(workers):
        order: dict[Future[Result], int] = {
            workers.submit(work, task, source, target, workers.ticks.of(task.filename)): number
            for number, task in enumerate(tasks)
        }
        pending = set(order)
        while pending:
            finished, pending = wait(pending, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
            workers.ticks.drain(observe.advance)
            # What is finished is noted before a failure of the same moment ends the run; both in
            # the tasks' order.
            for future in sorted(
                finished, key=lambda future: (future.exception() is not None, order[future])
            ):
                accept(future.result())


def spread(tasks: Sequence[ShardTask], jobs: int) -> list[ShardTask]:
    """Give tasks the threads that are left over where there are fewer large files than `jobs`."""
    large = sum(task.layout.nbytes > PART_BYTES for task in tasks)
    return [replace(task, threads=max(1, jobs // max(large, 1))) for task in tasks]


@contextmanager
def _shut_down(workers: Workers) -> Iterator[None]:
    # An interrupted run does not wait for a sync that may take long: its process ends, and the
    # journal is in order.
    wait_for_tasks = True
    try:
        yield
    except Stopped:
        wait_for_tasks = False
        raise
    finally:
        workers.ticks.cancel()
        workers.shutdown(wait=wait_for_tasks, cancel_futures=True)
