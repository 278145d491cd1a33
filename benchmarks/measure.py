"""Run commands in rounds, and measure their time, memory, bytes and room on the disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.contenders import Contender

#: Bytes that are read at a time; small, because of the peak memory of children.
_CHUNK_BYTES = 256 * 1024
_ROOT = str(Path(__file__).parent.parent)
#: ru_maxrss is in KiB, but on macOS in bytes.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Sample:
    """One run, in bytes.

    `ratio` is `seconds` divided by those of the round's yardstick. `peak` is the process's resident
    memory (wait4). From /proc/PID/io: `read` and `written` went through system calls that read,
    write or copy (also from and to the page cache, but not through memory maps); `fetched` came
    from the disk, and `dirtied` was changed in the page cache, to be written. `room` is what the
    filesystem has less afterwards. `mapped` are the bytes of files that are still mapped in the
    memory of a process which reports them.

    Of works that ask a server: bytes that the client `received` and `sent`, with the headers of
    HTTP, its `requests`, and the most room that its files took on the `disk` meanwhile.
    """

    seconds: float
    peak: int
    read: int | None = None
    written: int | None = None
    fetched: int | None = None
    dirtied: int | None = None
    room: int | None = None
    ratio: float | None = None
    mapped: int | None = None
    received: int | None = None
    sent: int | None = None
    requests: int | None = None
    disk: int | None = None


@dataclass(frozen=True)
class Scene:
    """Contenders that are timed together in each round, on one source, and their yardstick.

    `proof` are the options with which `verify --against` proves a result; None where nothing does.
    """

    contenders: tuple[Contender, ...]
    yardstick: Contender | None
    source: str
    nbytes: int
    tensors: int
    proof: tuple[str, ...] | None = ()


def run(command: Sequence[str], *, reports: bool = False) -> Sample:
    """Run a command to its end, and discard its output, or take from it what it measured itself.

    Raises CalledProcessError with what it wrote to stderr.
    """
    path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    # An installation has its modules compiled; so has a checkout after its first run, unless this
    # is set.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begun = time.perf_counter()
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE if reports else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
    )
    try:
        said = child.stderr.read() if child.stderr else b""
        printed = child.stdout.read() if child.stdout else b""  # a line, which fits into the pipe
        # It stays a zombie until wait4, so that what /proc says of it can be read.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        seconds = time.perf_counter() - begun
    except BaseException:
        child.kill()
        child.wait()
        raise
    counted = _io_of(child.pid)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    for stream in filter(None, (child.stdout, child.stderr)):
        stream.close()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command, stderr=said)
    names = ("rchar", "wchar", "read_bytes", "write_bytes")
    if reports:
        # What was counted is of all that the process did, and says nothing of this part of it.
        return Sample(**json.loads(printed.splitlines()[-1]))
    peak = usage.ru_maxrss * _RSS_UNIT
    return Sample(seconds, peak, *(counted.get(name) for name in names))


def _io_of(pid: int) -> dict[str, int]:
    """Return what Linux counted for a process (proc_pid_io(5)); nothing elsewhere."""
    try:
        with open(f"/proc/{pid}/io", encoding="ascii") as file:
            pairs = [line.split(": ") for line in file]
    except OSError:
        return {}
    return {name: int(value) for name, value in pairs}


def sync_files(directory: str) -> None:
    """Make a directory's files durable, and the directory."""
    for name in (*os.listdir(directory), "."):
        number = os.open(os.path.join(directory, name), os.O_RDONLY)
        os.fsync(number)
        os.close(number)


def warm(directory: str, most: int) -> None:
    """Read the files of a directory, those of at most `most` bytes, into the page cache."""
    for path in sorted(Path(directory).iterdir()):
        if path.is_file() and path.stat().st_size <= most:
            with path.open("rb", buffering=0) as file:
                while file.read(_CHUNK_BYTES):
                    pass


def drop(directory: str) -> None:
    """Drop the files of a directory from the page cache, so that they are read from the disk."""
    for path in sorted(Path(directory).iterdir()):
        number = os.open(path, os.O_RDONLY)
        os.fsync(number)  # what is not yet written stays in the cache
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(number)


def used_bytes(directory: str) -> int:
    """Return the bytes in use on a directory's filesystem, exact where all is written."""
    status = os.statvfs(directory)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def time_once(
    contender: Contender, directory: str, check: Callable[[str], None] | None = None
) -> Sample:
    """Do the work once, into a new directory below `directory`, until it is durable.

    `check` gets that directory, untimed.
    """
    if contender.cold:
        drop(contender.cold)
    if not contender.writes:
        return run(contender.command, reports=contender.reports)
    target = os.path.join(directory, "out")
    if not contender.name.startswith("cp"):
        os.mkdir(target)
    result = contender.result.replace("{target}", target)
    before = used_bytes(directory)
    if contender.meter is not None:
        contender.meter.begin()
    begun = time.perf_counter()
    try:
        sample = run(contender.command_to(target), reports=contender.reports)
        if not contender.syncs and os.path.isdir(result):
            sync_files(result)
        if not contender.reports:
            sample = replace(sample, seconds=time.perf_counter() - begun)
        if contender.meter is not None:
            sample = Sample(sample.seconds, sample.peak, **contender.meter.end())
        else:
            os.sync()
            sample = replace(sample, room=used_bytes(directory) - before)
        if check is not None:
            check(result)
    finally:
        shutil.rmtree(target, ignore_errors=True)
        # The next work must neither wait for this nor be charged for it.
        os.sync()
    return sample


def measure(
    scene: Scene, rounds: int, peer_rounds: int, directory: str, check: Callable[[str], None]
) -> dict[Contender, list[Sample]]:
    """Time every contender in every round, peers in the first `peer_rounds`.

    The order turns from round to round.
    """
    everyone = [*((scene.yardstick,) if scene.yardstick else ()), *scene.contenders]
    measured: dict[Contender, list[Sample]] = {contender: [] for contender in everyone}
    for number in range(rounds):
        group = [each for each in everyone if number < peer_rounds or not is_peer(each)]
        turn = number % len(group)
        took = {
            contender: time_once(contender, directory, None if number else check)
            for contender in group[turn:] + group[:turn]
        }
        unit = took[scene.yardstick].seconds if scene.yardstick else None
        for contender, sample in took.items():
            measured[contender].append(
                replace(sample, ratio=sample.seconds / unit if unit else None)
            )
            name = contender.work or "yardstick"
            print(
                f"round {number + 1}: {name}: {contender.name} {sample.seconds:.2f} s",
                file=sys.stderr,
            )
    return measured


def is_peer(contender: Contender) -> bool:
    """Whether a contender is neither shardctl nor a measure of all works."""
    return bool(contender.work) and not contender.name.startswith("shardctl")
