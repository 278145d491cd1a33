"""The lock file: who may hold it, and what it never does."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.errors import LockedError, StorageError
from shardctl.stores import locking
from shardctl.stores.local import LocalStore


@pytest.fixture(params=["flock", "exclusive"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to lock: the kernel's, and the file alone where there is none."""
    if request.param == "exclusive":
        monkeypatch.setattr(locking, "fcntl", None)
    elif locking.fcntl is None:
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
