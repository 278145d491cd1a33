"""The benchmark still runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.checkpoints import ROOT


def test_the_benchmark_prints_its_table(tmp_path: Path) -> None:
    """With a small checkpoint and without peers, one round gives a row for each piece of work and contender."""
    command = [sys.executable, "benchmarks/run.py", "--size", "5MB", "--runs", "1", "--no-peers", "--dir", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    rows = [line for line in done.stdout.splitlines() if line.startswith(("| split", "| merge"))]
    assert [row.split(" | ")[:2] for row in rows] == [
        [f"| {verb} {container}", contender]
        for container in ("safetensors", "bin")
        for verb in ("split", "merge")
        for contender in ("cp", "shardctl")
    ]
    assert list(tmp_path.iterdir()) == []
