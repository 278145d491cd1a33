"""The command line inside this process, and a checkpoint on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.memory_checkpoints import weights
from tests.support.program import Call, caller


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """`call(*arguments, code=0)` runs the command line, and returns (stdout, stderr)."""
    return caller(capsys)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory with a checkpoint of four tensors of 100 bytes, and a config."""
    directory = tmp_path / "model"
    directory.mkdir()
    tensors = {f"layer.{number}": bytes([number]) * 100 for number in range(4)}
    (directory / "model.safetensors").write_bytes(weights(tensors))
    (directory / "config.json").write_text("{}")
    return directory
