"""What the fault suites share: small checkpoints, the program under strace, and digests."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from shardctl.cli.app import app
from shardctl.cli.exits import run
from tests.support.program import ROOT

STAGING = ".shardctl"

#: Microseconds for which a thread is held, and seconds until a run has to be where it is to end.
_LONG_DELAY, _WAITING_SECONDS = 60_000_000, 30
# <linux/prctl.h>
_PR_SET_PTRACER = 0x59616D61

#: The system calls that change what is on disk. `openat` counts only where it makes a file.
STATE_CHANGING = (
    "openat", "write", "pwrite64", "copy_file_range", "ftruncate", "fallocate", "fsync",
    "fdatasync", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "unlink",
    "unlinkat", "mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat",
)  # fmt: skip


def _strace_works() -> bool:
    try:
        done = subprocess.run(
            ["strace", "-o", os.devnull, "true"], capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    # Some containers have the program and do not allow what it does.
    return done.returncode == 0


needs_strace = pytest.mark.skipif(
    not _strace_works(), reason="needs strace, and the permission to trace"
)
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to mount"
)


def tensors(count: int = 6, nbytes: int = 3_000) -> dict[str, bytes]:
    """Named bytes, each tensor's own."""
    return {
        f"layer.{number}.weight": bytes([number + 1]) * (nbytes + number) for number in range(count)
    }


def digests(directory: Path) -> dict[str, str]:
    """The files of a directory, without the staging, by name with their SHA-256."""
    if not directory.is_dir():
        return {}
    files = [
        path
        for path in sorted(directory.rglob("*"))
        if path.is_file() and STAGING not in path.parts
    ]
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def all_digests(directory: Path) -> set[str]:
    """The SHA-256 of every file of a directory, wherever it lies in it."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def left_behind(target: Path) -> set[str]:
    """What lies in a target's staging directory; nothing where there is none."""
    staging = target / STAGING
    return {path.name for path in staging.iterdir()} if staging.exists() else set()


def forget_records() -> None:
    """Remove the records of all finished runs: the next run has to look for itself."""
    shutil.rmtree(Path(os.environ["XDG_STATE_HOME"]) / "shardctl", ignore_errors=True)


def environment() -> dict[str, str]:
    """An environment in which the program is found, and none of its variables is set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHARDCTL_")}
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def program(*arguments: object) -> list[str]:
    """The command line of the program."""
    return [sys.executable, "-m", "shardctl", *map(str, arguments)]


def run_program(
    *arguments: object, under: Sequence[str] = (), stdout: int | None = subprocess.PIPE
) -> Ended:
    """Run the program to its end as a separate process, `under` another one if that is given."""
    done = subprocess.run(
        [*under, *program(*arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=environment(),
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout or "", done.stderr)


def run_here(*arguments: object) -> Ended:
    """The same inside this process, for what is run hundreds of times."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(app, [str(argument) for argument in arguments])
    return Ended(code, out.getvalue(), err.getvalue())


def run_killed(point: Point, *arguments: object) -> int | None:
    """Run the program in a separate process, killed just before a point; returns the exit code.

    That is -9 if the point was reached. The process is forked from one that has everything
    imported, since starting Python takes longer than all the rest.
    """
    with _traced(point, "signal=KILL", arguments) as (child, _):
        child.join()
    return child.exitcode


def run_held(point: Point, until: Callable[[], bool], *arguments: object) -> int | None:
    """Run the program, with the thread that comes to a point held there, and kill it once `until`
    holds; returns the exit code.

    Unlike with a kill at the point, the other threads have come to rest then, so that what is left
    is the same each time.
    """
    with _traced(point, f"delay_enter={_LONG_DELAY}", arguments) as (child, tracer):
        deadline = time.monotonic() + _WAITING_SECONDS
        while not until():
            assert child.is_alive(), f"ended before {point}"
            assert time.monotonic() < deadline, f"{point} was not reached"
            time.sleep(0.01)
        child.kill()
        # It would keep the held thread, killed or not, until the delay is over.
        tracer.kill()
        child.join()
    return child.exitcode


@contextlib.contextmanager
def _traced(
    point: Point, what: str, arguments: Sequence[object]
) -> Iterator[tuple[multiprocessing.process.BaseProcess, subprocess.Popen[str]]]:
    """A process that runs the program, with `what` done at a point, and what traces it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["__main__", "shardctl.commands.write", "shardctl.cli.output.render", __name__]
    )
    theirs, ours = context.Pipe()
    child = context.Process(
        target=_when_told, args=(theirs, [str(argument) for argument in arguments])
    )
    child.start()
    theirs.close()
    ours.recv()
    watch = [
        "strace", "-f", "-o", os.devnull, "-P", point.path, "-e", f"trace={point.call}",
        "-e", f"inject={point.call}:{what}:when={point.nth}", "-p", str(child.pid),
    ]  # fmt: skip
    with subprocess.Popen(watch, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        assert "attached" in said, said
        ours.send(None)
        yield child, tracer
        ours.close()
        tracer.communicate()


def _when_told(parent: Connection, arguments: list[str]) -> None:
    # Where only ancestors may trace (Yama), let anybody trace this process; elsewhere this fails,
    # and does no harm.
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1))
    parent.send(None)
    parent.recv()
    os._exit(run(app, arguments))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    code: int
    stdout: str
    stderr: str

    def expect(self, code: int) -> Ended:
        """See that it ended with that exit code."""
        assert self.code == code, f"exit code {self.code}, not {code}\n{self.stdout}\n{self.stderr}"
        return self


@dataclass(frozen=True, slots=True)
class Point:
    """The `nth` time that a system call has to do with a path, as the call gives it. Each path is
    one thread's, so this is one moment.

    A name in an open directory is a bare name, wherever the directory is.
    """

    call: str
    path: str
    nth: int


def injected(call: str, what: str, path: Path | str, when: str = "1") -> list[str]:
    """The command that runs a program and does `what` to a system call on a path.

    Calls that work in an open directory (`renameat2`, `unlinkat`, `mkdirat`) are given bare names.
    """
    # Without --seccomp-bpf, which would lose injected signals.
    return [
        "strace", "-f", "-qq", "-o", os.devnull, "-P", str(path),
        "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={when}",
    ]  # fmt: skip


def points_of(arguments: Sequence[object], below: Path, log: Path) -> list[Point]:
    """Run the program once, and list every successful call by which it changed something below a
    directory.

    Those that change nothing count too where they differ from the others by number only.
    """
    under = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-s",
        "4096",
        "-o",
        str(log),
        "-e",
        f"trace={','.join(STATE_CHANGING)}",
    ]
    run_program(*arguments, under=under).expect(0)
    counted: Counter[tuple[str, str]] = Counter()
    points: list[Point] = []
    for made in _calls(log.read_text()):
        counted[made.name, made.path] += 1
        if made.changes and f"{made.whole_path}/".startswith(f"{below}/"):
            points.append(Point(made.name, made.path, counted[made.name, made.path]))
    return points


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a log: the path as it was given, and with the directory that it is relative to."""

    name: str
    path: str
    whole_path: str
    changes: bool


_BEGUN = re.compile(r"^(\d+) +(\w+)\((.*)$")
_FAILED = re.compile(r"= -1 E\w+")
#: A descriptor, or AT_FDCWD, with the path that it was opened by.
_OPENED = r"(?:\d+|AT_FDCWD)<([^>]*)>"


def _calls(log: str) -> Iterator[_Call]:
    """The calls of a log in order. Calls may be interrupted by another thread's."""
    lines = log.split("\n")
    for number, line in enumerate(lines):
        match = _BEGUN.match(line)
        if match is None:
            continue
        thread, name, rest = match.groups()
        if "<unfinished" in rest:
            # Process numbers of fewer than five digits are padded.
            resumed = re.compile(rf"{thread} +<\.\.\. {name} resumed>")
            rest += next(filter(resumed.match, lines[number:]))
        path, whole = _paths_of(name, rest)
        changes = not _FAILED.search(rest) and (name != "openat" or "O_CREAT" in rest)
        yield _Call(name, path, whole, changes)


def _paths_of(call: str, rest: str) -> tuple[str, str]:
    """The path that a call changes: of the descriptor that is written, else the first that is
    named; and the same from the root.
    """
    if call == "copy_file_range":
        path = str(re.findall(r"\d+<([^>]*)>", rest)[1])
        return path, path
    if call in ("write", "pwrite64", "ftruncate", "fallocate", "fsync", "fdatasync", "fchmod"):
        match = re.match(_OPENED, rest)
        path = "" if match is None else match[1]
        return path, path
    match = re.match(rf'(?:{_OPENED}, )?"([^"]*)"', rest)
    if match is None:
        return "", ""
    return match[2], os.path.join(match[1] or "", match[2])
