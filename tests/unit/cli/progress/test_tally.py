"""What a run has done, how fast it is, and how long it will take."""

from __future__ import annotations

import pytest

from shardctl.cli.progress.tally import Tally, format_seconds
from tests.support.clocks import Clock


def test_the_share_is_100_only_at_the_end(clock: Clock) -> None:
    """The last byte makes the hundredth percent; no rate is known where no time has passed."""
    tally = Tally(clock)
    tally.start(1000, {"a": 1000})
    tally.advance("a", 999)
    assert (tally.percent, tally.rate, tally.left) == (99, 0, None)
    clock.now += 9
    assert (tally.rate, tally.left) == (111, 1)
    tally.advance("a", 1)
    assert tally.percent == 100
    assert tally.copied("a")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1:00"), (3599, "59:59"), (7209, "2:00:09")],
)
def test_times(seconds: int, text: str) -> None:
    """Seconds, minutes and hours as people read them."""
    assert format_seconds(seconds) == text


def test_what_was_kept_is_done_and_not_moved(clock: Clock) -> None:
    """The rate counts bytes of this run alone, and the rest takes as long as these did."""
    tally = Tally(clock)
    tally.start(1000, {"a": 600, "b": 400})
    tally.finish(600, kept=True)
    tally.advance("b", 100)
    clock.now += 10
    assert (tally.done, tally.moved, tally.finished) == (700, 100, 1)
    assert (tally.rate, tally.left, tally.percent) == (10, 30, 70)
    assert not tally.copied("b")
    tally.finish(400, kept=False)
    assert (tally.done, tally.finished) == (700, 2)


def test_a_run_of_no_bytes_is_done() -> None:
    """There is nothing left of it, and nothing is divided by."""
    tally = Tally(Clock())
    tally.start(0, {})
    assert (tally.percent, tally.all_copied, tally.left) == (100, True, None)
