"""Messages about a run, with a clock that the test sets."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest
from rich.console import Console

from shardctl.cli.options.shared import ProgressName
from shardctl.cli.progress.bars import Bars
from shardctl.cli.progress.observers import JsonEvents, PlainLines, shown
from shardctl.cli.progress.tally import Tally, format_seconds
from shardctl.cli.terminal.canvas import Canvas
from shardctl.cli.terminal.charts import label
from shardctl.errors import Stopped, StorageError
from shardctl.streams.progress import Observer, Silent
from shardctl.text import cells

MB = 1000 * 1000


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock that progress looks at."""
    return Clock()


def play(observer: Observer, clock: Clock) -> None:
    """A run of two files of 50 MB, one of them kept: 10 MB, and after six seconds 20 MB more, then
    the rest.
    """
    observer.start(100 * MB, {"a": 50 * MB, "b\n": 50 * MB})
    observer.finished("a", 50 * MB, kept=True)
    observer.advance("b\n", 10 * MB)
    clock.now += 6
    observer.advance("b\n", 20 * MB)
    clock.now += 1
    observer.advance("b\n", 20 * MB)
    clock.now += 2
    observer.finished("b\n", 50 * MB, kept=False)
    observer.committing()


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


# bars


def bars_at(width: int, clock: Clock, height: int = 24) -> tuple[Bars, Console]:
    """Bars for a terminal of that size, and the console that they are drawn by."""
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None
    )
    return Bars(console, clock), console


def picture(bars: Bars, console: Console) -> list[str]:
    """The lines that would be drawn now, as wide as the terminal."""
    with console.capture() as captured:
        console.print(bars.picture())
    return captured.get().splitlines()


NAMES = {f"model-{number:05d}-of-00004.safetensors": 50 * MB for number in range(1, 5)}


def running(width: int, clock: Clock) -> tuple[Bars, Console]:
    """A run of four shards: the first copied and in sync, the second halfway."""
    bars, console = bars_at(width, clock)
    bars.start(200 * MB, NAMES)
    first, second, *_ = NAMES
    bars.advance(first, 50 * MB)
    bars.advance(second, 25 * MB)
    clock.now += 5
    return bars, console


def test_bars_say_what_each_file_does(clock: Clock) -> None:
    """A row for each file in work, with what it waits for, one for all, and the time that
    is left.
    """
    bars, console = running(100, clock)
    first, second, total, message = picture(bars, console)
    assert first.startswith("model-00001-of-00004.safetensors ")
    assert first.endswith("syncing 5 s  50.0 MB /  50.0 MB")
    assert second.endswith("50%  25.0 MB /  50.0 MB")
    assert total.endswith("37%  75.0 MB / 200.0 MB")
    assert message == "9 s left, 15.0 MB/s, 0 of 4 files"


@pytest.mark.parametrize("width", [20, 36, 39, 40, 59, 60, 80, 200])
def test_bars_fit(clock: Clock, width: int) -> None:
    """No line reaches the last column at any width, and the shards' names stay distinct."""
    bars, console = running(width, clock)
    lines = picture(bars, console)
    assert len(lines) == 4
    assert max(map(cells, lines)) < width
    assert lines[0][:8] != lines[1][:8] or lines[0].split()[0] != lines[1].split()[0]
    assert ("█" in lines[0]) == (width >= 40)
    assert ("MB /" in lines[0]) == (width >= 60)


def test_bars_do_not_jump(clock: Clock) -> None:
    """A file that is done keeps its row until the next takes it; no column moves and no row goes
    away.
    """
    bars, console = running(100, clock)
    before = picture(bars, console)
    first, second, third, _ = NAMES
    bars.finished(first, 50 * MB, kept=False)
    after = picture(bars, console)
    assert after[0].split()[-6] == "done"
    bars.advance(third, MB)
    later = picture(bars, console)
    assert [line.split()[0] for line in later[:2]] == [third, second]
    assert len(before) == len(after) == len(later)
    assert {line.index("/") for lines in (before, after, later) for line in lines[:3]} == {
        before[0].index("/")
    }


def test_bars_show_checking_and_the_end(clock: Clock) -> None:
    """Reading back after the sync is called checking; the end is called renaming into place."""
    bars, console = running(100, clock)
    bars.advance(next(iter(NAMES)), 0)
    assert "checking" in picture(bars, console)[0]
    bars.committing()
    assert picture(bars, console)[-1].startswith("renaming into place")


def test_bars_look_at_each_name_once(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame looks only at the names that it shows, unless the terminal has another width."""
    looked: list[str] = []

    def counting(name: str, width: int, on: Canvas) -> str:
        looked.append(name)
        return label(name, width, on)

    monkeypatch.setattr("shardctl.cli.progress.bars.label", counting)
    bars, console = running(100, clock)
    picture(bars, console)
    looked.clear()
    picture(bars, console)
    assert looked == list(NAMES)[:2]
    console.width = 50
    picture(bars, console)
    assert set(looked) == set(NAMES)


def test_bars_of_more_files_than_lines(clock: Clock) -> None:
    """On a low terminal some files go without a row; the total keeps its own."""
    bars, console = bars_at(80, clock, height=6)
    bars.start(100, {f"f{number}": 10 for number in range(10)})
    for number in range(10):
        bars.advance(f"f{number}", 5)
    lines = picture(bars, console)
    assert len(lines) == 5
    assert lines[-2].startswith("total")


def test_bars_of_hostile_names(clock: Clock) -> None:
    """Markup, control characters, other scripts and long names stay text in their column."""
    bars, console = bars_at(80, clock)
    names = ["[red]x[/red]", "esc\x1b[2J", "名" * 200, "e\u0301" * 90, "שלום"]
    bars.start(50, dict.fromkeys(names, 10))
    for name in names:
        bars.advance(name, 5)
    lines = picture(bars, console)
    assert len(lines) == 7
    assert lines[0].startswith("[red]x[/red] ")
    assert lines[1].startswith(r"esc\x1b[2J ")
    assert max(map(cells, lines)) < 80
    assert len({cells(line[: line.rindex("/")]) for line in lines[:-1]}) == 1


def test_bars_of_nothing(clock: Clock) -> None:
    """Before the start nothing is drawn, and of a run of no bytes there is a picture."""
    bars, console = bars_at(80, clock)
    assert picture(bars, console) == []
    bars.start(0, {"a": 0})
    bars.advance("a", 0)
    assert "syncing" in picture(bars, console)[0]


def test_bars_go_to_stderr_and_end_with_the_block(capsys: pytest.CaptureFixture[str]) -> None:
    """A whole run writes nothing to stdout."""
    with Bars() as bars:
        play(bars, Clock())
    assert capsys.readouterr().out == ""


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


# the tally


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
