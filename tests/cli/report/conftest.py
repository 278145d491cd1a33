"""Checkpoints to report on, and the command line in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.cli.app import app
from shardctl.cli.exits import run
from tests.cli.files import plain_directory, write_safetensors
from tests.cli.report.pages import HOSTILE, Call


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """`call(*arguments, code=0)` runs the command line in this process; returns what it printed to
    either stream.
    """

    def call(*arguments: object, code: int = 0) -> tuple[str, str]:
        ended = run(app, [str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert ended == code, err
        return out, err

    return call


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with one file of a few layers."""
    return plain_directory(
        tmp_path / "source", [f"model.layers.{n}.{part}.w" for n in range(4) for part in "abc"]
    )


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A checkpoint whose names try to become markup, script or control characters."""
    return write_safetensors(tmp_path / "hostile" / "model.safetensors", HOSTILE)
