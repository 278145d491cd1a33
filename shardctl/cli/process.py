"""The surroundings of the process: the signals that stop it, and its standard streams.

Imported before anything else, so that it is at work while the rest is imported; it imports little
itself.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, NoReturn, TextIO

from shardctl.errors import Stopped

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def prepare() -> None:
    """Make the process ready to import and to run commands."""
    _prepare_streams()
    for signum in _heard():
        signal.signal(signum, end)


def _heard() -> tuple[int, ...]:
    """Return the signals that stop a command.

    One that was ignored from the start stays ignored: `nohup` relies on it.
    """
    return tuple(signum for signum in _SIGNALS if signal.getsignal(signum) is not signal.SIG_IGN)


def end(signum: int, _: FrameType | None = None, *, complete: str | None = None) -> NoReturn:
    """End the process at once, with one line on stderr: there is nothing to tidy up."""
    document = stopped(signum, resumable=False, complete=complete)
    line = json.dumps(document) if asked("json", sys.argv[1:]) else document["message"]
    try:
        # Not by `print`: the signal may have come while something is being printed.
        os.write(sys.stderr.fileno(), f"{line}\n".encode())
    finally:
        os._exit(128 + signum)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` for a signal while the block runs, so that what is under way is tidied up."""
    before = {signum: signal.signal(signum, _stop) for signum in _heard()}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def held(result: str | None = None) -> Iterator[None]:
    """Let signals wait while the block runs, and raise `Stopped` after it for one that came.

    What the block does must not be left half done. `result` is what it completes, if that is the
    whole of the command: from then on a signal says so.
    """
    came: list[int] = []
    done = False
    before = {
        signum: signal.signal(signum, lambda number, _: came.append(number)) for signum in _heard()
    }
    try:
        yield
        done = True
    finally:
        for signum, handler in before.items():
            told = done and result is not None
            signal.signal(signum, partial(_stop, complete=result) if told else handler)
    if came:
        raise Stopped(came[0], result)


@contextmanager
def after(result: str) -> Iterator[None]:
    """Have a signal that comes while the block runs say that the result is complete."""
    try:
        yield
    except Stopped as caught:
        raise Stopped(caught.signum, result) from None


def _stop(signum: int, frame: FrameType | None, *, complete: str | None = None) -> None:
    if _importing(frame):
        end(signum, complete=complete)
    raise Stopped(signum, complete)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported.

    An exception that is raised there may get lost, or become another one.
    """
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


def stopped(signum: int, *, resumable: bool, complete: str | None = None) -> dict[str, Any]:
    """Return what a signal did, as the JSON object that scripts get.

    `resumable`: the command writes shards. `complete` is its result, where nothing is left to do.
    """
    message = f"interrupted ({signal.Signals(signum).name})"
    hint = "run the command again"
    if complete is not None:
        message += f"; the result is complete: '{complete}'"
        hint = "nothing is left to do: the same command again finds it up to date"
    elif resumable:
        message += "; finished files are kept"
        hint += " to resume, or add --restart to start over"
    return {
        "error": "stopped",
        "message": message,
        "file": complete,
        "tensor": None,
        "offset": None,
        "hint": hint,
        "exit_code": 128 + signum,
    }


def asked(switch: str, arguments: Sequence[str]) -> bool:
    """Whether a switch is on, by an argument or a variable.

    The parser cannot say it: it may be what failed.
    """
    return f"--{switch}" in arguments or _is_on(
        f"SHARDCTL_{command_of(arguments)}_{switch}".upper()
    )


def debugging(arguments: Sequence[str]) -> bool:
    """Whether tracebacks are asked for, also by the program's own switch before the command."""
    return asked("debug", arguments) or _is_on("SHARDCTL_DEBUG")


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in {
        "1",
        "true",
        "t",
        "yes",
        "y",
        "on",
    }  # as the parser takes them


def command_of(arguments: Sequence[str]) -> str:
    """Return the command's name, empty where there is none."""
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def drawing() -> bool:
    """Whether stdout is to be drawn on: a terminal, or FORCE_COLOR."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return terminal or bool(os.environ.get("FORCE_COLOR"))


def can_redraw() -> bool:
    """Whether stderr is a terminal on which lines can be drawn again; a log of CI is not."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and "CI" not in os.environ


def _prepare_streams() -> None:
    """Make stdout complete or an error, and make the loss of stderr harmless."""
    if sys.stdout is not None and isinstance(sys.stdout.buffer, io.RawIOBase):
        # PYTHONUNBUFFERED: without a buffer a write that the system cuts short, as a full disk
        # does, is not noticed.
        number, encoding, errors = sys.stdout.fileno(), sys.stdout.encoding, sys.stdout.errors
        sys.stdout = open(  # noqa: SIM115 - stays open
            number, "w", encoding=encoding, errors=errors, closefd=False
        )
    if sys.stderr is None:
        # Closed before the start (`2>&-`): without this `print` would write messages to stdout.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - stays open
    else:
        raw = open(sys.stderr.fileno(), "wb", closefd=False)  # noqa: SIM115 - stays open
        sys.stderr = _Messages(raw, sys.stderr.encoding, sys.stderr.errors, line_buffering=True)


class _Messages(io.TextIOWrapper):
    """Standard error, where messages that cannot be written are dropped.

    They change neither the work nor the exit code.
    """

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError:
            discard(self)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            discard(self)


def discard(stream: TextIO) -> None:
    """Send a stream to the null device.

    What is still buffered then does not fail again when Python exits.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
