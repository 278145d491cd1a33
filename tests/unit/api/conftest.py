"""A checkpoint on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.safetensors_files import write_safetensors

#: The tensors of the checkpoint.
TENSORS = {f"layer.{number}.weight": bytes([number]) * 400 for number in range(6)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory of one safetensors file and a config."""
    directory = tmp_path / "model"
    write_safetensors(directory / "model.safetensors", TENSORS)
    (directory / "config.json").write_text("{}")
    return directory
