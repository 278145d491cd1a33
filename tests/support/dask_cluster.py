"""A Dask cluster on this machine, whose workers can be held in the middle of a file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.program import environment
from tests.support.servers import PATIENCE, announced

#: What every worker runs first. At each tick it waits while there is a gate, and says so with the
#: number of its process; it goes on ticking, so that it notices when it is cancelled.
_HOLDING = """
import os, pathlib, time
from shardctl.engine.workers import dask

tick, here = dask._WorkerTick.__call__, pathlib.Path({directory!r})

def held(self, nbytes, tick=tick):
    while (here / "gate").exists():
        (here / f"held-{{os.getpid()}}").touch()
        tick(self, 0)
        time.sleep(0.05)
    tick(self, nbytes)

# Dask runs this more than once.
if tick.__name__ != "held":
    dask._WorkerTick.__call__ = held
"""


def wait_for(what: Callable[[], object]) -> None:
    """Wait until a function returns something true."""
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.05)


@dataclass
class Cluster:
    """A scheduler and its workers, each a process with one thread, and the directory of both."""

    url: str
    directory: Path
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]

    def add(self, count: int = 1, preload: str = "") -> None:
        """Start workers, and wait until they have joined.

        `preload` is code that they run first; they are not held then.
        """
        script = self.directory / f"preload_{len(self.workers)}.py"
        script.write_text(preload or _HOLDING.format(directory=str(self.directory)))
        more = ("--nthreads", "1", "--no-nanny", "--preload", str(script))
        place = ("--local-directory", str(self.directory))
        logs = []
        for _ in range(count):
            logs.append(self.directory / f"worker-{len(self.workers)}")
            command = ("distributed.cli.dask_worker", self.url, "--no-dashboard", *more, *place)
            self.workers.append(_start(logs[-1], command))
        for log in logs:
            wait_for(lambda log=log: "Registered to" in log.read_text())  # type: ignore[misc]

    def close_gate(self) -> None:
        """Hold every worker at its next piece."""
        (self.directory / "gate").touch()

    def open_gate(self) -> None:
        """Let them go on."""
        (self.directory / "gate").unlink()

    def held(self) -> list[subprocess.Popen[bytes]]:
        """Return the workers that were held in a file since the gate was closed, and still live."""
        return [
            worker
            for worker in self.workers
            if worker.poll() is None and (self.directory / f"held-{worker.pid}").exists()
        ]

    def forget_held(self) -> None:
        """Forget which workers were held."""
        for path in self.directory.glob("held-*"):
            path.unlink()


@contextmanager
def cluster(directory: Path, preload: str = "", **settings: str) -> Iterator[Cluster]:
    """Run a scheduler without workers; at the end it and all workers are killed.

    `preload` is code that it runs first; `settings` are its own, for example `worker_ttl="8s"`.
    """
    directory.mkdir()
    script = directory / "preload.py"
    script.write_text(preload)
    names = {f"DASK_DISTRIBUTED__SCHEDULER__{name.upper()}": of for name, of in settings.items()}
    place = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--preload", str(script))
    log = directory / "scheduler"
    scheduler = _start(log, ("distributed.cli.dask_scheduler", *place), names)
    workers: list[subprocess.Popen[bytes]] = []
    try:
        yield Cluster(announced(scheduler, log, r"tcp://\S+(?=\n)"), directory, scheduler, workers)
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def _start(
    log: Path, command: tuple[str, ...], settings: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=output,
            stderr=output,
            env={**environment(), **(settings or {})},
        )
