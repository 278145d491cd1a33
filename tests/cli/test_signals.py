"""Signals that stop a command, from the first line of the entry point to the end of the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from shardctl.cli.exits import run
from shardctl.cli.process import after, held, stoppable
from shardctl.errors import Stopped
from tests.support.program import ROOT
from tests.support.safetensors_files import plain_directory

#: The program with a trap, which is set once the entry point is imported. Its signals are as a
#: terminal's shell sets them, whatever the tests themselves were started with.
PROGRAM = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from shardctl.__main__ import main
{trap}
main()
"""
#: Prints every module that is looked for.
LISTING = """
class Listing:
    def find_spec(self, name, path=None, target=None):
        print("import", name, file=sys.__stderr__)
sys.meta_path.insert(0, Listing())
"""
#: Sends a signal to itself, once, while a module is being imported.
INTERRUPTING = """
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {signum})
sys.meta_path.insert(0, Interrupting())
"""
#: Prints a line once the last signal has its handler.
READY = """
handle = signal.signal
def handle_and_say(signum, handler):
    before = handle(signum, handler)
    if signum == signal.SIGHUP:
        signal.signal = handle
        print("ready", flush=True)
    return before
signal.signal = handle_and_say
"""
#: Every how many modules one is tried.
STEP = 6


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with one file of two tensors."""
    return plain_directory(tmp_path / "source", ["a", "b"])


def start(trap: str, *arguments: object) -> subprocess.Popen[str]:
    """Start the program with a trap."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(trap=trap), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def ended(trap: str, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the program with a trap."""
    with start(trap, *arguments) as running:
        out, said = running.communicate()
    return running.returncode, out, said


def test_ctrl_c_during_any_import(source: Path) -> None:
    """Whatever is being imported, Ctrl-C ends the command with 130 and one line, from the entry
    point's first line.
    """
    code, _, said = ended(LISTING, "inspect", source)
    modules = [line.removeprefix("import ") for line in said.splitlines()]
    assert code == 0
    # The first is needed to handle signals, the last by the command itself.
    named = ("shardctl.cli.process", "typer", "shardctl.cli.commands.reporting")
    assert set(named) <= set(modules)
    for module in (*named, *modules[::STEP]):
        trap = INTERRUPTING.format(module=module, signum=int(signal.SIGINT))
        assert (module, *ended(trap, "inspect", source)) == (
            module,
            130,
            "",
            "interrupted (SIGINT)\n",
        )


@pytest.mark.parametrize("module", ["typer", "shardctl.cli.commands.reporting"])
@pytest.mark.parametrize(
    "signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda signum: signum.name
)
def test_each_signal_before_the_work(
    source: Path, tmp_path: Path, signum: signal.Signals, module: str
) -> None:
    """Each signal that comes before a writer has begun ends it with 128 + signal, one line, and no
    target.
    """
    trap = INTERRUPTING.format(module=module, signum=int(signum))
    code, out, said = ended(trap, "split", source, tmp_path / "out")
    assert (code, out, said) == (128 + signum, "", f"interrupted ({signum.name})\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("variable", [False, True], ids=["option", "variable"])
def test_the_line_in_json(source: Path, monkeypatch: pytest.MonkeyPatch, variable: bool) -> None:
    """With --json, or its variable, the line is a JSON document."""
    if variable:
        monkeypatch.setenv("SHARDCTL_INSPECT_JSON", "1")
    trap = INTERRUPTING.format(module="typer", signum=int(signal.SIGTERM))
    code, out, said = ended(trap, "inspect", source, *([] if variable else ["--json"]))
    assert (code, out) == (143, "")
    assert json.loads(said) == {
        "error": "stopped",
        "message": "interrupted (SIGTERM)",
        "file": None,
        "tensor": None,
        "offset": None,
        "hint": "run the command again",
        "exit_code": 143,
    }


@pytest.mark.parametrize("milliseconds", range(0, 151, 10))
def test_ctrl_c_at_any_moment(source: Path, milliseconds: int) -> None:
    """However long after the start Ctrl-C comes, the command ends with 130 or is done, and never
    with a traceback.
    """
    with start(READY, "inspect", source) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        time.sleep(milliseconds / 1000)
        running.send_signal(signal.SIGINT)
        # Not `communicate`, which loses what was read ahead with the first line.
        assert running.stderr is not None
        out, said = running.stdout.read(), running.stderr.read()
    assert "Traceback" not in said
    if running.returncode == 130:
        assert said.splitlines()[0] == "interrupted (SIGINT)"
    else:
        # Python takes its handlers away at the very end, when the results are already printed.
        assert running.returncode in (0, -signal.SIGINT), said
        assert out.startswith("name\tdtype\t")


@pytest.mark.parametrize("module", ["typer", "shardctl.cli.commands.reporting"])
def test_ignored_signals_stay_ignored(source: Path, module: str) -> None:
    """What was ignored from the start, as by `nohup`, stops nothing."""
    for signum in (signal.SIGINT, signal.SIGHUP):
        ignoring = f"signal.signal({int(signum)}, signal.SIG_IGN)\n"
        trap = ignoring + INTERRUPTING.format(module=module, signum=int(signum))
        code, out, said = ended(trap, "inspect", source)
        assert (code, out.count("\n"), said) == (0, 3, "")


def test_a_signal_without_stderr(source: Path) -> None:
    """Where the line cannot be written, the exit code is the same."""
    trap = (
        "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)\n"
        if Path("/dev/full").exists()
        else "os.close(2)\n"
    )
    code, out, said = ended(trap + INTERRUPTING.format(module="typer", signum=2), "inspect", source)
    assert (code, out, said) == (130, "", "")


@pytest.mark.parametrize(
    ("command", "resumable"), [("split", True), ("inspect", False), ("verify", False)]
)
def test_the_hint_names_no_option_that_is_missing(
    capsys: pytest.CaptureFixture[str], command: str, resumable: bool
) -> None:
    """A command that is stopped at work says what is kept and how to go on; only writers have
    --restart.
    """

    def stopped(**_: object) -> None:
        raise Stopped(signal.SIGINT)

    assert run(stopped, [command, "model"]) == 130
    message, hint = capsys.readouterr().err.splitlines()
    assert message.startswith("interrupted (SIGINT)")
    assert hint.startswith("  hint: run the command again")
    assert ("kept" in message, "--restart" in hint) == (resumable, resumable)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_result_that_is_complete_is_named(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    """A signal that came when nothing was left to do ends with its code and the result's path,
    which no terminal gets raw; nothing is to be resumed then.
    """

    def stopped(**_: object) -> None:
        with held("target/\x1bindex"):
            signal.raise_signal(signal.SIGTERM)

    assert run(stopped, ["split", "model", "target", *options]) == 143
    said = capsys.readouterr().err
    assert "the result is complete: 'target/" in said
    assert "\x1b" not in said
    assert "resume" not in said
    if options:
        assert json.loads(said)["file"] == "target/\x1bindex"


def test_a_signal_after_the_commit_says_that_the_result_is_complete() -> None:
    """From the moment when the result is there, a signal says so, whatever is being tidied up."""
    with stoppable():
        with held("t"):
            pass
        with pytest.raises(Stopped) as caught:
            signal.raise_signal(signal.SIGTERM)
    assert (caught.value.signum, caught.value.complete) == (signal.SIGTERM, "t")


@pytest.mark.parametrize("result", [None, "t"])
def test_a_signal_after_a_commit_that_failed_promises_nothing(result: str | None) -> None:
    """Where the block fails, or completes something else, no result is complete."""
    with stoppable():
        with suppress(ValueError), held(result):
            if result is not None:
                raise ValueError
        with pytest.raises(Stopped) as caught:
            signal.raise_signal(signal.SIGTERM)
    assert caught.value.complete is None


def test_a_signal_after_the_result_says_so() -> None:
    """What is interrupted after the result was complete says that, whatever it was."""
    with pytest.raises(Stopped) as caught, after("t"):
        raise Stopped(signal.SIGINT)
    assert (caught.value.signum, caught.value.complete) == (signal.SIGINT, "t")
