"""What is called for each file whose header is read."""

from __future__ import annotations

from collections.abc import Callable

#: Called for each file that is opened: its path, its size in bytes, its number, and how many there
#: are.
Opened = Callable[[str, int, int, int], None]


def unseen(path: str, size: int, number: int, files: int) -> None:
    """Do nothing with a file that is opened."""
