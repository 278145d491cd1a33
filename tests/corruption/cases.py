"""What a case of the corpus of broken files is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A file that `make` builds, and the finding that reading it must give (None: it is sound)."""

    name: str
    suffix: str
    make: Callable[[], bytes]
    code: str | None
    severity: str = "error"
