"""Objects of a bucket in memory: they never change, and appear when they are whole."""

from __future__ import annotations

from contextlib import suppress

import pytest

from shardctl.errors import SourceChangedError
from shardctl.model import Extent
from shardctl.stores.base import Copied
from shardctl.testing.builders import BytesReader
from shardctl.testing.place import BucketReader, BucketWriter, Place, StoredObject, key_of


def writer(place: Place, nbytes: int = 3, path: str = "d/a") -> tuple[BucketWriter, list[str]]:
    """A writer, and what is noted when its object appears."""
    appeared: list[str] = []
    return BucketWriter(place, path, nbytes, lambda: appeared.append(path)), appeared


def test_objects_of_the_same_bytes_are_different_versions() -> None:
    """One that was written again has another mark, and the same size."""
    one, other = StoredObject(b"abc"), StoredObject(b"abc")
    assert one.version.size == other.version.size == 3
    assert one.version != other.version
    assert one.version == one.version


def test_an_object_appears_when_it_is_closed() -> None:
    """Until then there is none of that name, and an older one stays."""
    place = Place()
    place.objects["d/a"] = StoredObject(b"old")
    target, appeared = writer(place)
    target.write(1, b"x")
    assert place.objects["d/a"].data == b"old"
    target.close()
    assert place.objects["d/a"].data == b"\0x\0"
    assert appeared == ["d/a"]


def test_what_is_closed_is_not_written_again() -> None:
    """A second close changes nothing, and neither does what is written late."""
    place = Place()
    target, appeared = writer(place)
    target.close()
    version = place.objects["d/a"].version
    target.write(0, b"late")
    target.close()
    assert place.objects["d/a"].version == version
    assert appeared == ["d/a"]


def test_after_an_error_nothing_appears() -> None:
    """What was written until then is dropped."""
    place = Place()
    target, appeared = writer(place)
    with suppress(KeyError), target:
        target.write(0, b"abc")
        raise KeyError
    assert (place.objects, appeared) == ({}, [])
    target, appeared = writer(place)
    with target:
        target.sync()
    assert list(place.objects) == ["d/a"]


def test_parts_come_in_any_order() -> None:
    """Written, or copied from any reader."""
    place = Place()
    target, _ = writer(place, 6)
    with target:
        target.write(4, bytearray(b"ef"))
        source = BytesReader("s", b"0abcd")
        assert target.copy(0, source, Extent("s", 1, 4)) == Copied(buffered=4)
        target.write(1, memoryview(b"B"))
    assert place.objects["d/a"].data == b"aBcdef"


def test_an_open_object_never_changes() -> None:
    """Its version is the one that it was opened with, and no byte is read past its end."""
    found = StoredObject(b"abc")
    with BucketReader("d/a", found) as reader:
        assert reader.current() == reader.version == found.version
        assert (reader.read(1, 2), reader.read(3, 0)) == (b"bc", b"")
        with pytest.raises(SourceChangedError) as caught:
            reader.read(1, 3)
    assert (caught.value.file, caught.value.offset) == ("d/a", 3)


def test_paths_begin_with_a_slash_or_not() -> None:
    """One at the end does not count either; within a path all characters do."""
    assert {key_of(path) for path in ("a/b", "/a/b", "a/b/", "/a/b/")} == {"a/b"}
    assert key_of("/") == key_of("") == ""
    assert key_of("a//b") != key_of("a/b")
