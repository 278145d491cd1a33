"""A file for the tests of the local store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.stores.local.local_calls import DATA


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file that holds DATA."""
    (tmp_path / "data").write_bytes(DATA)
    return str(tmp_path / "data")
