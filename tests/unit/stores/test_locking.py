"""The lock file: who may hold it, and what it never does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from shardctl.errors import LockedError, StorageError
from shardctl.stores import locking
from shardctl.stores.local import LocalStore
from tests.unit.stores.local_calls import STORE, posix


@pytest.fixture(params=["flock", "exclusive"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to lock: the kernel's, and the file alone where there is none."""
    if request.param == "exclusive":
        monkeypatch.setattr(locking, "fcntl", None)
    elif sys.platform == "win32":
        pytest.skip("needs flock")
    return str(request.param)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.usefixtures("way")
def test_a_link_is_never_followed(tmp_path: Path, *, there: bool) -> None:
    """A link in the lock's place is refused, and the file that it leads to is neither emptied nor
    made.
    """
    other = tmp_path / "other"
    if there:
        other.write_bytes(b"mine")
    (tmp_path / "lock").symlink_to(other)
    with pytest.raises((StorageError, LockedError)), LocalStore().lock(str(tmp_path / "lock")):
        pytest.fail("the lock was taken")
    assert other.exists() is there
    assert not there or other.read_bytes() == b"mine"


def test_lock_names_its_holder(tmp_path: Path) -> None:
    """The error for a locked target names the process that holds it."""
    path = str(tmp_path / "lock")
    with STORE.lock(path), pytest.raises(LockedError) as caught, STORE.lock(path):
        pass
    assert str(os.getpid()) in caught.value.message


@posix
def test_lock_of_a_dead_process(tmp_path: Path) -> None:
    """A lock file that no process holds is taken over."""
    (tmp_path / "lock").write_bytes(b'{"pid": 1, "host": "elsewhere"}')
    with STORE.lock(str(tmp_path / "lock")):
        pass
    assert not (tmp_path / "lock").exists()


@posix
def test_lock_without_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files cannot be locked, a file's being there is the lock."""
    monkeypatch.setattr(locking, "fcntl", None)
    path = str(tmp_path / "lock")
    with STORE.lock(path), pytest.raises(LockedError), STORE.lock(path):
        pass
    with STORE.lock(path):
        pass
    assert not os.path.exists(path)
