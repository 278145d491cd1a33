"""Lines and JSON events about a run, and which of them are shown."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from shardctl.cli.options.shared import ProgressName
from shardctl.cli.progress.bars import Bars
from shardctl.cli.progress.observers import JsonEvents, PlainLines, shown
from shardctl.errors import Stopped, StorageError
from shardctl.streams.progress import Silent
from tests.support.clocks import MB, Clock, play


def test_plain_lines(clock: Clock) -> None:
    """A line at the start, for what is kept, every five seconds, and for each wait; the rate counts
    what was moved.
    """
    out = io.StringIO()
    play(PlainLines(out, clock), clock)
    assert out.getvalue().splitlines() == [
        "writing 2 files, 100.0 MB",
        "reusing a from the interrupted run",
        "80% 80.0 MB of 100.0 MB, 5.0 MB/s, 4 s left",
        "100% 100.0 MB, 7.1 MB/s; syncing",
        "renaming into place",
    ]


def test_plain_lines_keep_to_the_grid(clock: Clock) -> None:
    """A line that is late does not put off the next one, and a moment has no two."""
    out = io.StringIO()
    lines = PlainLines(out, clock)
    lines.start(100 * MB, {"a": 100 * MB})
    at = []
    for _ in range(24):
        clock.now += 0.8
        before = out.tell()
        lines.advance("a", MB)
        if out.tell() > before:
            at.append(round(clock.now - 1000, 1))
    assert at == [5.6, 10.4, 15.2]


@pytest.mark.parametrize("nbytes", [0, 10])
def test_short_runs_are_one_line(clock: Clock, nbytes: int) -> None:
    """A run of nothing, or of a moment, says no more than what it writes, and divides by
    no zero.
    """
    out = io.StringIO()
    lines = PlainLines(out, clock)
    lines.start(nbytes, {"a": nbytes})
    lines.advance("a", nbytes)
    lines.finished("a", nbytes, kept=False)
    lines.committing()
    assert out.getvalue() == f"writing 1 file, {nbytes} B\n"


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream."""
    return [json.loads(line) for line in text.splitlines()]


def test_json_events(clock: Clock) -> None:
    """One object a line, with names as they are; `advance` at most twice a second, every file, and
    the end.
    """
    out = io.StringIO()
    with JsonEvents(out, clock) as observer:
        play(observer, clock)
    assert events_of(out.getvalue()) == [
        {"event": "start", "total": 100 * MB, "files": {"a": 50 * MB, "b\n": 50 * MB}},
        {"event": "shard-done", "file": "a", "size": 50 * MB, "kept": True},
        {"event": "advance", "file": "b\n", "done": 60 * MB, "total": 100 * MB},
        {"event": "advance", "file": "b\n", "done": 80 * MB, "total": 100 * MB},
        {"event": "advance", "file": "b\n", "done": 100 * MB, "total": 100 * MB},
        {"event": "syncing", "file": "b\n"},
        {"event": "shard-done", "file": "b\n", "size": 50 * MB, "kept": False},
        {"event": "committing", "done": 100 * MB, "total": 100 * MB},
        {"event": "done", "done": 100 * MB, "total": 100 * MB, "seconds": 9.0},
    ]


def test_json_events_are_not_many(clock: Clock) -> None:
    """A thousand ticks within a moment are one line."""
    out = io.StringIO()
    events = JsonEvents(out, clock)
    events.start(5000, {"a": 5000})
    for _ in range(1000):
        clock.now += 0.0001
        events.advance("a", 1)
    assert [event["event"] for event in events_of(out.getvalue())] == ["start", "advance"]


@pytest.mark.parametrize(
    ("caught", "code", "exit_code"),
    [(StorageError("full", hint="free some", file="f", offset=7), "storage", 5),
     (Stopped(15), "stopped", 143), (ValueError("bug"), "internal-error", 70)],
)  # fmt: skip
def test_json_events_end_with_the_error(
    clock: Clock, caught: BaseException, code: str, exit_code: int
) -> None:
    """A run that fails or is stopped ends its events with what an error's document says, and passes
    it on.
    """
    out = io.StringIO()

    def run() -> None:
        with JsonEvents(out, clock) as events:
            events.start(1, {"a": 1})
            raise caught

    with pytest.raises(type(caught)):
        run()
    last = events_of(out.getvalue())[-1]
    assert list(last) == [
        "event",
        "error",
        "message",
        "file",
        "tensor",
        "offset",
        "hint",
        "exit_code",
    ]
    assert (last["event"], last["error"], last["exit_code"]) == ("error", code, exit_code)


def test_silence(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said."""
    play(Silent(), clock)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("how", "quiet", "kind"),
    [(ProgressName.auto, False, PlainLines), (ProgressName.plain, False, PlainLines),
     (ProgressName.json, False, JsonEvents), (ProgressName.none, False, Silent),
     (ProgressName.json, True, Silent)],
)  # fmt: skip
def test_which_is_shown(how: ProgressName, kind: type, *, quiet: bool) -> None:
    """In a pipe `auto` is plain lines; quiet is quiet."""
    with shown(how, quiet=quiet) as observer:
        assert type(observer) is kind


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal `auto` draws, unless it is a dumb one or a CI's."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with shown(ProgressName.auto, quiet=False) as observer:
        assert type(observer) is Bars
    for name, value in (("TERM", "dumb"), ("CI", "true")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with shown(ProgressName.auto, quiet=False) as observer:
                assert type(observer) is PlainLines
