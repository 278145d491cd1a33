"""What the tests of the local store share."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from shardctl.model import Extent
from shardctl.stores.base import Copied
from shardctl.stores.local.store import LocalStore

STORE = LocalStore()
DATA = bytes(range(256)) * 40
#: Where copies begin: the kernel copies whole pages where the two places differ by whole pages.
PLACE = mmap.PAGESIZE

posix = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has neither pipes nor permissions of this kind"
)


def failing(number: int) -> Callable[..., NoReturn]:
    """A system call that always fails with this error."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


def copy(path: str, target: Path, place: int = PLACE) -> Copied:
    """Copy a file to a new one, at byte `place`."""
    with STORE.open(path) as reader, STORE.create(str(target), len(DATA) + place) as writer:
        return writer.copy(place, reader, Extent(path, 0, len(DATA)))
