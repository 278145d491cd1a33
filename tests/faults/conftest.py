"""Places for the fault suites."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where the system has one: syncing costs nothing there."""
    if not os.access("/dev/shm", os.W_OK):  # noqa: S108 - a directory of our own is made there
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="shardctl-", dir="/dev/shm") as directory:
        yield Path(directory)
