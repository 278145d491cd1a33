"""Show the progress of a run on stderr: bars on a terminal, else lines, JSON events, or nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self, TextIO

from shardctl.cli.exits import as_document
from shardctl.cli.options.shared import ProgressName
from shardctl.cli.process import can_redraw
from shardctl.cli.progress.tally import Clock, Tally, format_seconds
from shardctl.sizes import format_size
from shardctl.streams.progress import Observer, Silent
from shardctl.text import escape, plural

#: Seconds between plain lines and between JSON `advance` events.
PLAIN_SECONDS, JSON_SECONDS = 5.0, 0.5


@contextmanager
def shown(how: ProgressName, *, quiet: bool, writes: bool = True) -> Iterator[Observer]:
    """Yield the observer that fits stderr; it works until the block ends.

    `writes`: the run writes files, and does not only read them.
    """
    if quiet or how is ProgressName.none:
        yield Silent()
    elif how is ProgressName.json:
        with JsonEvents(sys.stderr, writes=writes) as events:
            yield events
    elif how is ProgressName.plain or not can_redraw():
        yield PlainLines(sys.stderr, writes=writes)
    else:
        from shardctl.cli.progress.bars import Bars  # noqa: PLC0415 - only imported to draw

        with Bars(writes=writes) as bars:
            yield bars


class PlainLines:
    """A line every five seconds, for logs; a shorter run has only the first line."""

    def __init__(self, out: TextIO, clock: Clock = time.monotonic, *, writes: bool = True) -> None:
        self._out = out
        self._writes = writes
        self._tally = Tally(clock)
        self._due = PLAIN_SECONDS
        self._syncing = False

    def start(self, nbytes: int, files: Mapping[str, int]) -> None:
        self._tally.start(nbytes, files)
        if self._writes:
            self._say(f"writing {plural(len(files), 'file')}, {format_size(nbytes)}")

    def advance(self, filename: str, nbytes: int) -> None:
        self._tally.advance(filename, nbytes)
        if self._tally.all_copied and self._writes:
            self._say_syncing()
        elif self._tally.elapsed >= self._due:
            # The next line keeps to the grid, however late this one is.
            self._due = (self._tally.elapsed // PLAIN_SECONDS + 1) * PLAIN_SECONDS
            self._say(self._status())

    def finished(self, filename: str, nbytes: int, *, kept: bool) -> None:
        self._tally.finish(nbytes, kept=kept)
        if kept:
            self._say(f"reusing {escape(filename)} from the interrupted run")

    def committing(self) -> None:
        if self._tally.elapsed >= PLAIN_SECONDS:
            self._say("renaming into place")

    def _status(self) -> str:
        tally = self._tally
        left = "" if tally.left is None else f", {format_seconds(tally.left)} left"
        done = f"{format_size(tally.done)} of {format_size(tally.total)}"
        return f"{tally.percent}% {done}, {format_size(tally.rate)}/s{left}"

    def _say_syncing(self) -> None:
        if not self._syncing and self._tally.elapsed >= PLAIN_SECONDS:
            self._syncing = True
            self._say(
                f"100% {format_size(self._tally.done)}, {format_size(self._tally.rate)}/s; syncing"
            )

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


class JsonEvents:
    """One JSON object a line.

    `event` is start, advance, syncing, shard-done, committing, and at the end done or error.
    """

    def __init__(self, out: TextIO, clock: Clock = time.monotonic, *, writes: bool = True) -> None:
        self._out = out
        self._writes = writes
        self._tally = Tally(clock)
        self._said = float("-inf")

    def __enter__(self) -> Self:
        self._tally.start(0, {})
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            seconds = round(self._tally.elapsed, 3)
            self._say(
                {
                    "event": "done",
                    "done": self._tally.done,
                    "total": self._tally.total,
                    "seconds": seconds,
                }
            )
        else:
            self._say({"event": "error", **as_document(error)})

    def start(self, nbytes: int, files: Mapping[str, int]) -> None:
        self._tally.start(nbytes, files)
        self._say({"event": "start", "total": nbytes, "files": dict(files)})

    def advance(self, filename: str, nbytes: int) -> None:
        self._tally.advance(filename, nbytes)
        now = self._tally.clock()
        if now - self._said >= JSON_SECONDS:
            self._said = now
            self._say(
                {
                    "event": "advance",
                    "file": filename,
                    "done": self._tally.done,
                    "total": self._tally.total,
                }
            )
        if self._writes and nbytes and self._tally.copied(filename):
            self._say({"event": "syncing", "file": filename})

    def finished(self, filename: str, nbytes: int, *, kept: bool) -> None:
        self._tally.finish(nbytes, kept=kept)
        self._say({"event": "shard-done", "file": filename, "size": nbytes, "kept": kept})

    def committing(self) -> None:
        self._say({"event": "committing", "done": self._tally.done, "total": self._tally.total})

    def _say(self, event: Mapping[str, object]) -> None:
        print(json.dumps(event), file=self._out, flush=True)
