"""What goes wrong around a run: full disks, failing calls, sources that change, other writers,
signals, closed ends.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.write import write
from shardctl.engine.run import RunOptions
from shardctl.errors import TargetExistsError
from shardctl.planning.request import Limits, WriteOptions
from shardctl.stores.local.store import LocalStore
from shardctl.streams.progress import Silent
from tests.faults.machinery import (
    STAGING,
    digests,
    environment,
    injected,
    needs_root,
    needs_strace,
    program,
    run_here,
    run_program,
    tensors,
)
from tests.support.safetensors_files import read_tensors, write_safetensors

pytestmark = pytest.mark.faults

SHARD = "model-0000{}-of-00003.safetensors"


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    """A checkpoint of one file, which is the same after the test as before, unless the test changes
    it itself.
    """
    path = write_safetensors(tmp_path / "source" / "model.safetensors", tensors())
    yield path.parent
    assert len(digests(path.parent)) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem in memory with room for 2 MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(directory)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("needs to mount a tmpfs")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def _split(source: Path, target: Path) -> tuple[object, ...]:
    return ("split", source, target, "--num-shards", 3, "-j", 1)


@needs_root
def test_too_little_space_is_seen_before_anything_is_written(
    tmp_path: Path, small_disk: Path
) -> None:
    """A target without room is exit 5 that says how much is missing, and nothing is left there."""
    source = write_safetensors(tmp_path / "source" / "model.safetensors", tensors(3, 700_000))
    failed = run_here(*_split(source, small_disk / "target")).expect(5)
    assert "free" in failed.stderr
    assert list(small_disk.iterdir()) == []


@needs_root
@needs_strace
def test_a_disk_that_fills_up_midway(tmp_path: Path, small_disk: Path) -> None:
    """When the disk fills up after the check, the run ends cleanly and goes on once there
    is room.
    """
    source = write_safetensors(tmp_path / "source" / "model.safetensors", tensors(3, 250_000))
    target = small_disk / "target"
    waiting = injected("openat", "signal=STOP", target / STAGING / "plan.json.new")
    with subprocess.Popen(
        [*waiting, *program(*_split(source, target))],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as stopped:
        _wait_for((target / STAGING / "plan.json.new").exists)
        (small_disk / "filler").write_bytes(bytes(1_600_000))
        said = _goes_on(stopped)
    assert stopped.returncode == 5, said
    assert "No space left" in said
    assert digests(target) == {}
    (small_disk / "filler").unlink()
    run_here(*_split(source, target)).expect(0)
    assert read_tensors(target) == tensors(3, 250_000)


_FAILURES = [
    ("ftruncate", "ENOSPC"),
    ("pwrite64", "ENOSPC"),
    ("pwrite64", "EDQUOT"),
    ("pwrite64", "EIO"),
    ("copy_file_range", "ENOSPC"),
    ("copy_file_range", "EDQUOT"),
    ("fsync", "EIO"),
    ("fsync", "ENOSPC"),
    ("renameat2", "EIO"),
]


def _header_of(path: Path) -> tuple[int, dict[str, dict[str, list[int]]]]:
    """Return where the tensors of a safetensors file begin, in bytes, and its header."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, dict[str, list[int]]] = json.loads(data[8:begin])
    header.pop("__metadata__", None)
    return begin, header


def _align(source: Path, tmp_path: Path, shard: str) -> None:
    """Pad the source's header so that the kernel copies the tensors of a shard.

    It does where they begin at the same place within a page as in the source.
    """
    run_here(*_split(source, tmp_path / "before")).expect(0)
    begin, header = _header_of(tmp_path / "before" / shard)
    (first,) = (name for name, each in header.items() if each["data_offsets"][0] == 0)
    path = source / "model.safetensors"
    own, whole = _header_of(path)
    pad = (begin - own - whole[first]["data_offsets"][0]) % mmap.PAGESIZE
    data = path.read_bytes()
    length = (own - 8 + pad).to_bytes(8, "little")
    path.write_bytes(length + data[8:own] + b" " * pad + data[own:])


@needs_strace
@pytest.mark.parametrize(("call", "error"), _FAILURES)
def test_a_failing_call(source: Path, tmp_path: Path, call: str, error: str) -> None:
    """A call that fails is exit 5, one error that names the file, no partial file, and the same
    command goes on.
    """
    target = tmp_path / "target"
    name = SHARD.format(2)
    path = name if call == "renameat2" else target / STAGING / "files" / name
    if call == "copy_file_range":
        _align(source, tmp_path, name)
    split = _split(source, target)
    failed = run_program(*split, under=injected(call, f"error={error}", path)).expect(5)
    assert SHARD.format(2) in failed.stderr
    assert failed.stderr.count("error:") == 1
    assert digests(target) == {}
    assert failed.stdout == ""
    run_here(*split).expect(0)
    assert read_tensors(target) == tensors()


@needs_strace
def test_a_failed_sync_is_never_tried_again(source: Path, tmp_path: Path) -> None:
    """A file whose sync failed is thrown away after that one try, and the next run writes
    it again.
    """
    target = tmp_path / "target"
    shard = target / STAGING / "files" / SHARD.format(2)
    log = tmp_path / "log"
    under = [
        part if part != os.devnull else str(log) for part in injected("fsync", "error=EIO", shard)
    ]
    run_program(*_split(source, target), under=under).expect(5)
    assert log.read_text().count("fsync(") == 1
    assert not shard.exists()
    assert (target / STAGING / "files" / SHARD.format(1)).exists()
    run_here(*_split(source, target)).expect(0)
    assert read_tensors(target) == tensors()


@needs_strace
@pytest.mark.parametrize(
    "what",
    [
        "error=EXDEV",
        "error=EINVAL",
        "error=ENOSYS",
        "error=EOPNOTSUPP",
        "error=EPERM",
        "error=EIO",
        "retval=0",
    ],
)
def test_a_copy_that_the_kernel_refuses(source: Path, tmp_path: Path, what: str) -> None:
    """Where `copy_file_range` does not go, the bytes pass through a buffer, and the result is the
    same.
    """
    target = tmp_path / "target"
    under = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"inject=copy_file_range:{what}"]
    run_program(*_split(source, target), under=under).expect(0)
    assert read_tensors(target) == tensors()


@needs_strace
def test_interrupted_calls(source: Path, tmp_path: Path) -> None:
    """Calls that a signal interrupts are made again."""
    target = tmp_path / "target"
    under = ["strace", "-f", "-qq", "-o", os.devnull]
    for call in ("copy_file_range", "pwrite64", "fsync", "ftruncate"):
        under += ["-e", f"inject={call}:error=EINTR:when=1..5+2"]
    run_program(*_split(source, target), under=under).expect(0)
    assert read_tensors(target) == tensors()


@needs_strace
def test_a_source_that_cannot_be_read(source: Path, tmp_path: Path) -> None:
    """A read that fails is exit 5 that names the source and the offset, and leaves no trace of the
    target.
    """
    target = tmp_path / "target"
    model = source / "model.safetensors"
    under = [
        "strace",
        "-f",
        "-qq",
        "-o",
        os.devnull,
        "-P",
        str(model),
        "-e",
        "inject=copy_file_range:error=ENOSYS",
    ]
    under += ["-e", "inject=pread64:error=EIO:when=3+"]
    failed = run_program(*_split(source, target), under=under).expect(5)
    assert str(model) in failed.stderr
    assert "at byte" in failed.stderr
    assert not target.exists()


@needs_strace
@pytest.mark.parametrize("change", ["truncated", "rewritten", "replaced"])
def test_a_source_that_changes_while_it_is_read(source: Path, tmp_path: Path, change: str) -> None:
    """A source that changes under a run is exit 3 that names it; nothing has a final name."""
    target = tmp_path / "target"
    model = source / "model.safetensors"
    shard = target / STAGING / "files" / SHARD.format(1)
    with subprocess.Popen(
        [*injected("ftruncate", "signal=STOP", shard), *program(*_split(source, target))],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as stopped:
        _wait_for(shard.exists)
        if change == "truncated":
            os.truncate(model, 1000)
        elif change == "rewritten":
            model.write_bytes(bytes(model.stat().st_size))
        else:
            fresh = write_safetensors(source / "fresh", tensors())
            fresh.replace(model)
        said = _goes_on(stopped)
    assert stopped.returncode == 3, said
    assert str(model) in said
    assert digests(target) == {}


@needs_root
def test_a_target_that_is_mounted_read_only(source: Path, small_disk: Path) -> None:
    """A read-only filesystem is exit 5 that says so."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    failed = run_here(*_split(source, small_disk / "target")).expect(5)
    assert "read-only" in failed.stderr.lower()


def test_a_target_without_permission(source: Path, tmp_path: Path) -> None:
    """A directory that may not be written to is exit 5 that says so."""
    directory = tmp_path / "closed"
    directory.mkdir(mode=0o555)
    if os.access(directory, os.W_OK):
        pytest.skip("needs a user who is not root")
    failed = run_here(*_split(source, directory / "target")).expect(5)
    assert "permission" in failed.stderr.lower()


def test_a_target_on_another_filesystem(source: Path) -> None:
    """A target elsewhere than its source gets the same files."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own is made there
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == source.stat().st_dev:
        pytest.skip("needs a second filesystem at /dev/shm")
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        run_here(*_split(source, Path(directory) / "target")).expect(0)
        assert read_tensors(Path(directory) / "target") == tensors()


@pytest.mark.parametrize(
    ("length", "code", "said"), [(300, 2, "longer than 255 bytes"), (250, 5, "shorter name")]
)
def test_a_name_that_is_too_long(
    source: Path, tmp_path: Path, length: int, code: int, said: str
) -> None:
    """A file name that no filesystem holds is one clear error, and nothing is made."""
    failed = run_here(*_split(source, tmp_path / "target"), "--name", "n" * length).expect(code)
    assert said in failed.stderr
    assert not (tmp_path / "target").exists()


@needs_strace
def test_the_second_of_two_writers(source: Path, tmp_path: Path) -> None:
    """While one run writes, another is exit 4 that names its process; the first is not
    disturbed.
    """
    target = tmp_path / "target"
    shard = target / STAGING / "files" / SHARD.format(2)
    with subprocess.Popen(
        [*injected("ftruncate", "signal=STOP", shard), *program(*_split(source, target), "-q")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as first:
        _wait_for(shard.exists)
        (child,) = _children(first.pid)
        refused = run_here(*_split(source, target)).expect(4)
        assert f"process {child}" in refused.stderr
        said = _goes_on(first)
    assert first.returncode == 0, said
    assert read_tensors(target) == tensors()


def test_a_rival_that_ends_in_between(source: Path, tmp_path: Path) -> None:
    """A run that another one overtook before it held the lock is exit 4, changes nothing, and is up
    to date then.
    """
    target = tmp_path / "target"
    options = WriteOptions(Limits(num_shards=3))
    store = LocalStore()
    planned = prepare(store, str(source), store, str(target), options, finish=True)
    run_here(*_split(source, target)).expect(0)
    rival = digests(target)
    with pytest.raises(TargetExistsError, match="changed") as caught:
        write(store, store, planned, RunOptions(jobs=1), Silent())
    assert caught.value.exit_code == 4
    assert digests(target) == rival
    assert "up to date" in run_here(*_split(source, target)).expect(0).stderr


@needs_strace
def test_every_new_directory_is_synced_into_its_parent(source: Path, tmp_path: Path) -> None:
    """The names of the target and of the directories made on the way to it are durable before
    anything is made there.
    """
    log = tmp_path / "log"
    under = ["strace", "-f", "-y", "-qq", "-o", str(log), "-e", "trace=mkdir,mkdirat,fsync"]
    run_program(*_split(source, tmp_path / "deep" / "target"), under=under).expect(0)
    calls = [
        line.partition(" ")[2].strip()
        for line in log.read_text().splitlines()
        if str(tmp_path) in line
    ]
    made = [
        number
        for number, call in enumerate(calls)
        if call.startswith("mkdir") and call.endswith("= 0")
    ]
    deep = tmp_path / "deep"
    target = deep / "target"
    directories = [
        (deep, f'"{deep}"'),
        (target, f'"{target}"'),
        (target / STAGING, f'<{target}>, "{STAGING}"'),
    ]
    for number, (directory, given) in zip(made[:3], directories, strict=True):
        assert given in calls[number]
        assert re.fullmatch(
            rf"fsync\(\d+<{re.escape(str(directory.parent))}>\) += 0", calls[number + 1]
        )


def test_a_lock_file_without_a_holder(source: Path, tmp_path: Path) -> None:
    """The lock file of a process that is gone does not block a run."""
    staging = tmp_path / "target" / STAGING
    staging.mkdir(parents=True)
    (staging / "lock").write_text(
        '{"host": "elsewhere", "pid": 1, "since": "2020-01-01T00:00:00+0000"}'
    )
    run_here(*_split(source, tmp_path / "target")).expect(0)
    assert not staging.exists()


@needs_strace
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_stops_a_run_that_can_go_on(
    source: Path, tmp_path: Path, name: str, code: int
) -> None:
    """A signal ends a run though a sync is under way, with its exit code and a hint; finished
    shards are kept.
    """
    target = tmp_path / "target"
    shard = target / STAGING / "files" / SHARD.format(3)
    slow = injected("fsync", "delay_enter=2000000", shard)
    with subprocess.Popen(
        [*slow, *program(*_split(source, target))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as running:
        receipts = target / STAGING / "receipts.jsonl"
        _wait_for(
            lambda: shard.exists() and receipts.exists() and receipts.read_text().count("\n") == 2
        )
        _signal_child(running.pid, getattr(signal, name))
        out, said = running.communicate()
    assert running.returncode == code, said
    assert (name in said, "--restart" in said, out) == (True, True, "")
    # The sync that was under way was not waited for, so the third shard is not a finished one.
    assert receipts.read_text().count("\n") == 2
    kept = (target / STAGING / "files" / SHARD.format(1)).stat()
    run_here(*_split(source, target)).expect(0)
    assert (target / SHARD.format(1)).stat().st_ino == kept.st_ino
    assert (target / SHARD.format(1)).stat().st_mtime_ns == kept.st_mtime_ns
    assert read_tensors(target) == tensors()


@needs_strace
def test_a_signal_waits_for_the_commit(source: Path, tmp_path: Path) -> None:
    """A signal that comes while files get their names ends the run once all have theirs, and it
    says that the result is complete, and where.
    """
    target = tmp_path / "target"
    slow = injected("renameat2", "delay_enter=1000000", SHARD.format(2))
    with subprocess.Popen(
        [*slow, *program(*_split(source, target))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as running:
        _wait_for((target / SHARD.format(1)).exists)
        _signal_child(running.pid, signal.SIGTERM)
        _, said = running.communicate()
    assert running.returncode == 143, said
    assert f"the result is complete: '{target}/model.safetensors.index.json'" in said
    assert "again" not in said.replace("the same command again finds it up to date", "")
    assert read_tensors(target) == tensors()
    assert not (target / STAGING).exists()
    assert "up to date" in run_here(*_split(source, target)).expect(0).stderr


@needs_strace
def test_a_signal_waits_for_what_an_earlier_run_had_begun(source: Path, tmp_path: Path) -> None:
    """A signal that comes while an interrupted replacement is completed ends the run after that."""
    target = tmp_path / "target"
    run_here("split", source, target, "--num-shards", 2).expect(0)
    again = (*_split(source, target), "--replace")
    killed = injected("renameat2", "signal=KILL", SHARD.format(2))
    assert run_program(*again, under=killed).code in (137, -9)
    slow = injected("renameat2", "delay_enter=1000000", SHARD.format(3))
    with subprocess.Popen(
        [*slow, *program(*again)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as running:
        _wait_for((target / SHARD.format(2)).exists)
        _signal_child(running.pid, signal.SIGINT)
        _, said = running.communicate()
    assert running.returncode == 130, said
    assert read_tensors(target) == tensors()
    assert not (target / STAGING).exists()


def test_a_closed_stdout(source: Path, tmp_path: Path) -> None:
    """A reader that has gone away is exit 141 without a word, and the work is complete."""
    read, write = os.pipe()
    os.close(read)
    try:
        ended = run_program(*_split(source, tmp_path / "target"), "-q", stdout=write).expect(141)
    finally:
        os.close(write)
    assert ended.stderr == ""
    assert read_tensors(tmp_path / "target") == tensors()


def test_a_full_stdout(source: Path, tmp_path: Path) -> None:
    """A standard output without room is exit 5, and the work is complete."""
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "wb") as full:
        failed = run_program(*_split(source, tmp_path / "target"), stdout=full.fileno()).expect(5)
    assert "standard output" in failed.stderr
    assert read_tensors(tmp_path / "target") == tensors()


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1500):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("the run did not get there within 30 seconds")


def _children(pid: int) -> list[int]:
    """The processes that strace runs."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _goes_on(stopped: subprocess.Popen[str]) -> str:
    """Let a run that stops itself go on, and return what it said once it has ended.

    It may stop only after the first signal, so the signal is sent again and again.
    """
    while True:
        for child in _children(stopped.pid):
            os.kill(child, signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):
            _, said = stopped.communicate(timeout=0.5)
            return said


def _signal_child(pid: int, number: int) -> None:
    for child in _children(pid):
        os.kill(child, number)
