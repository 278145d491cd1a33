"""How the reading of headers is shown on stderr."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import pytest

from shardctl.cli.options.shared import ProgressName
from shardctl.cli.progress import headers
from shardctl.errors import InputError


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(
    how: ProgressName,
    *,
    seconds: float = 1.0,
    quiet: bool = False,
    verbose: bool = False,
    ends: bool = True,
) -> None:
    """Open ten files, one after every so many seconds."""
    clock: Iterator[float] = iter(number * seconds / 2 for number in range(100))
    with headers.shown(
        how, quiet=quiet, verbose=verbose, ends=ends, clock=lambda: next(clock)
    ) as opened:
        for number in range(10):
            opened(f"m/{number}\x1b", 1000, number + 1, 10)


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal; it is pytest's own again after the test."""
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    return stream


def events(text: str) -> list[dict[str, object]]:
    """The JSON events, one a line."""
    return [json.loads(line) for line in text.splitlines()]


def test_quick_reading_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Where all headers are read within the first seconds, a log gets no line."""
    shown(ProgressName.plain, seconds=0.01)
    assert capsys.readouterr().err == ""


def test_slow_reading_shows_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A log gets a line every five seconds."""
    shown(ProgressName.auto, seconds=4.0)
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 3
    assert all(line.startswith("reading header ") for line in lines)


def test_a_terminal_gets_one_line_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal one line is drawn over and over, and nothing of it stays."""
    stream = terminal(monkeypatch)
    shown(ProgressName.auto)
    text = stream.getvalue()
    assert "\r\x1b[Kreading header 3 of 10" in text
    assert "\n" not in text
    assert text.endswith("\r\x1b[K")


def test_a_terminal_shows_nothing_of_quick_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal nothing at all is written within the first half second."""
    stream = terminal(monkeypatch)
    shown(ProgressName.auto, seconds=0.001)
    assert stream.getvalue() == ""


def test_json_events(capsys: pytest.CaptureFixture[str]) -> None:
    """Each event says which file was opened and how many of how many; the last one ends them."""
    shown(ProgressName.json)
    *read, done = events(capsys.readouterr().err)
    assert {event["event"] for event in read} == {"header"}
    assert read[0] == {"event": "header", "file": "m/0\x1b", "number": 1, "files": 10}
    assert done["event"] == "done"


def test_quick_reading_has_no_json_events(capsys: pytest.CaptureFixture[str]) -> None:
    """Within the first half second there is no event but the last."""
    shown(ProgressName.json, seconds=0.001)
    assert [event["event"] for event in events(capsys.readouterr().err)] == ["done"]


def test_json_events_before_other_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Where other progress follows, no event says that all is done."""
    shown(ProgressName.json, ends=False)
    assert {event["event"] for event in events(capsys.readouterr().err)} == {"header"}


def test_a_failure_is_the_last_json_event(capsys: pytest.CaptureFixture[str]) -> None:
    """An error ends the events with what it says."""

    def fail() -> None:
        with headers.shown(ProgressName.json, quiet=False, verbose=False):
            raise InputError("broken", hint="replace it")

    with pytest.raises(InputError):
        fail()
    *_, last = events(capsys.readouterr().err)
    assert (last["event"], last["message"], last["exit_code"]) == ("error", "broken", 3)


@pytest.mark.parametrize("how", list(ProgressName))
def test_quiet_shows_nothing(how: ProgressName, capsys: pytest.CaptureFixture[str]) -> None:
    """With `quiet` neither progress nor files are shown."""
    shown(how, quiet=True, verbose=True)
    assert capsys.readouterr().err == ""


def test_verbose_lists_every_file(capsys: pytest.CaptureFixture[str]) -> None:
    """With `verbose` each file is a line with its size; names are escaped."""
    shown(ProgressName.none, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"reads m/{number}\\x1b (1.0 KB)" for number in range(10)]


def test_verbose_lines_on_a_terminal_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listed file takes the place of the line that was drawn."""
    stream = terminal(monkeypatch)
    shown(ProgressName.auto, verbose=True)
    first, *lines = stream.getvalue().split("\n")
    assert first.startswith("reads m/0")
    assert len(lines) == 10
    assert all("\r\x1b[Kreads m/" in line for line in lines[1:-1])
    assert lines[-1] == ""
