"""What is asked for, and the stages that measure it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from benchmarks.measure import Scene


@dataclass(frozen=True)
class Request:
    """What was asked for: where, the bytes of tensors, which works, and which peers there are."""

    directory: str
    size: int
    works: Collection[str]
    peers: Collection[str]


@dataclass(frozen=True)
class Stage:
    """Works that are measured in one directory.

    It must have room for `copies` of the size and `extra` bytes. `scenes` makes one scene after
    another; `rounds_of` says how many rounds it takes where N are asked for. Without one of the
    packages that it `needs` it is left out.
    """

    name: str
    works: tuple[str, ...]
    scenes: Callable[[Request], Iterator[Scene]]
    copies: float = 0
    extra: int = 64 * 1024 * 1024
    rounds_of: Callable[[int], int] = lambda rounds: rounds
    needs: tuple[str, ...] = ()
