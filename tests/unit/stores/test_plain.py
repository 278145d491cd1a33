"""Directories of a store that cannot open them keep the same promises, as far as the core goes."""

from __future__ import annotations

import pytest

from shardctl.errors import InputError, StorageError, TargetExistsError
from shardctl.model import Version
from shardctl.stores.plain import PlainDirectory
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import get, put


@pytest.fixture
def store() -> MemoryStore:
    """A directory `d` with a file and a directory in it."""
    store = MemoryStore()
    put(store, "d/a", b"abc")
    put(store, "d/sub/b", b"")
    return store


def test_what_a_name_is(store: MemoryStore) -> None:
    """A file is known by size and version, so that another of the same size is another one."""
    with PlainDirectory(store, "d") as directory:
        seen = directory.identity("a")
        assert seen is not None
        assert (seen.kind, seen.size) == ("file", 3)
        assert seen == directory.identity("a")
        put(store, "d/a", b"xyz")
        assert seen != directory.identity("a")
        inner = directory.identity("sub")
        assert inner is not None
        assert inner.kind == "directory"
        assert directory.identity("none") is None
        assert directory.names() == ["a", "sub"]
        assert directory.own_identity().kind == "directory"
        assert directory.is_ours()
        assert not directory.keeps_inodes()


def test_a_file_that_vanishes_is_none() -> None:
    """Removed between two looks, it is free, and no error."""

    class Vanishing(MemoryStore):
        def version(self, path: str) -> Version:
            raise InputError("gone", hint="", file=path)

    store = Vanishing()
    put(store, "d/a", b"")
    assert PlainDirectory(store, "d").identity("a") is None


def test_directories_in_it(store: MemoryStore) -> None:
    """One is opened, or made; a file of that name is refused."""
    directory = PlainDirectory(store, "d")
    assert directory.subdirectory("none") is None
    inner = directory.subdirectory("sub")
    assert inner is not None
    assert inner.path == "d/sub"
    with pytest.raises(TargetExistsError, match="'d/a' is not a directory") as caught:
        directory.subdirectory("a")
    assert caught.value.file == "d/a"
    assert directory.make_subdirectory("new").path == "d/new"
    assert store.kind("d/new") == "directory"
    assert directory.make_subdirectory("new").names() == []


def test_nothing_is_moved_over_another(store: MemoryStore) -> None:
    """A name that is taken, by a file or a directory, is refused, and both stay."""
    directory = PlainDirectory(store, "d")
    inner = PlainDirectory(store, "d/sub")
    with pytest.raises(TargetExistsError, match="already exists"):
        directory.move("a", inner, "b")
    with pytest.raises(TargetExistsError):
        inner.move("b", directory, "sub")
    assert get(store, "d/a") == b"abc"
    directory.move("a", inner, "c")
    assert get(store, "d/sub/c") == b"abc"
    assert store.kind("d/a") is None


def test_removing(store: MemoryStore) -> None:
    """A file that is gone is fine; a directory with a file in it stays."""
    directory = PlainDirectory(store, "d")
    directory.remove("a")
    directory.remove("a")
    with pytest.raises(StorageError):
        directory.remove_subdirectory("sub")
    store.remove("d/sub/b")
    directory.remove_subdirectory("sub")
    assert store.kind("d/sub") is None


def test_a_store_without_directories() -> None:
    """What it cannot do is not asked of it."""
    directory = PlainDirectory(MemoryBucket(), "d")
    directory.sync()
    directory.remove_subdirectory("sub")
