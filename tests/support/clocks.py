"""A clock that the test sets, and a run that is shown by it."""

from __future__ import annotations

from shardctl.streams.progress import Observer

MB = 1000 * 1000


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def play(observer: Observer, clock: Clock) -> None:
    """A run of two files of 50 MB, one of them kept: 10 MB, and after six seconds 20 MB more, then
    the rest.
    """
    observer.start(100 * MB, {"a": 50 * MB, "b\n": 50 * MB})
    observer.finished("a", 50 * MB, kept=True)
    observer.advance("b\n", 10 * MB)
    clock.now += 6
    observer.advance("b\n", 20 * MB)
    clock.now += 1
    observer.advance("b\n", 20 * MB)
    clock.now += 2
    observer.finished("b\n", 50 * MB, kept=False)
    observer.committing()
