"""Uploads to a bucket: what another program did meanwhile is noticed, and never taken for ours."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import pytest

from shardctl.errors import (
    MissingError,
    SourceChangedError,
    StorageError,
    TargetExistsError,
)
from shardctl.model import Extent
from shardctl.stores.remote.s3 import uploads
from shardctl.stores.remote.s3.service import UnmetError
from shardctl.stores.remote.s3.store import S3Store
from shardctl.stores.remote.s3.uploads import S3Uploads
from shardctl.stores.uploads import SentPart, Upload
from shardctl.testing.suites.fixtures import read
from tests.support.s3_server import needs_cloud

pytestmark = needs_cloud


@pytest.fixture
def asked(bucket: S3Store) -> S3Uploads:
    """The uploads of an empty bucket."""
    return bucket._uploads


def path_of(asked: S3Uploads, name: str) -> str:
    """The path of an object."""
    return f"{asked.base}/{name}"


def sent(asked: S3Uploads, name: str, data: bytes = b"data") -> tuple[Upload, list[SentPart]]:
    """An upload of one part that is not completed."""
    upload = asked.begin(path_of(asked, name))
    return upload, [asked.send(upload, 1, data)]


def content(bucket: S3Store, name: str) -> bytes:
    """The bytes of an object now."""
    bucket.forget()
    return read(bucket, f"{bucket.base}/{name}")


def test_an_upload_is_known_by_its_token(bucket: S3Store, asked: S3Uploads) -> None:
    """A completed one can be completed again; one of another program has its place no more."""
    upload, parts = sent(asked, "a")
    version = asked.complete(upload, parts, None)
    assert asked.complete(upload, parts, None) == version
    other, others = sent(asked, "a", b"other")
    with pytest.raises(TargetExistsError) as caught:
        asked.complete(other, others, None)
    assert (caught.value.code, caught.value.file) == ("target-changed", path_of(asked, "a"))
    assert asked.complete(other, others, version) != version
    with pytest.raises(TargetExistsError):
        asked.complete(upload, parts, None)
    assert content(bucket, "a") == b"other"
    assert len({upload.token, other.token, ""}) == 3


def test_an_object_that_is_gone_is_not_replaced(asked: S3Uploads) -> None:
    """The version that was to be replaced must be there."""
    version = asked.put(path_of(asked, "a"), b"old")
    upload, parts = sent(asked, "a")
    asked.remove(path_of(asked, "a"))
    with pytest.raises(TargetExistsError):
        asked.complete(upload, parts, version)
    assert asked.parts(upload) == tuple(parts)


def test_parts_that_are_others_are_not_completed(asked: S3Uploads) -> None:
    """One that was sent again, one too many, and one too few."""
    upload, parts = sent(asked, "a")
    again = asked.send(upload, 1, b"other")
    for wrong in ([], parts, [again, replace(again, number=2)]):
        with pytest.raises(StorageError, match="has other parts") as caught:
            asked.complete(upload, wrong, None)
        assert caught.value.code == "half-done"
    assert asked.complete(upload, [again], None).size == 5


def test_an_upload_that_was_aborted_is_gone(asked: S3Uploads) -> None:
    """Whatever is asked of it; aborting it again is fine."""
    upload, parts = sent(asked, "a")
    for _ in range(2):
        asked.abort(upload)
    with pytest.raises(MissingError, match="is gone"):
        asked.parts(upload)
    with pytest.raises(StorageError, match="is gone") as caught:
        asked.complete(upload, parts, None)
    assert caught.value.code == "half-done"


def test_uploads_of_a_directory(asked: S3Uploads) -> None:
    """In it and below, and not of one whose name begins so; without their tokens."""
    paths = [path_of(asked, name) for name in ("d/a", "d/e/b", "dd/c")]
    begun = [asked.begin(path) for path in paths]
    found = asked.all(path_of(asked, "d"))
    assert {each.path for each in found} == set(paths[:2])
    assert {each.token for each in found} == {""}
    assert {each.id for each in asked.all(asked.base)} == {each.id for each in begun}
    for each in found:
        asked.abort(each)
    assert [each.path for each in asked.all(asked.base)] == paths[2:]


def test_conditions_of_a_small_object(asked: S3Uploads) -> None:
    """Over any, over the version that was seen, or under a free name."""
    path = path_of(asked, "a")
    first = asked.put(path, b"one", None)
    with pytest.raises(UnmetError):
        asked.put(path, b"two", None)
    second = asked.put(path, b"two", first)
    with pytest.raises(UnmetError):
        asked.put(path, b"three", first)
    assert asked.put(path, b"four").size == 4
    assert second.size == 3
    assert second != first


def test_only_the_version_that_was_seen_is_removed(bucket: S3Store, asked: S3Uploads) -> None:
    """Another object stays; one that is gone is fine."""
    path = path_of(asked, "a")
    first = asked.put(path, b"one")
    asked.put(path, b"two")
    assert not asked.remove_version(path, first)
    assert content(bucket, "a") == b"two"
    assert asked.remove_version(path, asked.put(path, b"three"))
    assert asked.remove_version(path, first)
    asked.remove(path)


@pytest.mark.parametrize("name", ["a b", "ü/漢", "x+y&z=1", "q?#%41"])
def test_names_of_any_characters(bucket: S3Store, asked: S3Uploads, name: str) -> None:
    """They are those of the object, also where it is copied."""
    asked.put(path_of(asked, name), b"data")
    version = bucket.version(path_of(asked, name))
    upload = asked.begin(path_of(asked, "copy"))
    part = asked.copy(upload, 1, Extent(path_of(asked, name), 1, 2), version)
    assert part is not None
    asked.complete(upload, [part], None)
    assert content(bucket, "copy") == b"at"
    asked.copy_object(path_of(asked, name), path_of(asked, "whole"), version)
    assert content(bucket, "whole") == b"data"


def test_a_range_of_an_object_that_is_gone_is_not_copied(bucket: S3Store, asked: S3Uploads) -> None:
    """The source has changed, and its path is named."""
    path = path_of(asked, "a")
    asked.put(path, b"data")
    version = bucket.version(path)
    upload = asked.begin(path_of(asked, "copy"))
    asked.remove(path)
    with pytest.raises(SourceChangedError, match="is gone") as caught:
        asked.copy(upload, 1, Extent(path, 0, 2), version)
    assert caught.value.file == path
    assert asked.parts(upload) == ()


def test_a_large_object_is_copied_in_parts(
    bucket: S3Store, asked: S3Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is at the other name is replaced, and no upload is left."""
    mib = 1024 * 1024
    data = bytes(range(256)) * 4 * 1024 * 11  # of 11 MiB, which takes three parts of 5
    old, new = path_of(asked, "old"), path_of(asked, "new")
    asked.put(old, data)
    asked.put(new, b"there")
    monkeypatch.setattr(uploads, "_MOST_COPIED", 5 * mib)
    asked.copy_object(old, new, bucket.version(old))
    assert content(bucket, "new") == data
    assert asked.all(asked.base) == []


def test_marks_are_quoted_once(asked: S3Uploads) -> None:
    """However the server gives them: a part is compared with what a listing says of it."""
    upload, (part,) = sent(asked, "a")
    assert part.mark.startswith('"')
    assert part.mark.count('"') == 2
    assert asked.parts(upload) == (part,)
    assert uploads._quoted("x") == uploads._quoted('"x"') == '"x"'


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_part_of_any_kind_of_bytes(
    bucket: S3Store, asked: S3Uploads, kind: Callable[[bytes], bytes | bytearray | memoryview]
) -> None:
    """Each is sent as it is, and what was sent stays the caller's."""
    data = kind(b"part" * 1000)
    upload = asked.begin(path_of(asked, "a"))
    part = asked.send(upload, 1, data)
    assert bytes(data) == b"part" * 1000
    asked.complete(upload, [part], None)
    assert content(bucket, "a") == b"part" * 1000


def test_a_part_is_not_copied_to_be_sent(asked: S3Uploads) -> None:
    """Of several large parts that are sent at once, memory holds each of them once."""
    upload, data = asked.begin(path_of(asked, "a")), bytearray(32 * 1024**2)
    asked.send(upload, 1, bytearray(10))  # what the first request loads does not count
    tracemalloc.start()
    try:
        asked.send(upload, 1, data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < len(data) // 2
