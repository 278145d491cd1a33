"""What every test may ask for."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from tests.support.program import RunCli
from tests.support.program import run_cli as run_cli_process

pytest_plugins = ["tests.skips"]

# Shared machines are slow by turns, so no example has a deadline; in CI the examples are the same
# each time.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture
def run_cli() -> RunCli:
    """`run_cli(*arguments, code=0)` runs the program in a new process."""
    return run_cli_process


@pytest.fixture(scope="session")
def _state(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A directory for the records of finished runs. Tests have targets of different paths."""
    return str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, _state: str) -> None:
    """No variable or state of the developer changes what a command does."""
    monkeypatch.setenv("XDG_STATE_HOME", _state)
    for name in list(os.environ):
        if name.startswith("SHARDCTL_") or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def _signals_reach_children() -> None:
    """Let signals stop the programs that tests start, even where pytest itself ignores signals.

    `nohup` and a shell's `&` start pytest with SIGHUP or SIGINT ignored, and its children inherit
    that. A handler, however, is reset to the default in a child. So one that does nothing goes on
    ignoring the signal here (in each xdist worker too), while every child starts as in a terminal.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
