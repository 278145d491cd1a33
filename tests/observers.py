"""An observer of runs that counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class Counting:
    """Remembers the sizes of files, the bytes that were counted of each, and what was finished."""

    def __init__(self) -> None:
        self.sizes: Mapping[str, int] = {}
        self.advanced: Counter[str] = Counter()
        self.done: dict[str, int] = {}
        self.kept: dict[str, int] = {}

    def start(self, nbytes: int, files: Mapping[str, int]) -> None:
        """Remember the sizes."""
        assert nbytes == sum(files.values())
        self.sizes = files

    def advance(self, filename: str, nbytes: int) -> None:
        """Count bytes."""
        self.advanced[filename] += nbytes

    def finished(self, filename: str, nbytes: int, *, kept: bool) -> None:
        """Remember a file."""
        (self.kept if kept else self.done)[filename] = nbytes

    def committing(self) -> None:
        """Count nothing."""
