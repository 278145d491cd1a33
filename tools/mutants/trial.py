"""Trying a change: the tests run in a copy of the working tree, which itself is never edited."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tools.mutants.selection import Mutant
from tools.mutants.suites import stages
from tools.mutants.tree import working_files

#: Bytes of memory, and of one file, after which a test fails: a change may make a loop endless.
_LIMIT = 16 << 30

#: Pytest within limits, which the processes that it starts inherit.
_LIMITED = (
    "import resource, sys, pytest;"
    f"resource.setrlimit(resource.RLIMIT_AS, ({_LIMIT}, {_LIMIT}));"
    f"resource.setrlimit(resource.RLIMIT_FSIZE, ({_LIMIT}, {_LIMIT}));"
    "sys.exit(pytest.main(sys.argv[1:]))"
)

#: Which tests are run: those that take long would take it for every change.
_QUICK = "not slow and not faults and not fuzz"

_NO_TESTS = 5
"""The exit code of pytest where the markers left nothing to run."""


class BaselineError(Exception):
    """The tests fail on the unchanged tree, so they tell nothing; the text is their output."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mutant."""

    mutant: Mutant
    noticed: bool
    by_time: bool = False
    """Whether it was noticed because the tests took longer than the limit."""


class Bench:
    """A copy of the tree at `root`, from which a copy is made for each trial.

    The first run, of all tests that can be needed, proves that they pass, and leaves compiled
    modules, so that the copies start fast.
    """

    def __init__(self, root: Path, limit: float) -> None:
        self._limit = limit
        self._running: set[subprocess.Popen[bytes]] = set()
        self._directory = tempfile.TemporaryDirectory(prefix="mutants-")
        self._tree = Path(self._directory.name) / "tree"
        self._tree.mkdir()
        for name in working_files(root):
            copied = self._tree / name
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copied)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._directory.cleanup()

    def stop(self) -> None:
        """End the tests that are running."""
        for process in tuple(self._running):
            _end(process)

    def prove(self, modules: Collection[str]) -> None:
        """Run the tests of some modules on the unchanged tree. Raises BaselineError."""
        tests = {
            test for module in modules for stage in stages(self._tree, module) for test in stage
        }
        if tests:
            code, output = self._pytest(self._tree, sorted(tests), timeout=None)
            if code not in (0, _NO_TESTS):
                raise BaselineError(output)

    def attempt(self, mutant: Mutant) -> Outcome:
        """Return whether the tests notice a mutant within the limit of seconds."""
        deadline = time.monotonic() + self._limit
        with _changed_copy(self._tree, mutant) as tree:
            for stage in stages(tree, mutant.path):
                code, _ = self._pytest(tree, stage, deadline - time.monotonic())
                if code is None:
                    return Outcome(mutant, noticed=True, by_time=True)
                if code not in (0, _NO_TESTS):
                    return Outcome(mutant, noticed=True)
        return Outcome(mutant, noticed=False)

    def _pytest(
        self, tree: Path, tests: Sequence[str], timeout: float | None
    ) -> tuple[int | None, str]:
        """Return the exit code and output of pytest; the code is None where the time ran out."""
        options = ["-x", "-q", "-p", "no:cacheprovider", "-m", _QUICK]
        printed, temporary = tree.parent / "output", tree.parent / "temporary"
        with printed.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - the tests of this project
                [sys.executable, "-c", _LIMITED, *options, f"--basetemp={temporary}", *tests],
                cwd=tree,
                env={**os.environ, "PYTHONPATH": str(tree), "CI": "true"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._running.add(process)
        try:
            ended: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            ended = None
        finally:
            self._running.remove(process)
            _end(process)
        return ended, printed.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def _changed_copy(tree: Path, mutant: Mutant) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        copied = Path(directory) / "tree"
        shutil.copytree(tree, copied)
        module = copied / mutant.path
        module.write_text(mutant.mutation.apply(module.read_text("utf-8")), encoding="utf-8")
        # Python compares size and seconds only, and either may be as they were.
        Path(importlib.util.cache_from_source(str(module))).unlink(missing_ok=True)
        yield copied


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, and what it started and left running."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
