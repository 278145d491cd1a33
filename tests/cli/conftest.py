"""The command line inside this process."""

from __future__ import annotations

import pytest

from shardctl.cli.app import app
from shardctl.cli.exits import run
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
