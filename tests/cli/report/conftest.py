"""Checkpoints to report on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.report.pages import HOSTILE
from tests.support.safetensors_files import plain_directory, write_floats


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with one file of a few layers."""
    return plain_directory(
        tmp_path / "source", [f"model.layers.{n}.{part}.w" for n in range(4) for part in "abc"]
    )


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A checkpoint whose names try to become markup, script or control characters."""
    return write_floats(tmp_path / "hostile" / "model.safetensors", HOSTILE)
