"""What a signal does at each moment, and which switches count before anything is parsed."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from shardctl.cli.process import (
    after,
    asked,
    can_redraw,
    command_of,
    debugging,
    drawing,
    held,
    stoppable,
    stopped,
)
from shardctl.errors import Stopped


def interrupt(steps: list[str] | None = None, error: Exception | None = None) -> None:
    """Send SIGTERM to this process, which has handled it by the time that this goes on.

    Then a step is noted, or an error raised.
    """
    os.kill(os.getpid(), signal.SIGTERM)
    if steps is not None:
        steps.append("done")
    if error is not None:
        raise error


def test_a_signal_stops_what_can_be_stopped() -> None:
    """Within the block it is an exception, and afterwards what it was before."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as caught, stoppable():
        interrupt()
    assert (caught.value.signum, caught.value.complete) == (signal.SIGTERM, None)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_waits_while_it_is_held() -> None:
    """What the block does is done; then the signal is raised, with the result if there is one."""
    steps: list[str] = []
    with stoppable(), pytest.raises(Stopped) as caught, held():
        interrupt(steps)
    assert (steps, caught.value.complete) == (["done"], None)
    with stoppable(), pytest.raises(Stopped) as caught, held("out/model"):
        interrupt()
    assert caught.value.complete == "out/model"


def test_a_signal_after_the_result() -> None:
    """Once a block with a result has ended, a signal says that it is complete."""
    with stoppable():
        with held("out/model"):
            pass
        with pytest.raises(Stopped) as caught:
            interrupt()
        assert caught.value.complete == "out/model"
    with pytest.raises(Stopped) as caught, after("out/model"):
        raise Stopped(signal.SIGINT)
    assert (caught.value.signum, caught.value.complete) == (signal.SIGINT, "out/model")


def test_an_error_of_what_is_held_is_passed_on() -> None:
    """It goes before a signal that came, whose handler is in place again."""
    with stoppable():
        with pytest.raises(ValueError, match="broken"), held("out/model"):
            interrupt(error=ValueError("broken"))
        with pytest.raises(Stopped) as caught:
            interrupt()
        assert caught.value.complete is None


def test_an_ignored_signal_stays_ignored() -> None:
    """Under `nohup` a terminal that goes away stops nothing."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable(), held():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("resumable", "complete", "message", "hint"),
    [
        (False, None, "interrupted (SIGINT)", "run the command again"),
        (
            True,
            None,
            "interrupted (SIGINT); finished files are kept",
            "run the command again to resume, or add --restart to start over",
        ),
        (
            True,
            "out/m",
            "interrupted (SIGINT); the result is complete: 'out/m'",
            "nothing is left to do: the same command again finds it up to date",
        ),
    ],
)
def test_what_is_said(resumable: bool, complete: str | None, message: str, hint: str) -> None:
    """The message says what became of the work, the hint what to do; the code is the shell's."""
    document = stopped(signal.SIGINT, resumable=resumable, complete=complete)
    assert (document["message"], document["hint"]) == (message, hint)
    assert (document["error"], document["exit_code"], document["file"]) == (
        "stopped",
        130,
        complete,
    )


def test_switches_before_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """A switch is on by an argument or its command's variable, `debug` by the program's too."""
    assert asked("json", ["split", "--json", "a"])
    assert not asked("json", ["split", "a"])
    monkeypatch.setenv("SHARDCTL_SPLIT_JSON", " Yes ")
    assert asked("json", ["split", "a"])
    assert not asked("json", ["merge", "a"])
    monkeypatch.setenv("SHARDCTL_SPLIT_JSON", "0")
    assert not asked("json", ["split", "a"])
    assert not debugging(["split"])
    monkeypatch.setenv("SHARDCTL_DEBUG", "1")
    assert debugging(["split"])
    assert [command_of(each) for each in (["-q", "split", "a"], ["--help"], [])] == [
        "split",
        "",
        "",
    ]


def test_where_to_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """On terminals, but not again and again in the log of a CI run or on a dumb one."""
    for name in ("FORCE_COLOR", "CI", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert not drawing()
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert drawing()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert can_redraw()
    for name, value in (("CI", ""), ("TERM", "dumb")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert not can_redraw()
