"""What the type checker says of a program that uses the functions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.program import ROOT


def said_of(program: str, directory: Path, *options: str) -> list[str]:
    """Check a program in a directory; return what is said of its lines, without the codes."""
    (directory / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "program.py"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        env={"MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(directory)},
    )
    assert done.stdout.startswith("program.py"), done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("program.py")]
    return [line.partition(": ")[2].split("  [")[0] for line in lines]
