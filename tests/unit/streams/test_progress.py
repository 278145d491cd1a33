"""Progress adds up wherever it comes from, and a cancelled run stops at its next tick."""

from __future__ import annotations

from threading import Thread

import pytest

from shardctl.streams.progress import CancelledError, Silent, Ticks, no_tick


def test_ticks_are_summed_for_each_file() -> None:
    """What was done since the last look is handed on once, in the order of the files."""
    ticks = Ticks()
    seen: list[tuple[str, int]] = []
    b, a = ticks.of("b"), ticks.of("a")
    b(1)
    a(2)
    b(3)
    a(0)
    ticks.drain(lambda name, nbytes: seen.append((name, nbytes)))
    assert seen == [("b", 4), ("a", 2)]
    ticks.drain(lambda name, nbytes: seen.append((name, nbytes)))
    assert len(seen) == 2
    b(0)
    ticks.drain(lambda name, nbytes: seen.append((name, nbytes)))
    assert seen[-1] == ("b", 0)


def test_ticks_of_several_threads_add_up() -> None:
    """None is lost."""
    ticks = Ticks()
    threads = [Thread(target=lambda: [ticks.of("f")(1) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total: list[int] = []
    ticks.drain(lambda _, nbytes: total.append(nbytes))
    assert sum(total) == 2_000


def test_a_cancelled_run_stops_at_its_next_tick() -> None:
    """Every tick raises from then on, and counts nothing."""
    ticks = Ticks()
    tick = ticks.of("f")
    tick(1)
    ticks.cancel()
    for each in (tick, ticks.of("g")):
        with pytest.raises(CancelledError):
            each(5)
    seen: list[int] = []
    ticks.drain(lambda _, nbytes: seen.append(nbytes))
    assert seen == [1]


def test_runs_do_not_share_their_ticks() -> None:
    """Cancelling one does not stop another, nor is its progress counted there."""
    one, other = Ticks(), Ticks()
    one.of("f")(1)
    one.cancel()
    other.of("f")(2)
    seen: list[int] = []
    other.drain(lambda _, nbytes: seen.append(nbytes))
    assert seen == [2]


def test_without_an_observer_nothing_is_shown() -> None:
    """All events can be given to one that shows nothing."""
    silent = Silent()
    silent.start(1, {"f": 1})
    silent.advance("f", 1)
    silent.finished("f", 1, kept=False)
    silent.committing()
    no_tick(1)
