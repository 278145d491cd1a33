"""A lock that is an object has one holder, and one whose process has ended is taken over."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from shardctl.errors import LockedError
from shardctl.stores.locking import note_of_this_process
from shardctl.stores.remote.s3.store import S3Store
from shardctl.testing.suites.fixtures import read
from tests.support.s3_server import needs_cloud

pytestmark = needs_cloud


def note(pid: int, host: str | None = None) -> bytes:
    """What a process of this machine, or of another host, would note of itself."""
    own = note_of_this_process()
    return json.dumps({**own, "pid": pid, "host": host or own["host"]}).encode()


def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_two_processes(bucket: S3Store, other: S3Store) -> None:
    """The second is refused while the first holds it, by the number of its process."""
    path = bucket.join(bucket.base, "t", "lock")
    with bucket.lock(path):
        with pytest.raises(LockedError, match=f"process {note_of_this_process()['pid']}"):
            other.lock(path).__enter__()
        assert json.loads(read(other, path))["pid"] == note_of_this_process()["pid"]
    with other.lock(path):
        pass
    assert other.kind(path) is None


def test_a_holder_that_has_ended(bucket: S3Store, other: S3Store) -> None:
    """Its lock is taken over; that of a live one, or of another machine, is not."""
    path = bucket.join(bucket.base, "lock")
    for pid, host in ((ended(), "elsewhere"), (1, None)):
        other.put(path, note(pid, host))
        with pytest.raises(LockedError) as caught, bucket.lock(path):
            pass
        assert f"remove '{path}'" in caught.value.hint
    other.put(path, note(ended()))
    with bucket.lock(path):
        assert json.loads(read(bucket, path))["pid"] == note_of_this_process()["pid"]
    bucket.forget()
    assert bucket.kind(path) is None


@pytest.mark.parametrize("data", [b"", b"[1]", b"\xff", b"{}"])
def test_a_lock_of_an_unknown_holder(bucket: S3Store, other: S3Store, data: bytes) -> None:
    """What is not a note of a holder keeps the lock, and the error says how to remove it."""
    path = bucket.join(bucket.base, "lock")
    other.put(path, data)
    with pytest.raises(LockedError, match="another process") as caught, bucket.lock(path):
        pass
    assert path in caught.value.hint
    assert read(bucket, path) == data


def test_a_lock_that_was_replaced_is_not_removed(bucket: S3Store, other: S3Store) -> None:
    """At the end a holder removes its lock only, and not that of one that took over by force."""
    path = bucket.join(bucket.base, "lock")
    with bucket.lock(path):
        other.put(path, b"{}")
    assert read(other, path) == b"{}"
