"""Pickles that leave a trace when they are loaded, to see that they are not."""

from __future__ import annotations

import pickle
from pathlib import Path


class Loud:
    """An object whose unpickling creates a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (self.path, "w"))


def loud_pickle(marker: Path) -> bytes:
    """Return a pickle that creates the file `marker` when it is loaded."""
    return pickle.dumps(Loud(str(marker)))
