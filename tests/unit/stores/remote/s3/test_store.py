"""A bucket as a store: what it changed is seen at once, and every byte is counted."""

from __future__ import annotations

import pytest

from shardctl.errors import LockedError, StorageError, TargetExistsError
from shardctl.model import Extent
from shardctl.stores.remote.s3.store import S3Store
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.suites.fixtures import read
from tests.support.s3_server import needs_cloud

pytestmark = needs_cloud


def at(bucket: S3Store, name: str) -> str:
    """The path of an object."""
    return bucket.join(bucket.base, name)


def test_what_it_changes_is_seen_at_once(bucket: S3Store) -> None:
    """A name that was looked at before is looked at again."""
    a, b = at(bucket, "a"), at(bucket, "b")
    assert bucket.kind(a) is bucket.kind(b) is None
    bucket.put(a, b"one")
    assert read(bucket, a) == b"one"
    assert bucket.put_new(b, b"two")
    assert read(bucket, b) == b"two"
    assert not bucket.put_new(b, b"three")
    bucket.rename(a, b)
    assert (bucket.kind(a), read(bucket, b)) == (None, b"one")
    assert bucket.remove_version(b, bucket.version(b))
    assert bucket.kind(b) is None


def test_names_that_are_taken(bucket: S3Store) -> None:
    """An object is not created over another one, nor a directory made of it or removed as one."""
    path = at(bucket, "d/a")
    bucket.put(path, b"data")
    with pytest.raises(TargetExistsError):
        bucket.create(path, 1)
    with pytest.raises(TargetExistsError):
        bucket.make_directory(path)
    with pytest.raises(StorageError, match="is a directory"):
        bucket.remove(at(bucket, "d"))
    bucket.make_directory(at(bucket, "d"))
    bucket.remove(at(bucket, "none"))
    assert read(bucket, path) == b"data"


def test_a_rename_of_nothing(bucket: S3Store) -> None:
    """The other object stays; and one that is renamed to itself does too."""
    path = at(bucket, "a")
    bucket.put(path, b"data")
    with pytest.raises(StorageError, match="which does not exist"):
        bucket.rename(at(bucket, "none"), path)
    bucket.rename(path, path)
    bucket.rename(path, f"{path}/")
    assert read(bucket, path) == b"data"


def test_traffic_is_counted_each_way(bucket: S3Store) -> None:
    """What is sent, what is received, and what the server copied."""
    before = bucket.traffic()
    path, copy = at(bucket, "a"), at(bucket, "copy")
    bucket.put(path, b"0123456789")
    assert read(bucket, path) == b"0123456789"
    upload = bucket.begin_upload(copy)
    part = bucket.copy_part(upload, 1, Extent(path, 0, 7), bucket.version(path))
    assert part is not None
    bucket.complete_upload(upload, [part], None)
    after = bucket.traffic()
    assert after.requests > before.requests + 4
    assert after.nbytes - before.nbytes >= 10
    assert after.copied - before.copied == 7
    other = bucket.begin_upload(at(bucket, "sent"))
    bucket.send_part(other, 1, b"abc")
    assert bucket.traffic().sent - after.sent == 3


def test_the_server_copies_between_buckets_only(bucket: S3Store, other: S3Store) -> None:
    """Whatever else has uploads is out of its reach."""
    assert bucket.can_copy_from(other)
    assert bucket.can_copy_from(bucket)
    assert not bucket.can_copy_from(MemoryBucket())


def test_a_lock_is_seen_by_others(bucket: S3Store, other: S3Store) -> None:
    """While it is held, and afterwards it is gone."""
    path = at(bucket, "lock")
    assert bucket.kind(path) is other.kind(path) is None
    with bucket.lock(path):
        assert bucket.kind(path) == "file"
        with pytest.raises(LockedError), other.lock(path):
            pass
    other.forget()
    assert bucket.kind(path) is other.kind(path) is None
