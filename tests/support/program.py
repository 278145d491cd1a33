"""The command line: as a process, and inside this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

#: The directory of the repository.
ROOT = Path(__file__).parents[2]

Completed = subprocess.CompletedProcess[str]
#: The type of the fixture `run_cli`.
RunCli = Callable[..., Completed]
#: The type of the fixture `call` of the command line's tests.
Call = Callable[..., tuple[str, str]]


def run_cli(
    *arguments: object, code: int = 0, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Completed:
    """Run `python -m shardctl` in a new process, and assert that it ends with `code`."""
    done = subprocess.run(
        [sys.executable, "-m", "shardctl", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**environment(), **(env or {})},
    )
    assert done.returncode == code, (
        f"exit code {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    )
    return done


def environment() -> dict[str, str]:
    """Return an environment that finds the program and sets none of its variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHARDCTL_")}
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path}


def call_cli(*arguments: object, code: int = 0) -> None:
    """Run the command line inside this process, and assert that it ends with `code`."""
    from shardctl.cli.app import app
    from shardctl.cli.exits import run

    found = run(app, [str(argument) for argument in arguments])
    assert found == code, f"exit code {found}: shardctl {' '.join(map(str, arguments))}"


def caller(capsys: pytest.CaptureFixture[str]) -> Call:
    """Return what runs the command line inside this process, and returns (stdout, stderr).

    It asserts that the run ends with `code`, by default 0.
    """
    from shardctl.cli.app import app
    from shardctl.cli.exits import run

    def call(*arguments: object, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        ended = run(app, [str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert ended == code, err
        return out, err

    return call
