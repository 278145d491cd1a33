"""Workspaces: what a process leaves in its own, and who may remove it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardctl.engine.commit.staging import Staging
from shardctl.engine.shared import workspaces
from shardctl.engine.shared.workspaces import remove_abandoned, remove_workspaces, workspace
from shardctl.errors import ShardctlError
from shardctl.stores.base import Store
from shardctl.stores.local.store import LocalStore
from shardctl.stores.optional import lease
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put
from tests.support.program import environment

STORE = LocalStore()
NAMES = ("a", "b")
#: A process that makes a workspace with a file in it, and waits to be killed.
AT_WORK = """
import sys, time
from shardctl.engine.commit.staging import Staging
from shardctl.engine.shared import workspaces
from shardctl.engine.shared.workspaces import workspace
from shardctl.stores.local.store import LocalStore
with Staging.make(LocalStore(), sys.argv[1]) as staging, workspace(staging, ["a"]) as room:
    open(room.path("a"), "wb").write(b"half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    """The staging directory of a target."""
    with Staging.make(STORE, str(tmp_path)) as staging:
        yield staging


def parts(tmp_path: Path) -> list[Path]:
    """The workspaces there are."""
    directory = tmp_path / ".shardctl" / "parts"
    return list(directory.iterdir()) if directory.exists() else []


def test_a_workspace_is_removed_with_its_files(staging: Staging, tmp_path: Path) -> None:
    """Whatever of the run's files is left in it goes with it, also after an error."""

    def at_work(*, fails: bool) -> None:
        with workspace(staging, NAMES) as room:
            Path(room.path("a")).write_bytes(b"half")
            assert len(parts(tmp_path)) == 1
            if fails:
                raise KeyError

    at_work(fails=False)
    assert parts(tmp_path) == []
    with pytest.raises(KeyError):
        at_work(fails=True)
    assert parts(tmp_path) == []


def test_two_processes_have_two(staging: Staging, tmp_path: Path) -> None:
    """Each has a separate directory, for files of the same names; live ones are left alone."""
    with workspace(staging, NAMES) as one, workspace(staging, NAMES) as other:
        assert one.path("a") != other.path("a")
        remove_abandoned(staging, NAMES)
        assert len(parts(tmp_path)) == 2


def test_what_is_not_a_runs_stays(staging: Staging, tmp_path: Path) -> None:
    """Files of other names in a workspace, and other directories beside it, are not removed."""
    with workspace(staging, NAMES) as room:
        Path(room.path("mine.txt")).write_bytes(b"mine")
        directory = Path(room.path("a")).parent
    (tmp_path / ".shardctl" / "parts" / "mine").mkdir()
    (tmp_path / ".shardctl" / "parts" / "mine" / "a").write_bytes(b"mine")
    remove_abandoned(staging, NAMES)
    remove_workspaces(staging, NAMES)
    assert os.listdir(directory) == ["mine.txt"]
    assert (tmp_path / ".shardctl" / "parts" / "mine" / "a").exists()


def at_work(tmp_path: Path) -> subprocess.Popen[str]:
    """Start a process that is at work in a workspace of a target."""
    process = subprocess.Popen(
        [sys.executable, "-c", AT_WORK, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_killed_process_leaves_what_the_next_removes(staging: Staging, tmp_path: Path) -> None:
    """The workspace of a live process is left alone; that of one that was killed is not."""
    with at_work(tmp_path) as process:
        try:
            remove_abandoned(staging, NAMES)
            assert [path.name for path in parts(tmp_path)[0].glob("a")] == ["a"]
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    remove_abandoned(staging, NAMES)
    assert parts(tmp_path) == []


def test_a_process_that_takes_over_in_between_keeps_its_files(
    staging: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workspace that was looked at before its process had the lease is not removed after it."""
    directory = tmp_path / ".shardctl" / "parts" / ("0" * 16)
    directory.mkdir(parents=True)

    @contextmanager
    def lease_of_a_look(store: Store, path: str) -> Iterator[None]:
        with lease(store, path):
            yield
        (directory / "lease").write_text("its own")
        (directory / "a").write_bytes(b"half")

    monkeypatch.setattr(workspaces, "lease", lease_of_a_look)
    remove_abandoned(staging, NAMES)
    assert sorted(os.listdir(directory)) == ["a", "lease"]


def test_a_process_of_another_machine_is_left_alone(staging: Staging, tmp_path: Path) -> None:
    """Nothing can be known of it, so only the end of the run removes its workspace."""
    directory = tmp_path / ".shardctl" / "parts" / ("0" * 16)
    directory.mkdir(parents=True)
    (directory / "lease").write_text('{"host": "elsewhere", "pid": 1}')
    (directory / "a").write_bytes(b"half")
    remove_abandoned(staging, NAMES)
    assert (directory / "a").exists()
    remove_workspaces(staging, NAMES)
    assert parts(tmp_path) == []


def test_where_there_are_no_leases_nothing_is_abandoned() -> None:
    """A store that does not show who is at work keeps every workspace until the run ends."""
    store = MemoryStore()
    store.make_directory("t")
    with Staging.make(store, "t") as staging, workspace(staging, NAMES) as room:
        put(store, room.path("a"), b"half")
        remove_abandoned(staging, NAMES)
        assert store.kind(room.path("a")) == "file"
    assert store.kind("t/.shardctl/parts/" + room.token) is None


def test_a_workspace_that_is_removed_stops_its_process(staging: Staging, tmp_path: Path) -> None:
    """Nothing can be written in it any more, and nothing of it comes back."""
    with workspace(staging, NAMES) as room:
        remove_workspaces(staging, NAMES)
        with pytest.raises(ShardctlError):
            STORE.create(room.path("a"), 3)
    assert parts(tmp_path) == []
