"""Threads that carry out the tasks of a run."""

from __future__ import annotations

import threading

from shardctl.engine.workers.executors import Threads


def test_as_many_at_once_as_asked_for() -> None:
    """Three tasks that wait for each other all get going on three threads."""
    barrier = threading.Barrier(3, timeout=60)
    with Threads(3) as executor:
        waiting = [executor.submit(barrier.wait) for _ in range(3)]
        assert sorted(each.result() for each in waiting) == [0, 1, 2]


def test_one_at_a_time_is_in_order() -> None:
    """With one job, tasks run one after another, as they were given, off the caller's thread."""
    ran: list[int] = []
    with Threads(1) as executor:
        for number in range(20):
            executor.submit(ran.append, number)
        name = executor.submit(lambda: threading.current_thread().name).result()
    assert ran == list(range(20))
    assert name.startswith("shard")
