"""What a run has done, how fast it is, and how long it will take, from its events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

#: Seconds by some clock that never goes back.
Clock = Callable[[], float]


@dataclass(slots=True)
class Tally:
    """Bytes of the files of a run: `total`, `done`, and `moved` by this run.

    `done` counts kept files too, `moved` does not.
    """

    clock: Clock = time.monotonic
    begun: float = 0.0
    total: int = 0
    done: int = 0
    moved: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    finished: int = 0

    def start(self, nbytes: int, files: Mapping[str, int]) -> None:
        """Begin with `files`, by name with their sizes, `nbytes` in all."""
        self.begun, self.total, self.sizes = self.clock(), nbytes, files

    def advance(self, filename: str, nbytes: int) -> None:
        """Count bytes that were written to a file."""
        self.done += nbytes
        self.moved += nbytes
        self.written[filename] = self.written.get(filename, 0) + nbytes

    def finish(self, nbytes: int, *, kept: bool) -> None:
        """Count a file that is done, with its size; `kept` are those of an earlier run."""
        self.finished += 1
        if kept:
            self.done += nbytes

    def copied(self, filename: str) -> bool:
        """Whether all bytes of a file are written: from then on it waits for the disk."""
        return self.written.get(filename, 0) >= self.sizes.get(filename, 0)

    @property
    def all_copied(self) -> bool:
        """Whether all bytes of all files are written."""
        return self.done >= self.total

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.begun

    @property
    def percent(self) -> int:
        """The percentage that is done; 100 only where everything is."""
        return 100 if self.all_copied else 100 * self.done // self.total

    @property
    def rate(self) -> int:
        """Bytes a second, on average since the start."""
        return int(self.moved / self.elapsed) if self.elapsed > 0 else 0

    @property
    def left(self) -> int | None:
        """Seconds that the rest takes at this rate; None where the rate is not known yet."""
        return -(-(self.total - self.done) // self.rate) if self.rate else None


def format_seconds(seconds: int) -> str:
    """Return a time for people: `4 s`, `1:05`, `2:00:09`."""
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
