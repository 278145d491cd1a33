"""What every test may ask for."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.checkpoints import RunCli
from tests.checkpoints import run_cli as run_cli_process

# Shared machines are slow by turns, so no example has a deadline; in CI the examples are the same
# each time.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture
def run_cli() -> RunCli:
    """`run_cli(*arguments, code=0)` runs the program as a process of its own."""
    return run_cli_process


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the developer's own environment changes what a command does."""
    for name in list(os.environ):
        if name.startswith("SHARDCTL_") or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
