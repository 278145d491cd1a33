"""The store in memory is strict where a real one is, so that tests with it find real faults."""

from __future__ import annotations

import pickle

import pytest

from shardctl.errors import (
    InputError,
    LockedError,
    MissingError,
    SourceChangedError,
    StorageError,
    TargetExistsError,
)
from shardctl.model import Extent
from shardctl.stores.base import Copied, Entry
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import get, put


@pytest.fixture
def store() -> MemoryStore:
    """A store with the file `d/a`."""
    store = MemoryStore()
    put(store, "d/a", b"abc")
    return store


# paths


@pytest.mark.parametrize("path", ["d/a", "./d/a", "d//a", "d/./a", "d/x/../a"])
def test_spellings_of_a_path_are_one_file(store: MemoryStore, path: str) -> None:
    """Each reads and replaces the same one."""
    assert store.kind(path) == "file"
    assert get(store, path) == b"abc"
    assert store.same(path, "d/a")
    put(store, path, b"new")
    assert get(store, "d/a") == b"new"


@pytest.mark.parametrize("path", ["d/b", "/d/a", "../d/a", "d/a/b", "D/a"])
def test_other_paths_are_others(store: MemoryStore, path: str) -> None:
    """Nothing is there, and no two paths are the same where nothing is."""
    assert store.kind(path) is None
    assert not store.same(path, "d/a")
    assert not store.same(path, path)
    for look in (store.open, store.version):
        with pytest.raises(MissingError) as caught:
            look(path)
        assert caught.value.file == path


@pytest.mark.parametrize("path", ["", "/", ".", "./"])
def test_the_top_always_exists(path: str) -> None:
    """The current directory and the root are there in a new store, and are empty."""
    store = MemoryStore()
    assert store.kind(path) == "directory"
    assert store.list(path) == []


def test_a_path_is_split_at_its_last_name(store: MemoryStore) -> None:
    """A slash at the end does not count."""
    assert store.split("a/b/c") == ("a/b", "c")
    assert store.split("a/b/") == ("a", "b")
    assert store.split("c") == ("", "c")
    assert store.join("a", "b", "c") == "a/b/c"
    assert store.join("", "c") == "c"


# what is there


def test_a_listing_has_kinds_and_sizes(store: MemoryStore) -> None:
    """Sorted by name, with the files and directories in it and none further down."""
    put(store, "d/sub/deep/x", b"1")
    put(store, "d/B", b"")
    assert store.list("d") == [
        Entry("B", "file", None, 0),
        Entry("a", "file", None, 3),
        Entry("sub", "directory", None, 0),
    ]
    assert store.list("d/") == store.list("./d")
    assert [entry.name for entry in store.list("")] == ["d"]


def test_only_a_directory_is_listed(store: MemoryStore) -> None:
    """A file, and what does not exist, are different errors."""
    with pytest.raises(InputError, match="not a directory"):
        store.list("d/a")
    with pytest.raises(MissingError):
        store.list("none")


@pytest.mark.parametrize("path", ["d", ""])
def test_a_directory_is_not_read(store: MemoryStore, path: str) -> None:
    """The error has the code of what is not a regular file."""
    for look in (store.open, store.version):
        with pytest.raises(InputError) as caught:
            look(path)
        assert caught.value.code == "file-not-regular"


# versions


def test_every_write_gives_another_version(store: MemoryStore) -> None:
    """Also one of the same bytes; looking does not."""
    seen = {store.version("d/a"), store.version("d/a")}
    assert len(seen) == 1
    put(store, "d/a", b"abc")
    seen.add(store.version("d/a"))
    store.append("d/a", b"")
    seen.add(store.version("d/a"))
    assert len(seen) == 3


def test_two_stores_have_no_versions_in_common(store: MemoryStore) -> None:
    """A file is never taken for that of another store."""
    other = MemoryStore()
    put(other, "d/a", b"abc")
    assert other.version("d/a") != store.version("d/a")


def test_a_renamed_file_keeps_its_version(store: MemoryStore) -> None:
    """As a file of a disk keeps its times."""
    version = store.version("d/a")
    store.rename("d/a", "d/b")
    assert store.version("d/b") == version
    store.rename("d/b", "./d/b")
    assert store.version("d/b") == version


# reading


def test_an_open_file_stays_the_one_that_was_opened(store: MemoryStore) -> None:
    """One that takes its name is not seen; what is written into it is."""
    with store.open("d/a") as reader:
        put(store, "d/b", b"other")
        store.rename("d/b", "d/a")
        assert reader.read(0, 3) == b"abc"
        assert reader.current() == reader.version
    with store.open("d/a") as reader:
        store.append("d/a", b"!")
        assert reader.current() != reader.version
        assert reader.read(0, 6) == b"other!"


@pytest.mark.parametrize(("offset", "length"), [(0, 4), (3, 1), (1, 3), (9, 1)])
def test_nothing_is_read_past_the_end(store: MemoryStore, offset: int, length: int) -> None:
    """A file that is shorter than was thought has changed."""
    with store.open("d/a") as reader:
        assert reader.read(3, 0) == b""
        with pytest.raises(SourceChangedError) as caught:
            reader.read(offset, length)
    assert caught.value.file == "d/a"


# writing


def test_a_new_file_has_zeros_until_it_is_written(store: MemoryStore) -> None:
    """It is there from the beginning, with its size."""
    with store.create("d/new", 4) as writer:
        assert get(store, "d/new") == bytes(4)
        writer.write(1, b"x")
        assert get(store, "d/new") == b"\0x\0\0"
        with store.open("d/a") as source:
            assert writer.copy(2, source, Extent("d/a", 1, 2)) == Copied(buffered=2)
    assert get(store, "d/new") == b"\0xbc"


def test_a_file_needs_its_directory(store: MemoryStore) -> None:
    """Neither writing, appending, renaming nor locking makes one."""
    for write in (
        lambda path: store.create(path, 1),
        lambda path: store.append(path, b"x"),
        lambda path: store.rename("d/a", path),
        lambda path: store.lock(path).__enter__(),
    ):
        with pytest.raises(StorageError, match="has no directory"):
            write("none/x")
    assert get(store, "d/a") == b"abc"
    with pytest.raises(StorageError, match="has no directory"):
        store.create("d/a/x", 1)


@pytest.mark.parametrize("path", ["d/a", "d", "./d//a"])
def test_a_name_that_is_taken_is_not_created(store: MemoryStore, path: str) -> None:
    """The file stays as it is."""
    with pytest.raises(TargetExistsError) as caught:
        store.create(path, 0)
    assert caught.value.file == path
    assert get(store, "d/a") == b"abc"


def test_directories_are_made_with_their_parents(store: MemoryStore) -> None:
    """A file is in the way; they can be removed once they are empty."""
    store.make_directory("x/y/z")
    assert store.kind("x/y") == store.kind("x") == "directory"
    with pytest.raises(TargetExistsError):
        store.make_directory("d/a")
    with pytest.raises(StorageError, match="is not empty"):
        store.remove_directory("x")
    for path in ("x/y/z", "x/y", "x", "x"):
        store.remove_directory(path)
    assert store.kind("x") is None
    with pytest.raises(StorageError, match="is not empty"):
        store.remove_directory("d")


def test_a_directory_is_not_removed_as_a_file(store: MemoryStore) -> None:
    """And a file not as a directory."""
    with pytest.raises(StorageError, match="is a directory"):
        store.remove("d")
    store.remove_directory("d/a")
    assert store.kind("d/a") == "file"
    store.remove("none")


def test_only_a_directory_is_synced(store: MemoryStore) -> None:
    """A name that is wrong is noticed."""
    store.sync_directory("d")
    for path in ("d/a", "none"):
        with pytest.raises(StorageError):
            store.sync_directory(path)


def test_a_rename_of_nothing_changes_nothing(store: MemoryStore) -> None:
    """The file of the new name stays."""
    with pytest.raises(StorageError, match="which does not exist"):
        store.rename("none", "d/a")
    assert get(store, "d/a") == b"abc"


# locks


def test_a_lock_is_a_file_while_it_is_held(store: MemoryStore) -> None:
    """Another holder is refused, by any spelling; afterwards the file is gone."""
    with store.lock("d/lock"):
        assert store.kind("d/lock") == "file"
        with pytest.raises(LockedError) as caught, store.lock("./d/lock"):
            pass
        assert caught.value.file == "./d/lock"
        with store.lock("d/other"):
            pass
    assert store.kind("d/lock") is None


def test_a_lock_is_released_after_an_error(store: MemoryStore) -> None:
    """And a file that a process left does not hold."""
    with pytest.raises(KeyError), store.lock("d/lock"):
        raise KeyError
    put(store, "d/lock", b"left")
    with store.lock("d/lock"):
        pass


def test_each_store_is_a_place_of_its_files(store: MemoryStore) -> None:
    """Two are never equal, and one cannot be sent to another process, where it would be another."""
    assert store != MemoryStore()
    with pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(store)
