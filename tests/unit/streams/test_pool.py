"""Where tasks run."""

from __future__ import annotations

import itertools
from collections.abc import Generator

import pytest

from shardctl.streams.pool import default_jobs, in_order, observed
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
    assert list(observed(2, read, range(5), observer, ("m", 10))) == [0, -1, -2, -3, -4]
    assert observer.sizes == observer.advanced == observer.done == {"m": 10}
