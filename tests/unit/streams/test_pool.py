"""Where tasks run."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator

import pytest

from shardctl.streams.pool import BATCH_BYTES, batches, default_jobs, in_order, observed
from shardctl.streams.progress import Tick
from tests.support.observers import Counting


@pytest.mark.parametrize(("cores", "jobs"), [(None, 2), (1, 2), (2, 2), (3, 3), (4, 4), (128, 4)])
def test_the_default_is_small(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, jobs: int
) -> None:
    """Two to four files at once, whatever the machine."""
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert default_jobs() == jobs


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_the_order_of_the_items(jobs: int) -> None:
    """Whatever ends first, results stand in the order of what they were made of."""
    assert list(in_order(jobs, lambda number: number * number, range(50))) == [
        number * number for number in range(50)
    ]


@pytest.mark.parametrize("jobs", [1, 3])
def test_items_are_taken_as_there_is_room(jobs: int) -> None:
    """An endless series of items gives results; what is not asked for is not begun."""
    results = in_order(jobs, abs, itertools.count())
    assert [next(results) for _ in range(20)] == list(range(20))
    assert isinstance(results, Generator)
    results.close()


@pytest.mark.parametrize(("jobs", "items"), [(1, 3), (2, 1), (2, 0)])
def test_no_thread_is_started_for_what_needs_none(jobs: int, items: int) -> None:
    """One job, or one item, is work for the thread that asks for it."""
    threads = in_order(jobs, lambda _: threading.get_ident(), range(items))
    assert list(threads) == [threading.get_ident()] * items


def test_a_failure_ends_it() -> None:
    """What the work raises is raised where its result is due, after the results before it."""

    def fail_at_five(number: int) -> int:
        if number == 5:
            raise ValueError(number)
        return number

    results = in_order(2, fail_at_five, itertools.count())
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="5"):
        next(results)


def test_what_is_read_is_shown() -> None:
    """The observer gets every byte that the work counts, as those of one file."""

    def read(number: int, tick: Tick) -> int:
        tick(number)
        return -number

    observer = Counting()
    assert list(observed(2, read, range(5), int, observer, "m")) == [0, -1, -2, -3, -4]
    assert observer.sizes == observer.advanced == observer.done == {"m": 10}


def test_small_items_are_handled_together() -> None:
    """Groups have the items in order, none is empty, and a large item is one by itself."""
    few = [BATCH_BYTES // 3] * 5
    assert list(map(len, batches(few, int))) == [2, 2, 1]
    mixed = [0, 2 * BATCH_BYTES, 1, BATCH_BYTES, 5]
    assert list(batches(mixed, int)) == [[0], [2 * BATCH_BYTES], [1], [BATCH_BYTES], [5]]
    assert list(batches([], int)) == []
    empty = list(map(len, batches([0] * 1000, int)))
    assert sum(empty) == 1000
    assert 1 < len(empty) < 10
