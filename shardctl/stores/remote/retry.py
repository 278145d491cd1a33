"""Try again what may pass: a server that is busy or restarting, a connection that breaks off."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from shardctl.errors import StorageError
from shardctl.stores.faults import shown
from shardctl.stores.remote.client import TransientError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to try, and how many seconds to wait in between.

    The wait begins with `first` and doubles up to `longest`; up to half of it is left to chance, so
    that many readers do not come back at once. A server that asks for a time gets it, up to
    `longest`.
    """

    tries: int = 7
    first: float = 0.5
    longest: float = 60.0

    def wait(self, failures: int, asked: float | None) -> float:
        """Return the seconds to wait after so many failures in a row."""
        backoff = min(self.first * 2.0 ** (failures - 1), self.longest)
        chance = random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        return max(backoff * chance, min(asked or 0.0, self.longest))


class Tries:
    """The failures in a row of one request; `pause` waits, or raises when it is enough.

    `doing` is what was to be done with the file, for the message: "read".
    """

    def __init__(self, path: str, patience: Patience, doing: str = "read") -> None:
        self._path = path
        self._doing = doing
        self._patience = patience
        self._failures = 0

    def progress(self) -> None:
        """Count from zero again: something came in."""
        self._failures = 0

    def pause(self, error: TransientError, offset: int | None = None) -> None:
        """Wait before the next try; raises StorageError that names the file after the last one.

        `offset` is the byte that was to be read next.
        """
        self._failures += 1
        if self._failures >= self._patience.tries:
            where = "" if offset is None else f" at byte {offset:,}"
            raise StorageError(
                f"{shown(self._path)} cannot be {self._doing}{where}: {error.reason} "
                f"({self._failures:,} tries in a row)",
                hint="run the same command again when the server or the network is back: what is "
                "finished is kept",
                file=self._path,
                offset=offset,
            ) from error
        time.sleep(self._patience.wait(self._failures, error.after))


def retried(
    path: str, patience: Patience, ask: Callable[[], Result], doing: str = "read"
) -> Result:
    """Return the result of `ask`, tried again as long as it raises TransientError."""
    tries = Tries(path, patience, doing)
    while True:
        try:
            return ask()
        except TransientError as error:
            tries.pause(error)
