"""The test session itself: signals that it was started to ignore, and tests that are skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import LISTED
from tests.support.program import ROOT

#: Starts a command with the signals ignored, as `nohup COMMAND &` in a script does.
IGNORING = ["sh", "-c", 'trap "" INT TERM HUP; exec "$@"', "sh"]
DISPOSITIONS = """
import signal
print(*[signal.getsignal(getattr(signal, name)).name for name in ("SIGTERM", "SIGHUP")])
print(signal.getsignal(signal.SIGINT).__name__)
"""

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")


def run_pytest(*arguments: str, under: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run pytest in a new process, and return how it ended and what it printed."""
    command = [*(under or []), sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider"]
    # An xdist worker has variables that are about itself.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


@posix
def test_children_start_with_the_default_dispositions() -> None:
    """A program that a test starts is stopped by SIGINT, SIGTERM and SIGHUP."""
    command = [sys.executable, "-c", DISPOSITIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["SIG_DFL", "SIG_DFL", "default_int_handler"]


@posix
@pytest.mark.parametrize("workers", ["0", "1"])
def test_ignored_signals_are_not_inherited(workers: str) -> None:
    """The same holds where pytest was started with the signals ignored, in an xdist worker too."""
    name = test_children_start_with_the_default_dispositions.__name__
    done = run_pytest("-n", workers, f"{Path(__file__)}::{name}", under=IGNORING)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize(
    ("reason", "options", "code"),
    [
        ("needs a program", ["--strict-skips"], pytest.ExitCode.TESTS_FAILED),
        ("needs a program", ["--strict-skips", "-n", "1"], pytest.ExitCode.TESTS_FAILED),
        ("needs a program", [], pytest.ExitCode.OK),
        (next(iter(LISTED)), ["--strict-skips"], pytest.ExitCode.OK),
    ],
    ids=["not listed", "not listed, in a worker", "not strict", "listed"],
)
def test_skips(tmp_path: Path, reason: str, options: list[str], code: int) -> None:
    """With --strict-skips a skipped test fails with its reason, unless the reason is listed."""
    path = tmp_path / "test_it.py"
    path.write_text(
        f"import pytest\n@pytest.mark.skipif(True, reason={reason!r})\ndef test_it(): pass\n"
    )
    done = run_pytest("-p", "tests.skips", *options, str(path))
    assert done.returncode == code, done.stdout
    assert reason in done.stdout


def test_a_skipped_module(tmp_path: Path) -> None:
    """A module that is skipped as a whole is an error that gives the reason."""
    path = tmp_path / "test_it.py"
    path.write_text("import pytest\npytest.importorskip('a_module_that_is_missing')\n")
    done = run_pytest("-p", "tests.skips", "--strict-skips", str(path))
    assert done.returncode == pytest.ExitCode.INTERRUPTED, done.stdout
    assert "tests/skips.py: could not import 'a_module_that_is_missing'" in done.stdout


def test_an_expected_failure_is_not_a_skip(tmp_path: Path) -> None:
    """A test that is marked xfail and fails stays an expected failure."""
    path = tmp_path / "test_it.py"
    path.write_text("import pytest\n@pytest.mark.xfail\ndef test_it(): assert False\n")
    done = run_pytest("-p", "tests.skips", "--strict-skips", str(path))
    assert (done.returncode, "1 xfailed" in done.stdout) == (0, True), done.stdout


def test_every_listed_reason_is_given_by_a_test() -> None:
    """No reason stays listed after the test, or what tests share, that gave it is gone."""
    paths = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "skips.py"]
    sources = [path.read_text(encoding="utf-8") for path in paths]
    assert [reason for reason in LISTED if not any(f'"{reason}"' in text for text in sources)] == []
