"""Threads of this process that work on many items, whose results come in the items' order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import chain, islice
from typing import TypeVar

from shardctl.errors import Stopped
from shardctl.streams.progress import TICK_SECONDS, Observer, Tick, Ticks

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Bytes that a thread reads for small items at once: enough for handing them over to cost nothing.
BATCH_BYTES = 1024 * 1024
#: What an item costs, be it empty, in bytes that could be read meanwhile.
_ITEM_BYTES = 4096


def default_jobs() -> int:
    """Return how many files to write in parallel: 2 to 4, by the number of CPUs.

    That is enough to keep an ordinary disk busy while another file is synced.
    """
    return max(2, min(4, os.cpu_count() or 1))


def in_order(
    jobs: int,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    meanwhile: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """Yield the results of `work` in the order of the items, from up to `jobs` threads.

    Items are taken as there is room for them, so that a million of them take no memory. Where one
    fails, or the caller wants no more results, what has not begun is not begun. `meanwhile` is
    called by the calling thread now and then as it waits; without it, and with one job or one item,
    that thread does the work itself.
    """
    rest = iter(items)
    first = tuple(islice(rest, 2))
    if meanwhile is None and (jobs == 1 or len(first) < 2):
        yield from map(work, chain(first, rest))
        return
    with _pool(jobs) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in chain(first, rest):
            waiting.append(pool.submit(work, item))
            if len(waiting) > jobs:
                yield _result(waiting.popleft(), meanwhile)
        while waiting:
            yield _result(waiting.popleft(), meanwhile)


def observed(
    jobs: int,
    work: Callable[[Item, Tick], Result],
    items: Collection[Item],
    nbytes: Callable[[Item], int],
    observe: Observer | None,
    name: str,
) -> Iterator[Result]:
    """Yield the results of `work`, as `in_order` does, while `observe` is shown the bytes.

    `work` counts with its tick the bytes that it has read, `nbytes` of an item in the end; to the
    observer all are those of one file of that name. A thread takes many small items at once.
    """
    ticks = Ticks()
    tick = ticks.of(name)
    total = sum(map(nbytes, items))
    if observe is not None:
        observe.start(total, {name: total})

    def meanwhile() -> None:
        if observe is not None:
            ticks.drain(observe.advance)

    def work_on(batch: Sequence[Item]) -> list[Result]:
        return [work(item, tick) for item in batch]

    try:
        for results in in_order(jobs, work_on, batches(items, nbytes), meanwhile):
            yield from results
    finally:
        ticks.cancel()
    meanwhile()
    if observe is not None:
        observe.finished(name, total, kept=False)


def batches(items: Iterable[Item], nbytes: Callable[[Item], int]) -> Iterator[Sequence[Item]]:
    """Yield the items, in order, in groups of about BATCH_BYTES: a large item is one by itself.

    Handing an item to a thread takes longer than reading a small one.
    """
    batch: list[Item] = []
    room = BATCH_BYTES
    for item in items:
        needed = nbytes(item) + _ITEM_BYTES
        if batch and needed > room:
            yield batch
            batch, room = [], BATCH_BYTES
        batch.append(item)
        room -= needed
    if batch:
        yield batch


def _result(future: Future[Result], meanwhile: Callable[[], None] | None) -> Result:
    while meanwhile is not None and not future.done():
        wait([future], timeout=TICK_SECONDS)
        meanwhile()
    return future.result()


@contextmanager
def _pool(jobs: int) -> Iterator[Executor]:
    pool = ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="part")
    wait_for_threads = True
    try:
        yield pool
    except Stopped:
        # The process ends; what its threads still read is not waited for.
        wait_for_threads = False
        raise
    finally:
        pool.shutdown(wait=wait_for_threads, cancel_futures=True)
