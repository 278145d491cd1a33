"""What carries out the tasks of a run: threads of this process, unless there are other workers.

Threads are enough for copying, since system calls release the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from shardctl.engine.receipts import Receipt
from shardctl.engine.task import ShardTask, write
from shardctl.stores.base import Store
from shardctl.streams.progress import Ticks


class Workers(Protocol):
    """What writes the files of a run.

    Tasks, stores, receipts and errors can be pickled, so workers may be threads, processes or other
    machines. `ticks` collects the progress of all, and cancels them.
    """

    @property
    def ticks(self) -> Ticks: ...

    def write(self, task: ShardTask, source: Store, target: Store) -> Future[Receipt]:
        """Have a worker write the file of a task, whole, under its staged name."""

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """Release the workers; with `wait`, after what was begun has ended."""


#: Makes workers for so many files at once.
Executor = Callable[[int], Workers]


class Threads(ThreadPoolExecutor):
    """Workers that are threads of this process."""

    def __init__(self, jobs: int) -> None:
        super().__init__(max_workers=jobs, thread_name_prefix="shard")
        self.ticks = Ticks()

    def write(self, task: ShardTask, source: Store, target: Store) -> Future[Receipt]:
        return self.submit(write, task, source, target, self.ticks.of(task.filename))
