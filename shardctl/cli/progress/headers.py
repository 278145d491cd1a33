"""How the reading of headers is shown on stderr.

Headers are read quickly, except from many files on a slow disk or network. `--verbose` lists every
file.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shardctl.cli.exits import as_document
from shardctl.cli.options.shared import ProgressName
from shardctl.cli.process import can_redraw
from shardctl.sizes import format_size
from shardctl.source.opened import Opened
from shardctl.text import escape, printable

if TYPE_CHECKING:
    from shardctl.cli.progress.tally import Clock


@dataclass(frozen=True, slots=True)
class _Style:
    """What is shown of a file: by its path, its number, and the number of files.

    `first` and `every` are the seconds before something is shown, and between two times. `clear`
    removes what was shown.
    """

    first: float
    every: float
    text: Callable[[str, int, int], str]
    clear: str = ""


def _line(_: str, number: int, files: int) -> str:
    return f"reading header {number:,} of {files:,}"


def _event(path: str, number: int, files: int) -> str:
    event = {"event": "header", "file": path, "number": number, "files": files}
    return json.dumps(event) + "\n"


_NONE = _Style(float("inf"), float("inf"), _line)
_PLAIN = _Style(5.0, 5.0, lambda *file: f"{_line(*file)}\n")
_TERMINAL = _Style(0.5, 0.1, _line, "\r\x1b[K")
_JSON = _Style(0.5, 0.5, _event)


def _style(how: ProgressName) -> _Style:
    if how is ProgressName.none:
        return _NONE
    if how is ProgressName.json:
        return _JSON
    return _TERMINAL if how is ProgressName.auto and can_redraw() else _PLAIN


@contextmanager
def shown(
    how: ProgressName,
    *,
    quiet: bool,
    verbose: bool,
    ends: bool = True,
    clock: Clock = time.monotonic,
) -> Iterator[Opened]:
    """Show the files that are opened until the block ends.

    `ends`: the last JSON event is `done` or `error`, because no other progress follows.
    """
    style = _NONE if quiet else _style(how)
    begun = clock()
    due, drawn = begun + style.first, False

    def opened(path: str, size: int, number: int, files: int) -> None:
        nonlocal due, drawn
        listed = verbose and not quiet
        if drawn and (listed or number == files):
            # What follows the last header may draw something else.
            _print(style.clear)
            drawn = False
        if listed:
            _print(f"reads {printable(escape(path))} ({format_size(size)})\n")
        if number < files and clock() >= due:
            due, drawn = clock() + style.every, True
            _print(style.clear + style.text(path, number, files))

    try:
        yield opened
    except BaseException as error:
        if style is _JSON and ends:
            _print(json.dumps({"event": "error", **as_document(error)}) + "\n")
        raise
    finally:
        if drawn:
            _print(style.clear)
    if style is _JSON and ends:
        seconds = round(clock() - begun, 3)
        _print(json.dumps({"event": "done", "done": 0, "total": 0, "seconds": seconds}) + "\n")


def _print(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)
