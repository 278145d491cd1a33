"""What a store must hold for each capability that it has: one suite each, beside `StoreSuite`."""

from __future__ import annotations

from typing import ClassVar

import pytest

from shardctl.errors import LockedError, MissingError, StorageError
from shardctl.stores.base import (
    Appends,
    DropsCaches,
    FindsHoles,
    FollowsLinks,
    KeepsModes,
    KnowsFreeSpace,
    Locks,
    RemovesDirectories,
    SharesBlocks,
    Store,
    SyncsDirectories,
)
from shardctl.testing.builders import BytesReader
from shardctl.testing.suites.fixtures import DATA, StoreFixtures, put, read

#: Bytes of a file most of which is never written: many blocks of any filesystem.
_SPARSE_BYTES = 8 * 1024 * 1024


class AppendsSuite(StoreFixtures):
    """The promises of `Appends`."""

    capability: ClassVar[type] = Appends

    def test_append(self, store: Store, root: str) -> None:
        """Bytes are added at the end of a file, which is created if needed."""
        assert isinstance(store, Appends)
        path = store.join(root, "log")
        for line in (b"one\n", b"", b"two\n"):
            store.append(path, line)
        assert read(store, path) == b"one\ntwo\n"

    def test_growth_is_noticed(self, store: Store, path: str) -> None:
        """A file that grows while it is read has another version then."""
        assert isinstance(store, Appends)
        with store.open(path) as reader:
            store.append(path, b"more")
            assert reader.current() != reader.version


class LocksSuite(StoreFixtures):
    """The promises of `Locks`."""

    capability: ClassVar[type] = Locks

    def test_lock_is_held_alone(self, store: Store, root: str) -> None:
        """A lock has one holder at a time; afterwards its file is gone and others can take it."""
        assert isinstance(store, Locks)
        path = store.join(root, "lock")
        for _ in range(2):
            with store.lock(path):
                with pytest.raises(LockedError) as caught, store.lock(path):
                    pass
                assert caught.value.file == path
                assert caught.value.hint
                assert store.kind(path) == "file"
            assert store.kind(path) is None

    def test_lock_is_released_on_errors(self, store: Store, root: str) -> None:
        """An error passes through a lock, and releases it."""
        assert isinstance(store, Locks)
        path = store.join(root, "lock")
        with pytest.raises(KeyError), store.lock(path):
            raise KeyError
        with store.lock(path):
            store.remove(path)
        assert store.kind(path) is None


class SyncsDirectoriesSuite(StoreFixtures):
    """The promises of `SyncsDirectories`."""

    capability: ClassVar[type] = SyncsDirectories

    def test_sync_directory(self, store: Store, root: str) -> None:
        """A directory that exists can be synced; for one that does not, that is a failure."""
        if not isinstance(store, SyncsDirectories):
            pytest.skip("this system cannot sync directories")
        store.sync_directory(root)
        with pytest.raises(StorageError):
            store.sync_directory(store.join(root, "missing"))


class RemovesDirectoriesSuite(StoreFixtures):
    """The promises of `RemovesDirectories`."""

    capability: ClassVar[type] = RemovesDirectories

    @pytest.mark.usefixtures("path")
    def test_remove_directory(self, store: Store, root: str) -> None:
        """Directories exist once they are made, and are removed when empty, and again."""
        assert isinstance(store, RemovesDirectories)
        directory = store.join(root, "a", "b")
        for _ in range(2):
            store.make_directory(directory)
            assert store.kind(directory) == "directory"
            assert store.list(directory) == []
        for taken in (root, store.join(root, "a")):
            with pytest.raises(StorageError):
                store.remove_directory(taken)
        for _ in range(2):
            store.remove_directory(directory)
            assert store.kind(directory) is None

    def test_new_file_needs_its_directory(self, store: Store, root: str) -> None:
        """A file in a directory that does not exist is a failure to write, not a missing input."""
        path = store.join(root, "missing", "new")
        with pytest.raises(StorageError) as caught:
            store.create(path, 1)
        assert caught.value.file == path
        if isinstance(store, Appends):
            with pytest.raises(StorageError):
                store.append(path, b"x")


class SharesBlocksSuite(StoreFixtures):
    """The promises of `SharesBlocks`."""

    capability: ClassVar[type] = SharesBlocks

    def test_shared_block(self, store: Store, root: str, path: str) -> None:
        """A block is a number of bytes or None, and nothing is left; other stores share none."""
        assert isinstance(store, SharesBlocks)
        for directory in (root, store.join(root, "not", "yet")):
            with store.open(path) as reader:
                block = store.shared_block(reader, directory)
            assert block is None or block > 0
            assert store.shared_block(BytesReader(path, DATA), directory) is None
        assert [entry.name for entry in store.list(root)] == ["data"]


class KnowsFreeSpaceSuite(StoreFixtures):
    """The promises of `KnowsFreeSpace`."""

    capability: ClassVar[type] = KnowsFreeSpace

    def test_free_bytes(self, store: Store, root: str) -> None:
        """Free space is a number or unknown, also for a directory that is yet to be made."""
        assert isinstance(store, KnowsFreeSpace)
        for directory in (root, store.join(root, "not", "yet"), ""):
            free = store.free_bytes(directory)
            assert free is None or free > 0


class KeepsModesSuite(StoreFixtures):
    """The promises of `KeepsModes`."""

    capability: ClassVar[type] = KeepsModes

    def test_copy_mode(self, store: Store, root: str, path: str) -> None:
        """Permissions can be copied from a file that exists, and only from such a file."""
        assert isinstance(store, KeepsModes)
        fresh = put(store, store.join(root, "fresh"), b"")
        store.copy_mode(path, fresh)
        with pytest.raises(StorageError):
            store.copy_mode(store.join(root, "missing"), fresh)


class DropsCachesSuite(StoreFixtures):
    """The promises of `DropsCaches`."""

    capability: ClassVar[type] = DropsCaches

    def test_drop_cache(self, store: Store, root: str, path: str) -> None:
        """A file whose cache was dropped still has its bytes; a missing one is missing."""
        assert isinstance(store, DropsCaches)
        store.drop_cache(path)
        assert read(store, path) == DATA
        with pytest.raises(MissingError):
            store.drop_cache(store.join(root, "missing"))


class FindsHolesSuite(StoreFixtures):
    """The promises of `FindsHoles`."""

    capability: ClassVar[type] = FindsHoles

    def test_holes(self, store: Store, root: str, path: str) -> None:
        """Holes lie in order within the file and read as zeros; what was written is in none."""
        assert isinstance(store, FindsHoles)
        assert list(store.holes(path)) == []
        sparse = store.join(root, "sparse")
        with store.create(sparse, _SPARSE_BYTES) as writer:
            writer.write(_SPARSE_BYTES // 2, DATA)
        data = read(store, sparse)
        end = 0
        for hole in store.holes(sparse):
            assert hole.path == sparse
            assert end <= hole.offset < hole.end <= _SPARSE_BYTES
            assert not any(data[hole.offset : hole.end])
            end = hole.end
        with pytest.raises(MissingError):
            list(store.holes(store.join(root, "missing")))


class FollowsLinksSuite(StoreFixtures):
    """The promises of `FollowsLinks`."""

    capability: ClassVar[type] = FollowsLinks

    def test_followed(self, store: Store, root: str, path: str) -> None:
        """What a path leads to is the same file, and leads to itself; also where nothing exists."""
        assert isinstance(store, FollowsLinks)
        end = store.followed(path)
        assert store.same(end, path)
        assert store.followed(end) == end
        missing = store.followed(store.join(root, "missing"))
        assert store.split(missing)[1] == "missing"
        assert store.kind(missing) is None
