"""The command line inside this process, and a checkpoint on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.cli.app import app
from shardctl.cli.exits import run
from tests.support.memory_checkpoints import weights
from tests.support.program import Call


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """`call(*arguments, code=0)` runs the command line, and returns (stdout, stderr)."""

    def call(*arguments: object, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        ended = run(app, [str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert ended == code, err
        return out, err

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory with a checkpoint of four tensors of 100 bytes, and a config."""
    directory = tmp_path / "model"
    directory.mkdir()
    tensors = {f"layer.{number}": bytes([number]) * 100 for number in range(4)}
    (directory / "model.safetensors").write_bytes(weights(tensors))
    (directory / "config.json").write_text("{}")
    return directory
