"""Run a module as several processes of one group, as training does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.program import ROOT


def run_processes(module: str, directory: Path, processes: int) -> None:
    """Run a module as so many processes of one group, and wait until all have succeeded."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module, str(directory)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=ROOT,
        )
        for rank in range(processes)
    ]
    assert [process.wait(timeout=120) for process in running] == [0] * processes
