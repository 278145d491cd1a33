"""Bars on a terminal: what each row says, and that nothing jumps or runs over."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from shardctl.cli.progress.bars import Bars
from shardctl.cli.terminal.canvas import Canvas
from shardctl.cli.terminal.charts import label
from shardctl.text import cells
from tests.support.clocks import MB, Clock, play


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
