"""What carries out the tasks of a run: threads of this process, unless there are other workers.

Threads are enough for copying, since system calls release the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from shardctl.engine.task import ShardTask
from shardctl.errors import Stopped
from shardctl.stores.base import Store
from shardctl.streams.chunks import PART_BYTES
from shardctl.streams.progress import TICK_SECONDS, Observer, Tick, Ticks

#: What is known of a file that was written: its receipt, or more than that.
Written = TypeVar("Written")
#: Writes the file of a task, whole, under its staged name: a function of a module, which can be
#: pickled.
Write = Callable[[ShardTask, Store, Store, Tick], Written]


class Workers(Protocol):
    """What writes the files of a run.

    Tasks, stores, receipts and errors can be pickled, so workers may be threads, processes or other
    machines. `ticks` collects the progress of all, and cancels them.
    """

    @property
    def ticks(self) -> Ticks: ...

    def write(
        self, write: Write[Written], task: ShardTask, source: Store, target: Store
    ) -> Future[Written]:
        """Have a worker write the file of a task."""

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """Release the workers; with `wait`, after what was begun has ended."""


#: Makes workers for so many files at once.
Executor = Callable[[int], Workers]


class Threads(ThreadPoolExecutor):
    """Workers that are threads of this process."""

    def __init__(self, jobs: int) -> None:
        super().__init__(max_workers=jobs, thread_name_prefix="shard")
        self.ticks = Ticks()

    def write(
        self, write: Write[Written], task: ShardTask, source: Store, target: Store
    ) -> Future[Written]:
        return self.submit(write, task, source, target, self.ticks.of(task.filename))


def carry_out(
    write: Write[Written],
    tasks: Sequence[ShardTask],
    source: Store,
    target: Store,
    executor: Executor,
    jobs: int,
    observe: Observer,
    accept: Callable[[Written], object],
) -> None:
    """Have workers `write` the file of each task, and `accept` what each returns, on this thread.

    `observe` is shown the bytes. Where a task fails, its error is raised, after those files were
    accepted that are finished by then; workers end what they have begun, or give it up.
    """
    with _shut_down(executor(jobs)) as workers:
        order = {
            workers.write(write, task, source, target): number
            for number, task in enumerate(_spread(tasks, jobs))
        }
        # `concurrent.futures.wait` would look at every file for each one that is finished.
        ended: SimpleQueue[Future[Written]] = SimpleQueue()
        for future in order:
            future.add_done_callback(ended.put)
        left = len(order)
        while left:
            finished = list(_taken(ended))
            left -= len(finished)
            workers.ticks.drain(observe.advance)
            # What is finished is noted before a failure of the same moment ends the run; both in
            # the tasks' order.
            for future in sorted(
                finished, key=lambda future: (future.exception() is not None, order[future])
            ):
                accept(future.result())


def _taken(ended: SimpleQueue[Future[Written]]) -> Iterator[Future[Written]]:
    """Yield what is in a queue; where it is empty, wait a moment for the first."""
    with suppress(Empty):
        yield ended.get(timeout=TICK_SECONDS)
        while True:
            yield ended.get_nowait()


def _spread(tasks: Sequence[ShardTask], jobs: int) -> list[ShardTask]:
    """Give large files the threads that are left over where there are fewer of them than `jobs`.

    A small one is a single part.
    """
    large = sum(task.layout.nbytes > PART_BYTES for task in tasks)
    return [
        replace(task, threads=max(1, jobs // large)) if task.layout.nbytes > PART_BYTES else task
        for task in tasks
    ]


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
