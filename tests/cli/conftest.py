"""The command line inside this process."""

from __future__ import annotations

import pytest

from tests.support.program import Call, caller


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """`call(*arguments, code=0)` runs the command line, and returns (stdout, stderr)."""
    return caller(capsys)
