"""Progress from where tasks run to the thread that shows it, and cancellation the other way.

Tasks tick: bytes done go into a queue, and a tick after the run was cancelled raises
CancelledError. Queue and flag are the executor's: its threads share them, its processes get what
can be sent to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event
from typing import Protocol

#: Seconds between looks at progress, and so the longest time until a signal is noticed.
TICK_SECONDS = 0.1

#: Called with bytes done; raises CancelledError when the work is to stop.
Tick = Callable[[int], None]


def no_tick(_: int) -> None:
    """Count nothing, and never stop."""


class Observer(Protocol):
    """Shows the progress of a run, on the thread that started it. All sizes are in bytes.

    A command that only reads never calls `committing`.
    """

    def start(self, nbytes: int, files: Mapping[str, int]) -> None:
        """Begin: so many bytes in all, and the size of each file by name."""

    def advance(self, filename: str, nbytes: int) -> None:
        """Count bytes done of a file; 0 says that it is still worked on."""

    def finished(self, filename: str, nbytes: int, *, kept: bool) -> None:
        """Count a file that is done, or `kept` from an earlier run, with its size."""

    def committing(self) -> None:
        """All files are written, and are about to get their names."""


class Silent(Observer):
    """Shows nothing: an observer to derive from, for a program that wants some of the events."""

    def start(self, nbytes: int, files: Mapping[str, int]) -> None:
        """Show nothing."""

    def advance(self, filename: str, nbytes: int) -> None:
        """Show nothing."""

    def finished(self, filename: str, nbytes: int, *, kept: bool) -> None:
        """Show nothing."""

    def committing(self) -> None:
        """Show nothing."""


class CancelledError(Exception):
    """Raised by a tick after the run was cancelled; never leaves the executor."""


class Events(Protocol):
    """A queue of the bytes done, by file name."""

    def put(self, item: tuple[str, int], /) -> None: ...
    def get_nowait(self) -> tuple[str, int]:
        """Return the oldest item; raises queue.Empty."""


class Flag(Protocol):
    """Says whether the run was cancelled."""

    def set(self) -> None: ...
    def is_set(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class FileTick:
    """The tick of one file, for any number of threads. It can go wherever queue and flag can."""

    filename: str
    events: Events
    cancelled: Flag

    def __call__(self, nbytes: int) -> None:
        """Count bytes done; raises CancelledError when the run was cancelled."""
        if self.cancelled.is_set():
            raise CancelledError
        self.events.put((self.filename, nbytes))


@dataclass(frozen=True, slots=True)
class Ticks:
    """Collects the ticks of a run. By default they come from threads of this process."""

    events: Events = field(default_factory=SimpleQueue[tuple[str, int]])
    cancelled: Flag = field(default_factory=Event)

    def of(self, filename: str) -> FileTick:
        """Return the tick of one file."""
        return FileTick(filename, self.events, self.cancelled)

    def cancel(self) -> None:
        """Let every tick from now on raise CancelledError."""
        self.cancelled.set()

    def drain(self, advance: Callable[[str, int], None]) -> None:
        """Hand on what was done since the last time: for each file its bytes."""
        advanced: dict[str, int] = {}
        try:
            while True:
                filename, nbytes = self.events.get_nowait()
                advanced[filename] = advanced.get(filename, 0) + nbytes
        except Empty:
            pass
        for filename, nbytes in advanced.items():
            advance(filename, nbytes)
