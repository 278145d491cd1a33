"""Threads of this process that work on many items, whose results come in the items' order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from shardctl.errors import Stopped
from shardctl.streams.progress import TICK_SECONDS, Observer, Tick, Ticks

Item = TypeVar("Item")
Result = TypeVar("Result")


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
    called by the calling thread now and then as it waits; without it, and with one job, that thread
    does the work itself.
    """
    if jobs == 1 and meanwhile is None:
        yield from map(work, items)
        return
    with _pool(jobs) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > jobs:
                yield _result(waiting.popleft(), meanwhile)
        while waiting:
            yield _result(waiting.popleft(), meanwhile)


def observed(
    jobs: int,
    work: Callable[[Item, Tick], Result],
    items: Iterable[Item],
    observe: Observer | None,
    whole: tuple[str, int],
) -> Iterator[Result]:
    """Yield the results of `work`, as `in_order` does, while `observe` is shown the bytes.

    `work` counts with its tick the bytes that it has read; to the observer they are those of one
    file, which `whole` names with its size.
    """
    ticks = Ticks()
    name, nbytes = whole
    tick = ticks.of(name)
    if observe is not None:
        observe.start(nbytes, {name: nbytes})

    def meanwhile() -> None:
        if observe is not None:
            ticks.drain(observe.advance)

    try:
        yield from in_order(jobs, lambda item: work(item, tick), items, meanwhile)
    finally:
        ticks.cancel()
    meanwhile()
    if observe is not None:
        observe.finished(name, nbytes, kept=False)


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
