"""An interpreter for the documentation's Python sessions: one for each scene, in its directory."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.program import ROOT


class Session:
    """An interpreter in a new process, started with the first statement."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = {**environment, "PYTHONPATH": str(ROOT)}
        self._process: subprocess.Popen[str] | None = None

    def run(self, source: str) -> str:
        """Run a statement, and return what it prints: its value too, or its error."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.docs.session"],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(source) + "\n")
        self._process.stdin.flush()
        printed: str = json.loads(self._process.stdout.readline())
        return printed

    def close(self) -> None:
        """End the interpreter."""
        if self._process is not None:
            self._process.communicate()


@contextmanager
def session(directory: Path, environment: Mapping[str, str]) -> Iterator[Session]:
    """Yield a session, and end it."""
    opened = Session(directory, environment)
    try:
        yield opened
    finally:
        opened.close()


def main() -> None:
    """Run statements, a JSON string a line, and answer with what each printed."""
    names: dict[str, object] = {"__name__": "__main__"}
    for line in sys.stdin:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                exec(compile(json.loads(line), "<page>", "single"), names)  # noqa: S102 - the page's
            except Exception:
                traceback.print_exc()
        print(json.dumps(printed.getvalue()), flush=True)


if __name__ == "__main__":
    main()
