"""Progress from many threads to one: bytes done are counted where they are done, and told by the calling thread.

The word to stop goes the other way: whoever ticks after it was given gets a CancelledError.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Event

#: Seconds between looks at progress, and so the time within which a signal is noticed at the
#: latest.
TICK_SECONDS = 0.1

#: Told the bytes done; raises CancelledError when the work shall stop.
Tick = Callable[[int], None]


class CancelledError(Exception):
    """Raised where something ticks that was told to stop; never leaves the thread pools."""


class Ticks:
    """What was done and not told yet."""

    def __init__(self) -> None:
        self._events: SimpleQueue[tuple[str, int]] = SimpleQueue()
        self._stop = Event()

    def of(self, filename: str) -> Tick:
        """The tick of one file, for any number of threads."""

        def tick(nbytes: int) -> None:
            if self._stop.is_set():
                raise CancelledError
            self._events.put((filename, nbytes))

        return tick

    def stop(self) -> None:
        """Let every tick from now on raise CancelledError."""
        self._stop.set()

    def tell(self, advance: Callable[[str, int], None]) -> None:
        """Hand on what was done since the last time: for each file its bytes."""
        advanced: dict[str, int] = {}
        try:
            while True:
                filename, nbytes = self._events.get_nowait()
                advanced[filename] = advanced.get(filename, 0) + nbytes
        except Empty:
            pass
        for filename, nbytes in advanced.items():
            advance(filename, nbytes)
