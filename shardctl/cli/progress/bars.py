"""Bars on a terminal: a row for each file being written, one for all, and the time left.

A file keeps its row until it is done, and the next one takes a row that is free, so that nothing
jumps. Columns have the same width from the first moment to the last; on a narrow terminal whole
columns are left out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from shardctl.cli.progress.tally import Clock, Tally, format_seconds
from shardctl.cli.terminal.canvas import Canvas, glyphs_for
from shardctl.cli.terminal.charts import bar, label
from shardctl.sizes import format_size
from shardctl.text import cells, plural

#: Redrawn so many times a second.
REFRESHES = 8
_STATE_CELLS, _BYTES_CELLS, _WIDEST_NAME = 13, 19, 36
#: Columns below which the bytes of each file are left out, and below which the bars are.
_WITH_BYTES, _WITH_BARS = 60, 40
_ALL = "total"


@dataclass(slots=True)
class _Slot:
    """A row: its file, since when that file waits for the disk, and whether it is read back."""

    filename: str
    syncing_since: float | None = None
    checking: bool = False
    done: bool = False


class Bars:
    """Draws a run on stderr, in a separate thread; the drawing is removed when the block ends."""

    def __init__(
        self, console: Console | None = None, clock: Clock | None = None, *, writes: bool = True
    ) -> None:
        self._console = console or Console(stderr=True)
        self._writes = writes
        self._tally = Tally() if clock is None else Tally(clock)
        self._slots: list[_Slot] = []
        self._committing = False
        self._entered = False
        self._names: tuple[int, Canvas, int] | None = None
        self._lock = RLock()  # events come from the run's thread, and another one draws
        self._live = Live(
            console=self._console,
            get_renderable=self.picture,
            transient=True,
            refresh_per_second=REFRESHES,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._entered = True
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def start(self, nbytes: int, files: Mapping[str, int]) -> None:
        with self._lock:
            self._tally.start(nbytes, files)
            self._names = None
        if self._entered:
            # Not before: other lines may be written until a run begins.
            self._live.start()

    def advance(self, filename: str, nbytes: int) -> None:
        with self._lock:
            self._tally.advance(filename, nbytes)
            slot = self._slot_of(filename)
            if not self._writes or not self._tally.copied(filename):
                return
            if slot.syncing_since is None:
                slot.syncing_since = self._tally.clock()
            elif not nbytes:
                # Nothing more is written, and it still ticks: digests are taken or the file is read
                # back.
                slot.checking = True

    def finished(self, filename: str, nbytes: int, *, kept: bool) -> None:
        with self._lock:
            self._tally.finish(nbytes, kept=kept)
            for slot in self._slots:
                slot.done = slot.done or slot.filename == filename

    def committing(self) -> None:
        with self._lock:
            self._committing = True

    def picture(self) -> Group:
        """Return what is to be drawn now."""
        with self._lock:
            return Group(*self._lines())

    def _slot_of(self, filename: str) -> _Slot:
        for slot in self._slots:
            if slot.filename == filename and not slot.done:
                return slot
        fresh = _Slot(filename)
        for row, slot in enumerate(self._slots):
            if slot.done:
                self._slots[row] = fresh
                return fresh
        self._slots.append(fresh)
        return fresh

    def _lines(self) -> Iterator[Text]:
        if not self._tally.sizes:
            return  # not started, as in a check of the headers alone
        encoding = getattr(self._console.file, "encoding", None) or "utf-8"
        # The last column stays free: some terminals wrap once it is written.
        on = Canvas(self._console.width - 1, glyphs_for(sys.stderr, os.environ), encoding)
        rows = max(self._console.height - 3, 1)
        for slot in self._slots[:rows]:
            size = self._tally.sizes.get(slot.filename, 0)
            yield self._row(
                on,
                slot.filename,
                self._tally.written.get(slot.filename, 0),
                size,
                self._state(slot),
            )
        yield self._row(on, None, self._tally.done, self._tally.total, f"{self._tally.percent}%")
        yield Text(_joined(self._details(), on.width), no_wrap=True, overflow="crop")

    def _state(self, slot: _Slot) -> str:
        if slot.done:
            return "done"
        if slot.checking:
            return "checking"
        if slot.syncing_since is not None:
            return f"syncing {int(self._tally.clock() - slot.syncing_since)} s"
        size = self._tally.sizes.get(slot.filename, 0)
        return f"{100 * self._tally.written.get(slot.filename, 0) // max(size, 1)}%"

    def _row(self, on: Canvas, filename: str | None, nbytes: int, size: int, state: str) -> Text:
        with_bytes, with_bar = on.width + 1 >= _WITH_BYTES, on.width + 1 >= _WITH_BARS
        room = on.width - _STATE_CELLS - 1 - (_BYTES_CELLS + 1 if with_bytes else 0)
        most = max(min(_WIDEST_NAME, room // 2 if with_bar else room), 1)
        width = self._name_cells(most, on)
        name = _ALL if filename is None else label(filename, width, on)
        line = Text(name + " " * (width - cells(name)), no_wrap=True, overflow="crop")
        if with_bar:
            style = "green" if nbytes >= size else "cyan"
            line.append(" ").append_text(
                bar(nbytes, max(size, 1), room - width - 1, on, style=style)
            )
        line.append(f" {state:>{_STATE_CELLS}}")
        if with_bytes:
            line.append(f" {format_size(nbytes):>8} / {format_size(size):>8}")
        return line

    def _name_cells(self, most: int, on: Canvas) -> int:
        """Return the columns of the names, at most `most`.

        All names are looked at only when the terminal has changed: there can be 100,000.
        """
        if self._names is None or self._names[:2] != (most, on):
            widest = max([len(_ALL), *(cells(label(name, most, on)) for name in self._tally.sizes)])
            self._names = most, on, min(widest, most)
        return self._names[2]

    def _details(self) -> Iterator[str]:
        """Yield the parts of the last line; on a narrow terminal the last ones are left out."""
        tally = self._tally
        if self._committing:
            yield "renaming into place"
        elif tally.all_copied and self._writes:
            yield "syncing"
        elif tally.left is not None and not tally.all_copied:
            yield f"{format_seconds(tally.left)} left"
        yield f"{format_size(tally.rate)}/s"
        yield f"{tally.finished} of {plural(len(tally.sizes), 'file')}"


def _joined(parts: Iterator[str], width: int) -> str:
    """Join as many of the parts as fit a line."""
    line = ""
    for part in parts:
        longer = f"{line}, {part}" if line else part
        if len(longer) > width:
            break
        line = longer
    return line
