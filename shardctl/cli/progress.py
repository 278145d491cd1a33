"""How the progress of a run is shown on stderr: bars on a terminal, lines elsewhere, JSON events, or nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TextIO

from shardctl.cli.options import ProgressName
from shardctl.engine.run import Observer
from shardctl.engine.task import Receipt
from shardctl.naming import escape
from shardctl.sizes import format_size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Seconds between plain lines and between JSON `advance` events.
PLAIN_SECONDS, JSON_SECONDS = 5.0, 0.5


@contextmanager
def shown(how: ProgressName, *, quiet: bool) -> Iterator[Observer]:
    """The observer that fits stderr, at work until the block ends."""
    if quiet or how is ProgressName.none:
        yield Silent()
    elif how is ProgressName.json:
        yield JsonEvents(sys.stderr)
    elif how is ProgressName.plain or not _is_terminal():
        yield PlainLines(sys.stderr)
    else:
        with Bars() as bars:
            yield bars


def _is_terminal() -> bool:
    import os  # noqa: PLC0415 - both are only asked here

    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and "CI" not in os.environ


class Silent:
    """Says nothing."""

    def start(self, nbytes: int, files: Mapping[str, int]) -> None: ...
    def advance(self, filename: str, nbytes: int) -> None: ...
    def finished(self, receipt: Receipt, *, kept: bool) -> None: ...
    def committing(self) -> None: ...


class PlainLines:
    """A line now and then, for logs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._total = self._done = self._moved = 0
        self._begun = self._said = time.monotonic()

    def start(self, nbytes: int, files: Mapping[str, int]) -> None:
        self._total = nbytes
        self._begun = self._said = time.monotonic()
        self._say(f"writing {len(files)} file{'' if len(files) == 1 else 's'}, {format_size(nbytes)}")

    def advance(self, filename: str, nbytes: int) -> None:
        self._done += nbytes
        self._moved += nbytes
        now = time.monotonic()
        if now - self._said >= PLAIN_SECONDS:
            self._said = now
            rate = self._moved / (now - self._begun)
            left = (self._total - self._done) / rate if rate else 0
            share = 100 * self._done // max(self._total, 1)
            self._say(
                f"{share}% {format_size(self._done)} of {format_size(self._total)}, "
                f"{format_size(int(rate))}/s, {left:.0f} s left ({escape(filename)})"
            )

    def finished(self, receipt: Receipt, *, kept: bool) -> None:
        if kept:
            self._done += receipt.nbytes
            self._say(f"kept from the run before: {escape(receipt.filename)}")

    def committing(self) -> None:
        """Take no line: what comes next is quick."""

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


class JsonEvents:
    """One JSON object a line: start, advance, shard-done, committing."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._total = self._done = 0
        self._said = 0.0

    def start(self, nbytes: int, files: Mapping[str, int]) -> None:
        self._total = nbytes
        self._say({"event": "start", "total": nbytes, "files": dict(files)})

    def advance(self, filename: str, nbytes: int) -> None:
        self._done += nbytes
        now = time.monotonic()
        if now - self._said >= JSON_SECONDS:
            self._said = now
            self._say({"event": "advance", "file": filename, "done": self._done, "total": self._total})

    def finished(self, receipt: Receipt, *, kept: bool) -> None:
        if kept:
            self._done += receipt.nbytes
        self._say({"event": "shard-done", "file": receipt.filename, "size": receipt.nbytes, "kept": kept})

    def committing(self) -> None:
        self._say({"event": "committing", "done": self._done, "total": self._total})

    def _say(self, event: Mapping[str, object]) -> None:
        print(json.dumps(event), file=self._out, flush=True)


class Bars:
    """One bar for each file in work, and one for all."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only imported when something is drawn
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._bars: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            expand=True,
        )
        self._sizes: Mapping[str, int] = {}
        self._tasks: dict[str, TaskID] = {}
        self._all: TaskID | None = None
        self._written: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def start(self, nbytes: int, files: Mapping[str, int]) -> None:
        self._sizes = files
        width = max((len(escape(name)) for name in files), default=0)
        self._all = self._bars.add_task("all".ljust(min(width, 40)), total=nbytes)

    def advance(self, filename: str, nbytes: int) -> None:
        if self._all is None:
            return
        if filename not in self._tasks:
            self._tasks[filename] = self._bars.add_task(escape(filename), total=self._sizes[filename])
        self._bars.advance(self._tasks[filename], nbytes)
        self._bars.advance(self._all, nbytes)
        self._written[filename] = self._written.get(filename, 0) + nbytes
        if self._written[filename] >= self._sizes[filename]:
            self._bars.update(self._tasks[filename], description=f"{escape(filename)} (syncing)")

    def finished(self, receipt: Receipt, *, kept: bool) -> None:
        if kept and self._all is not None:
            self._bars.advance(self._all, receipt.nbytes)
        if receipt.filename in self._tasks:
            self._bars.remove_task(self._tasks.pop(receipt.filename))

    def committing(self) -> None:
        if self._all is not None:
            self._bars.update(self._all, description="putting in place")
