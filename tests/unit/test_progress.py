"""What is told of a run, with a clock that the test winds."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from shardctl.cli import progress
from shardctl.cli.options import ProgressName
from shardctl.cli.progress import Bars, JsonEvents, PlainLines, Silent, shown
from shardctl.engine.run import Observer
from shardctl.engine.task import Receipt
from shardctl.stores.base import Copied

MB = 1000 * 1000


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that progress looks at."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def receipt(name: str, nbytes: int) -> Receipt:
    """A finished file."""
    return Receipt(name, nbytes, None, Copied())


def play(observer: Observer, clock: Clock) -> None:
    """A run of two files of 50 MB, one of them kept: 10 MB, and after six seconds 20 MB more."""
    observer.start(100 * MB, {"a": 50 * MB, "b\n": 50 * MB})
    observer.finished(receipt("a", 50 * MB), kept=True)
    observer.advance("b\n", 10 * MB)
    clock.now += 6
    observer.advance("b\n", 20 * MB)
    clock.now += 1
    observer.advance("b\n", 20 * MB)
    observer.finished(receipt("b\n", 50 * MB), kept=False)
    observer.committing()


def test_plain_lines(clock: Clock) -> None:
    """A line at the start, for what is kept, and every five seconds; the rate counts only what was moved."""
    out = io.StringIO()
    play(PlainLines(out), clock)
    assert out.getvalue().splitlines() == [
        "writing 2 files, 100.0 MB",
        "kept from the run before: a",
        "80% 80.0 MB of 100.0 MB, 5.0 MB/s, 4 s left (b\\n)",
    ]


def test_plain_lines_of_nothing(clock: Clock) -> None:
    """An empty run divides by no zero."""
    out = io.StringIO()
    lines = PlainLines(out)
    lines.start(0, {"a": 0})
    clock.now += 9
    lines.advance("a", 0)
    assert out.getvalue().splitlines()[0] == "writing 1 file, 0 B"
    assert "0%" in out.getvalue()


def test_json_events(clock: Clock) -> None:
    """One object a line, with names as they are; `advance` at most twice a second, and every file when it is done."""
    out = io.StringIO()
    play(JsonEvents(out), clock)
    events: list[dict[str, Any]] = [json.loads(line) for line in out.getvalue().splitlines()]
    assert events == [
        {"event": "start", "total": 100 * MB, "files": {"a": 50 * MB, "b\n": 50 * MB}},
        {"event": "shard-done", "file": "a", "size": 50 * MB, "kept": True},
        {"event": "advance", "file": "b\n", "done": 60 * MB, "total": 100 * MB},
        {"event": "advance", "file": "b\n", "done": 80 * MB, "total": 100 * MB},
        {"event": "advance", "file": "b\n", "done": 100 * MB, "total": 100 * MB},
        {"event": "shard-done", "file": "b\n", "size": 50 * MB, "kept": False},
        {"event": "committing", "done": 100 * MB, "total": 100 * MB},
    ]


def test_json_events_are_not_many(clock: Clock) -> None:
    """A thousand ticks within a moment are one line."""
    out = io.StringIO()
    events = JsonEvents(out)
    for _ in range(1000):
        clock.now += 0.0001
        events.advance("a", 1)
    assert len(out.getvalue().splitlines()) == 1


def test_silence(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said."""
    play(Silent(), clock)
    assert capsys.readouterr() == ("", "")


def test_bars_say_nothing_where_nobody_sees_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Bars go to stderr alone, can be told of anything, and end with the block."""
    with Bars() as bars:
        bars.advance("early", 1)
        play(bars, Clock())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("how", "quiet", "kind"),
    [(ProgressName.auto, False, PlainLines), (ProgressName.plain, False, PlainLines),
     (ProgressName.json, False, JsonEvents), (ProgressName.none, False, Silent), (ProgressName.json, True, Silent)],
)  # fmt: skip
def test_which_is_shown(how: ProgressName, kind: type, *, quiet: bool) -> None:
    """In a pipe `auto` is plain lines; quiet is quiet."""
    with shown(how, quiet=quiet) as observer:
        assert type(observer) is kind


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal `auto` draws, unless it is a dumb one or a CI's."""
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with shown(ProgressName.auto, quiet=False) as observer:
        assert type(observer) is Bars
    for name, value in (("TERM", "dumb"), ("CI", "true")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with shown(ProgressName.auto, quiet=False) as observer:
                assert type(observer) is PlainLines
