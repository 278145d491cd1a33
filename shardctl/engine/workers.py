"""Tasks on workers: spread over threads, watched, and ended together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import replace

from shardctl.engine.receipts import Receipt
from shardctl.engine.task import ShardTask, write
from shardctl.errors import Stopped
from shardctl.stores.base import Store
from shardctl.streams.chunks import PART_BYTES
from shardctl.streams.pool import Workers
from shardctl.streams.progress import TICK_SECONDS, Observer


def write_all(
    tasks: Sequence[ShardTask],
    source: Store,
    target: Store,
    jobs: int,
    executor: Callable[[int], Workers],
    observe: Observer,
    accept: Callable[[Receipt], None],
) -> None:
    """Carry out tasks, `jobs` at once; `accept` gets the receipt of each as it is finished."""
    with _shut_down(executor(jobs)) as workers:
        order: dict[Future[Receipt], int] = {
            workers.submit(write, task, source, target, workers.ticks.of(task.filename)): number
            for number, task in enumerate(_spread(tasks, jobs))
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


def _spread(tasks: Sequence[ShardTask], jobs: int) -> list[ShardTask]:
    """Give tasks the threads that are left over where there are fewer large files than `jobs`."""
    large = sum(task.layout.nbytes > PART_BYTES for task in tasks)
    return [replace(task, threads=max(1, jobs // max(large, 1))) for task in tasks]


@contextmanager
def _shut_down(workers: Workers) -> Iterator[Workers]:
    # An interrupted run does not wait for a sync that may take long: its process ends, and the
    # journal is in order.
    wait_for_tasks = True
    try:
        yield workers
    except Stopped:
        wait_for_tasks = False
        raise
    finally:
        workers.ticks.cancel()
        workers.shutdown(wait=wait_for_tasks, cancel_futures=True)
