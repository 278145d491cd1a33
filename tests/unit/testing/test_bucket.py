"""The bucket in memory is strict where a real one is, and as forgetful."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardctl.errors import (
    InputError,
    LockedError,
    MissingError,
    SourceChangedError,
    StorageError,
    TargetExistsError,
)
from shardctl.model import Extent, Version
from shardctl.stores.base import Entry
from shardctl.stores.uploads import PartLimits, SentPart, Upload
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryStore
from shardctl.testing.place import Place
from tests.support.memory_checkpoints import get

#: Parts of two to four bytes, of which there are three at most.
LIMITS = PartLimits(2, 4, 3)


@pytest.fixture
def place() -> Place:
    """A bucket with the object `d/a`."""
    place = Place()
    MemoryBucket(place).put("d/a", b"abc")
    return place


@pytest.fixture
def bucket(place: Place) -> MemoryBucket:
    """That bucket, opened."""
    return MemoryBucket(place, LIMITS)


def uploaded(bucket: MemoryBucket, path: str, *parts: bytes) -> tuple[Upload, list[SentPart]]:
    """An upload whose parts are sent, and not yet completed."""
    upload = bucket.begin_upload(path)
    return upload, [bucket.send_part(upload, number, data) for number, data in enumerate(parts, 1)]


# what is there


def test_directories_are_those_that_objects_lie_in(bucket: MemoryBucket) -> None:
    """They come and go with them; the top is always one."""
    assert [bucket.kind(path) for path in ("d/a", "/d/a/", "d", "", "/")] == [
        "file", "file", "directory", "directory", "directory",
    ]  # fmt: skip
    assert [bucket.kind(path) for path in ("d/", "d/b", "dd", "a", "d/a/x")] == [
        "directory", None, None, None, None,
    ]  # fmt: skip
    bucket.make_directory("new")
    assert bucket.kind("new") is None
    bucket.remove("d/a")
    assert bucket.kind("d") is None
    assert bucket.kind("") == "directory"


def test_a_listing_has_kinds_and_sizes(bucket: MemoryBucket) -> None:
    """Sorted by name, and a directory once however many objects are in it."""
    for path in ("d/sub/x", "d/sub/y", "d/B", "dd/z", "top"):
        bucket.put(path, b"12")
    assert bucket.list("d") == bucket.list("/d/") == [
        Entry("B", "file", None, 2),
        Entry("a", "file", None, 3),
        Entry("sub", "directory", None, 0),
    ]  # fmt: skip
    assert [entry.name for entry in bucket.list("")] == ["d", "dd", "top"]
    with pytest.raises(InputError, match="not a directory"):
        bucket.list("d/a")
    with pytest.raises(MissingError):
        bucket.list("none")


def test_what_is_not_an_object_is_not_read(bucket: MemoryBucket) -> None:
    """A directory and a missing object are different errors."""
    for look in (bucket.open, bucket.version):
        with pytest.raises(InputError) as caught:
            look("d")
        assert caught.value.code == "file-not-regular"
        with pytest.raises(MissingError):
            look("d/b")


def test_two_of_one_place_are_equal(place: Place, bucket: MemoryBucket) -> None:
    """They have the same objects, and the server copies between them."""
    other = MemoryBucket(place)
    assert bucket == other
    assert len({bucket, other}) == 1
    assert bucket.can_copy_from(other)
    for another in (MemoryBucket(), MemoryStore(), None):
        assert bucket != another
    assert not bucket.can_copy_from(MemoryBucket())
    assert bucket.same("d/a", "/d/a/")
    assert not bucket.same("none", "none")


# what is remembered


def test_what_was_looked_at_is_remembered(place: Place, bucket: MemoryBucket) -> None:
    """What others change is seen after `forget`, and the version of an object at once."""
    assert bucket.kind("d/b") is None
    other = MemoryBucket(place)
    other.put("d/b", b"new")
    other.put("d/a", b"changed")
    assert bucket.kind("d/b") is None
    assert get(bucket, "d/a") == b"abc"
    assert bucket.version("d/a") == other.version("d/a")
    bucket.forget()
    assert (get(bucket, "d/b"), get(bucket, "d/a")) == (b"new", b"changed")


@pytest.mark.parametrize(
    "change", ["put", "put_new", "remove", "rename", "create", "remove_version"]
)
def test_what_it_changes_is_seen_at_once(bucket: MemoryBucket, change: str) -> None:
    """Each change looks at the bucket afresh."""
    assert bucket.kind("d/b") is None
    match change:
        case "put":
            bucket.put("d/b", b"x")
        case "put_new":
            assert bucket.put_new("d/b", b"x")
        case "rename":
            bucket.rename("d/a", "d/b")
        case "create":
            with bucket.create("d/b", 1) as writer:
                writer.write(0, b"x")
        case "remove":
            bucket.remove("d/a")
        case _:
            assert bucket.remove_version("d/a", bucket.version("d/a"))
    there = {name for name in "ab" if bucket.kind(f"d/{name}") is not None}
    expected = {
        "put": {"a", "b"}, "put_new": {"a", "b"}, "create": {"a", "b"}, "rename": {"b"},
        "remove": set(), "remove_version": set(),
    }  # fmt: skip
    assert there == expected[change]


# changes


def test_names_that_are_taken(bucket: MemoryBucket) -> None:
    """An object is not created over another one, nor over a directory, nor as one."""
    for path in ("d/a", "d"):
        with pytest.raises(TargetExistsError):
            bucket.create(path, 1)
    with pytest.raises(TargetExistsError):
        bucket.make_directory("d/a")
    with pytest.raises(StorageError, match="is a directory"):
        bucket.remove("d")
    bucket.remove("none")
    assert not bucket.put_new("d/a", b"new")
    assert get(bucket, "d/a") == b"abc"


def test_a_rename_keeps_the_version(bucket: MemoryBucket) -> None:
    """Nothing is renamed to nothing, and a name to itself stays."""
    version = bucket.version("d/a")
    bucket.rename("d/a", "/d/a")
    bucket.rename("d/a", "e/b")
    assert (bucket.version("e/b"), bucket.kind("d/a")) == (version, None)
    with pytest.raises(StorageError, match="which does not exist"):
        bucket.rename("d/a", "e/b")
    assert bucket.version("e/b") == version


def test_only_the_version_that_was_seen_is_removed(bucket: MemoryBucket) -> None:
    """Another object of that name stays, which is said; one that is gone is fine."""
    version = bucket.version("d/a")
    bucket.put("d/a", b"abc")
    assert not bucket.remove_version("d/a", version)
    assert bucket.kind("d/a") == "file"
    assert bucket.remove_version("d/a", bucket.version("d/a"))
    assert bucket.remove_version("d/a", version)


def test_a_lock_is_an_object(place: Place, bucket: MemoryBucket) -> None:
    """It holds as long as the object is there, whoever put it there."""
    with bucket.lock("d/lock"):
        assert "d/lock" in place.objects
        with pytest.raises(LockedError), MemoryBucket(place).lock("/d/lock"):
            pass
    assert "d/lock" not in place.objects
    bucket.put("d/lock", b"left")
    with pytest.raises(LockedError), bucket.lock("d/lock"):
        pass
    assert "d/lock" in place.objects


# uploads


def test_an_upload_appears_when_it_is_completed(place: Place, bucket: MemoryBucket) -> None:
    """Its parts are in the order of their numbers, and nothing else is left of it."""
    upload = bucket.begin_upload("d/new")
    last = bucket.send_part(upload, 2, b"c")
    bucket.send_part(upload, 1, b"xx")
    first = bucket.send_part(upload, 1, b"ab")
    assert bucket.sent_parts(upload) == (first, last)
    assert bucket.kind("d/new") is None
    version = bucket.complete_upload(upload, [first, last], None)
    assert get(bucket, "d/new") == b"abc"
    assert version == bucket.version("d/new")
    assert place.uploads == {}


def test_a_completed_upload_can_be_completed_again(bucket: MemoryBucket) -> None:
    """The answer to the first request may have been lost; another object is not its result."""
    upload, parts = uploaded(bucket, "d/new", b"ab")
    version = bucket.complete_upload(upload, parts, None)
    assert bucket.complete_upload(upload, parts, None) == version
    bucket.put("d/new", b"ab")
    with pytest.raises(StorageError) as caught:
        bucket.complete_upload(upload, parts, None)
    assert caught.value.code == "half-done"


def test_an_upload_replaces_only_what_it_is_to(bucket: MemoryBucket) -> None:
    """An object that appeared, changed or went meanwhile stops it."""
    version = bucket.version("d/a")
    upload, parts = uploaded(bucket, "d/a", b"new")
    for replaces in (None, replace(version, mark="other")):
        with pytest.raises(TargetExistsError) as caught:
            bucket.complete_upload(upload, parts, replaces)
        assert caught.value.code == "target-changed"
    assert get(bucket, "d/a") == b"abc"
    bucket.complete_upload(upload, parts, version)
    assert get(bucket, "d/a") == b"new"
    gone, parts = uploaded(bucket, "d/b", b"new")
    with pytest.raises(TargetExistsError):
        bucket.complete_upload(gone, parts, Version(3, "was"))
    assert bucket.kind("d/b") is None


def test_parts_keep_to_the_limits(bucket: MemoryBucket) -> None:
    """One may be as large as allowed, and only the last smaller than the least."""
    assert bucket.part_limits == LIMITS
    upload, _ = uploaded(bucket, "d/new", b"1234", b"12", b"1")
    for number, data in ((1, b"12345"), (4, b"12")):
        with pytest.raises(StorageError, match="too large, or too many"):
            bucket.send_part(upload, number, data)
    parts = bucket.sent_parts(upload)
    bucket.complete_upload(upload, parts, None)
    assert get(bucket, "d/new") == b"1234121"
    small, parts_of_small = uploaded(bucket, "d/small", b"1", b"1234")
    with pytest.raises(StorageError, match="too small"):
        bucket.complete_upload(small, parts_of_small, None)
    assert bucket.kind("d/small") is None


def test_parts_that_are_not_there_are_missed(bucket: MemoryBucket) -> None:
    """Neither one that was never sent nor one that was sent again is taken for another."""
    upload, (part,) = uploaded(bucket, "d/new", b"12")
    for wrong in (replace(part, number=2), replace(part, mark="other"), replace(part, nbytes=3)):
        with pytest.raises(StorageError, match="lacks a part"):
            bucket.complete_upload(upload, [wrong], None)
    bucket.send_part(upload, 1, b"12")
    with pytest.raises(StorageError, match="lacks a part"):
        bucket.complete_upload(upload, [part], None)


def test_an_upload_that_was_aborted_is_gone(bucket: MemoryBucket) -> None:
    """Aborting twice is fine; sending and completing are not, and there is nothing to list."""
    upload, parts = uploaded(bucket, "d/new", b"12")
    for _ in range(2):
        bucket.abort_upload(upload)
    with pytest.raises(StorageError) as caught:
        bucket.send_part(upload, 1, b"12")
    assert not isinstance(caught.value, MissingError)
    with pytest.raises(MissingError):
        bucket.sent_parts(upload)
    with pytest.raises(StorageError) as caught:
        bucket.complete_upload(upload, parts, None)
    assert caught.value.code == "half-done"


def test_uploads_are_listed_by_directory(bucket: MemoryBucket) -> None:
    """Without their tokens, so that they can be aborted and nothing else."""
    inside = bucket.begin_upload("d/new")
    deep = bucket.begin_upload("/d/sub/new")
    other = bucket.begin_upload("dd/new")
    assert bucket.uploads("d") == [replace(each, token="") for each in (inside, deep)]
    assert len(bucket.uploads("")) == 3
    bucket.abort_upload(bucket.uploads("dd")[0])
    assert bucket.uploads("dd") == []
    assert inside.token
    assert len({each.id for each in (inside, deep, other)}) == 3


def test_a_range_of_an_object_becomes_a_part(bucket: MemoryBucket) -> None:
    """It must be of the version that was read."""
    version = bucket.version("d/a")
    upload = bucket.begin_upload("d/new")
    part = bucket.copy_part(upload, 1, Extent("d/a", 1, 2), version)
    assert part is not None
    assert (part.number, part.nbytes) == (1, 2)
    bucket.complete_upload(upload, [part], None)
    assert get(bucket, "d/new") == b"bc"
    again = bucket.begin_upload("d/again")
    with pytest.raises(SourceChangedError):
        bucket.copy_part(again, 1, Extent("d/a", 0, 2), replace(version, mark="other"))
