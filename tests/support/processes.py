"""Run a module as several processes of one group, as training does."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from tests.support.program import ROOT

#: The variable that names the file by which the processes of a group find one another.
_GROUP = "SHARDCTL_TESTS_GROUP"


def run_processes(module: str, processes: int, *arguments: object) -> None:
    """Run a module as so many processes of one group, and wait until all have succeeded.

    They meet at a file: a port that is free now can be another program's when they listen on it.
    """
    command = [sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)]
    with tempfile.TemporaryDirectory() as meeting:
        environment = {
            **os.environ,
            _GROUP: str(Path(meeting, "group")),
            "WORLD_SIZE": str(processes),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        running = [
            subprocess.Popen(
                command,
                env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                cwd=ROOT,
            )
            for rank in range(processes)
        ]
        try:
            codes = [process.wait(timeout=300) for process in running]
        finally:
            for process in running:
                process.kill()
                process.wait()
    assert not any(codes), f"{module} ended with {codes}"


def join_group() -> None:
    """Join the group of `run_processes`, as one of its processes."""
    import torch.distributed as dist

    dist.init_process_group(
        "gloo",
        init_method=Path(os.environ[_GROUP]).as_uri(),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )


def leave_group() -> NoReturn:
    """Wait for the others of the group, and end this process, which has done its work.

    It ends at once: a thread of torch that asks for the interpreter while that is taken down is
    stopped in the middle of C++ code, which aborts the process.
    """
    import torch.distributed as dist

    dist.barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
