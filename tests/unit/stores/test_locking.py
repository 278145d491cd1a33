"""The lock file: who may hold it, and what it never does."""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from shardctl.errors import LockedError, StorageError, TargetExistsError
from shardctl.stores import locking
from tests.unit.stores.local.local_calls import STORE, failing, posix

NUMBERS = ("ENOSYS", "EOPNOTSUPP", "ENOLCK", "EINVAL")


@pytest.fixture(params=["flock", "no fcntl", *NUMBERS])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every way to lock: the kernel's, and the file alone where that is missing or fails."""
    _lock_by(request.param, monkeypatch)
    return str(request.param)


@pytest.fixture(params=["no fcntl", *NUMBERS])
def by_file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The ways in which a file's being there is the lock."""
    _lock_by(request.param, monkeypatch)
    return str(request.param)


def _lock_by(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "no fcntl":
        monkeypatch.setattr(locking, "fcntl", None)
        return
    if sys.platform == "win32":
        pytest.skip("needs flock")
    if way != "flock":
        monkeypatch.setattr("fcntl.flock", failing(getattr(errno, way)))


def _ended_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    return child.pid


def _note(path: Path, **changed: object) -> None:
    """Make a lock file as a holder with these properties makes it."""
    with STORE.lock(str(path)):
        who = json.loads(path.read_bytes())
    path.write_text(json.dumps({**who, **changed}))


def _link(path: Path, other: Path) -> None:
    path.symlink_to(other)


def _second_name(path: Path, other: Path) -> None:
    path.hardlink_to(other)


@posix
@pytest.mark.parametrize("make", [_link, _second_name])
@pytest.mark.usefixtures("way")
def test_a_link_is_refused_by_name(tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    """A link of either kind in the lock's place is refused, and the other file is not emptied."""
    other, path = tmp_path / "other", tmp_path / "lock"
    other.write_bytes(b"mine")
    make(path, other)
    with pytest.raises(TargetExistsError) as caught, STORE.lock(str(path)):
        pytest.fail("the lock was taken")
    assert str(path) in caught.value.message
    assert other.read_bytes() == b"mine"
    assert path.exists()


@posix
@pytest.mark.usefixtures("way")
def test_a_link_to_nothing_makes_nothing(tmp_path: Path) -> None:
    """A link that leads to nothing is refused as well, and no file is made there."""
    (tmp_path / "lock").symlink_to(tmp_path / "other")
    with pytest.raises(TargetExistsError), STORE.lock(str(tmp_path / "lock")):
        pytest.fail("the lock was taken")
    assert not (tmp_path / "other").exists()


@posix
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["directory", "pipe"])
@pytest.mark.usefixtures("way")
def test_only_a_regular_file_is_a_lock(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A directory or a pipe is refused at once."""
    make(tmp_path / "lock")
    with (
        pytest.raises(TargetExistsError, match="not a regular file"),
        STORE.lock(str(tmp_path / "lock")),
    ):
        pytest.fail("the lock was taken")


@posix
def test_a_link_that_appears_in_between_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a link takes the place of a file that was looked at, it is not followed."""
    other, path = tmp_path / "other", tmp_path / "lock"
    other.write_bytes(b"mine")
    path.write_bytes(b"")
    real = os.lstat

    def replaced(looked_at: str) -> os.stat_result:
        status = real(looked_at)
        path.unlink()
        path.symlink_to(other)
        return status

    monkeypatch.setattr(os, "lstat", replaced)
    with pytest.raises(StorageError), STORE.lock(str(path)):
        pytest.fail("the lock was taken")
    assert other.read_bytes() == b"mine"


@pytest.mark.usefixtures("way")
def test_a_lock_is_held_once_and_leaves_nothing(tmp_path: Path) -> None:
    """A second holder is refused with the first one's process, and afterwards there is no file."""
    path = str(tmp_path / "lock")
    for _ in range(2):
        with STORE.lock(path), pytest.raises(LockedError) as caught, STORE.lock(path):
            pytest.fail("the lock was taken twice")
        assert f"process {os.getpid()} on" in caught.value.message
        assert not os.path.exists(path)


@posix
def test_lock_of_a_dead_process(tmp_path: Path) -> None:
    """With flock, a lock file that no process holds is taken over, whoever it names."""
    (tmp_path / "lock").write_bytes(b'{"pid": 1, "host": "elsewhere"}')
    with STORE.lock(str(tmp_path / "lock")):
        pass
    assert not (tmp_path / "lock").exists()


@posix
@pytest.mark.parametrize("number", ["EWOULDBLOCK", "EACCES"])
def test_a_lock_that_another_process_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    """However the system says that another process holds the lock, that one keeps it."""
    path = tmp_path / "lock"
    _note(path, pid=_ended_process(), host="elsewhere")
    before = path.read_bytes()
    monkeypatch.setattr("fcntl.flock", failing(getattr(errno, number)))
    with pytest.raises(LockedError, match="elsewhere"), STORE.lock(str(path)):
        pytest.fail("the lock was stolen")
    assert path.read_bytes() == before


@posix
@pytest.mark.usefixtures("by_file")
def test_a_dead_holder_is_taken_over(tmp_path: Path) -> None:
    """The file of a process of this machine that has ended delays no other run."""
    path = tmp_path / "lock"
    _note(path, pid=_ended_process())
    with STORE.lock(str(path)):
        assert json.loads(path.read_bytes())["pid"] == os.getpid()
    assert not path.exists()


@posix
@pytest.mark.usefixtures("by_file")
def test_what_a_dead_takeover_left_goes_too(tmp_path: Path) -> None:
    """The lock on removing a lock, of a process that ended while it held that, is not left over."""
    path = tmp_path / "lock"
    _note(tmp_path / "lock~", pid=_ended_process())
    with STORE.lock(str(path)):
        pass
    assert not list(tmp_path.iterdir())


@posix
@pytest.mark.usefixtures("by_file")
def test_a_takeover_that_is_under_way_is_left_alone(tmp_path: Path) -> None:
    """The lock on removing a lock that a live process holds stays where it is."""
    path = tmp_path / "lock"
    _note(tmp_path / "lock~", pid=os.getpid())
    with STORE.lock(str(path)):
        pass
    assert [each.name for each in tmp_path.iterdir()] == ["lock~"]


class Between:
    """Lets a rival run before the system call of a number, of all that a process makes for a lock.

    The rival is another run, which takes the lock where it can, and keeps it.
    """

    CALLS = ("open", "lstat", "fstat", "unlink", "kill", "read", "write", "close")

    def __init__(self, path: Path, moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.moment = path, moment
        self.number = 0
        self.held: list[locking.Held] = []
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            self.number += 1
            if self.number == self.moment:
                self.acquire()
            return real(*arguments, **options)

        return call

    def acquire(self) -> None:
        """Take the lock, if it is free."""
        with suppress(LockedError):
            self.held.append(locking.acquire(str(self.path)))


@posix
@pytest.mark.parametrize("stale", [("lock",), ("lock", "lock~"), ()], ids="-".join)
def test_two_that_find_a_dead_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stale: tuple[str, ...]
) -> None:
    """Before whichever system call of a run another one tries to take the lock, one of them gets
    it: where the holder has ended, where one that removed its file has, and where there was none.
    """
    monkeypatch.setattr(locking, "fcntl", None)
    path, pid = tmp_path / "lock", _ended_process()
    _note(path, pid=pid)
    note = path.read_bytes()
    path.unlink()
    moments = 0
    while True:
        moments += 1
        for name in stale:
            (tmp_path / name).write_bytes(note)
        with monkeypatch.context() as patched:
            both = Between(path, moments, patched)
            both.acquire()
        assert len(both.held) == 1, f"before call {moments}"
        both.held[0].release()
        assert not list(tmp_path.iterdir()), f"before call {moments}"
        if both.number < moments:
            break
    assert moments > 10 or not stale


@pytest.mark.usefixtures("by_file")
@pytest.mark.parametrize(
    "changed",
    [
        {"host": "elsewhere"},
        {"processes": "pid:[1]"},
        {"pid": None},
        {"pid": -1},
        {"pid": -(2**22)},  # as a number for kill(2): a group of processes that does not exist
        {"pid": 10**30},
        {"pid": "1"},
    ],
)
def test_an_unknown_holder_keeps_the_lock(tmp_path: Path, changed: dict[str, object]) -> None:
    """A holder on another host, in another container, or without a process number is not known to
    have ended: its file stays, and the hint says what to do.
    """
    path = tmp_path / "lock"
    _note(path, **{"pid": _ended_process(), **changed})
    before = path.read_bytes()
    with pytest.raises(LockedError) as caught, STORE.lock(str(path)):
        pytest.fail("the lock was stolen")
    assert path.read_bytes() == before
    assert f"remove '{path}'" in caught.value.hint


@posix
@pytest.mark.usefixtures("by_file")
def test_a_process_of_another_user_keeps_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live process that may not be signalled holds its lock."""
    path = tmp_path / "lock"
    _note(path, pid=1)

    def refused(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    with pytest.raises(LockedError), STORE.lock(str(path)):
        pytest.fail("the lock was stolen")


@pytest.mark.usefixtures("by_file")
@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"[" * 4096, b"\xff", b'{"pid": 1}'])
def test_a_file_that_names_nobody_is_held(tmp_path: Path, note: bytes) -> None:
    """A file whose holder is not noted yet, or cannot be read, is held by another process."""
    (tmp_path / "lock").write_bytes(note)
    with (
        pytest.raises(LockedError, match="another process"),
        STORE.lock(str(tmp_path / "lock")),
    ):
        pytest.fail("the lock was stolen")


@posix
def test_a_note_is_never_printed_raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file says of its holder does not reach a terminal as control characters."""
    monkeypatch.setattr(locking, "fcntl", None)
    (tmp_path / "lock").write_text(json.dumps({"pid": 1, "host": "\x1b[2J", "since": "\n"}))
    with pytest.raises(LockedError) as caught, STORE.lock(str(tmp_path / "lock")):
        pytest.fail("the lock was stolen")
    assert caught.value.message.isprintable()


@pytest.mark.usefixtures("by_file")
def test_a_lock_that_cannot_be_noted_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk has no room for the holder's name, no file is left that would stop other runs."""
    path = tmp_path / "lock"
    with monkeypatch.context() as full:
        full.setattr(os, "write", failing(errno.ENOSPC))
        with pytest.raises(StorageError), STORE.lock(str(path)):
            pytest.fail("the lock was taken")
    assert not path.exists()


def test_the_holder_says_where_it_runs(tmp_path: Path) -> None:
    """The file names host, process and the time, which only people read."""
    path = tmp_path / "lock"
    with STORE.lock(str(path)):
        who = json.loads(path.read_bytes())
    assert (who["host"], who["pid"]) == (platform.node(), os.getpid())
    assert set(who) == {"host", "pid", "processes", "since"}
