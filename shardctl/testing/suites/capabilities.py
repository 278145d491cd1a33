"""What a store must hold for each capability that it has: one suite each, beside `StoreSuite`."""

from __future__ import annotations

from typing import ClassVar

import pytest

from shardctl.errors import (
    LockedError,
    MissingError,
    StorageError,
    TargetExistsError,
)
from shardctl.stores.base import Store
from shardctl.stores.capabilities import (
    Appends,
    DropsCaches,
    FindsHoles,
    FollowsLinks,
    KeepsModes,
    KnowsFreeSpace,
    Leases,
    Locks,
    OpensDirectories,
    RemovesDirectories,
    SharesBlocks,
    SyncsDirectories,
)
from shardctl.testing.builders import BytesReader
from shardctl.testing.suites.fixtures import DATA, StoreFixtures, read

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


class LeasesSuite(StoreFixtures):
    """The promises of `Leases`."""

    capability: ClassVar[type] = Leases

    def test_lease_is_held_alone(self, store: Store, root: str) -> None:
        """A lease has one holder at a time; afterwards its file is gone and others can take it."""
        assert isinstance(store, Leases)
        path = store.join(root, "lease")
        for _ in range(2):
            with store.lease(path):
                with pytest.raises(LockedError) as caught, store.lease(path):
                    pass
                assert caught.value.file == path
                assert store.kind(path) == "file"
            assert store.kind(path) is None

    def test_a_lease_is_its_file(self, store: Store, root: str) -> None:
        """A file that no known process has left is held, whatever the system's locks say."""
        assert isinstance(store, Leases)
        path = store.join(root, "lease")
        with store.create(path, 0):
            pass
        with pytest.raises(LockedError), store.lease(path):
            pass
        store.remove(path)
        with store.lease(path):
            pass


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


class OpensDirectoriesSuite(StoreFixtures):
    """The promises of `OpensDirectories`."""

    capability: ClassVar[type] = OpensDirectories

    def test_a_file_keeps_its_identity_when_it_is_moved(
        self, store: Store, root: str, path: str
    ) -> None:
        """A moved file is the one that was seen; one that is written again is not."""
        assert isinstance(store, OpensDirectories)
        name = store.split(path)[1]
        with store.open_directory(root) as directory:
            seen = directory.identity(name)
            assert seen is not None
            assert (seen.kind, seen.size) == ("file", store.version(path).size)
            with directory.make_subdirectory("sub") as sub:
                directory.move(name, sub, "moved")
                assert directory.identity(name) is None
                moved = sub.identity("moved")
                assert moved is not None
                assert moved.is_moved(seen, inodes=directory.keeps_inodes())
                assert sub.names() == ["moved"]
                with store.create(store.join(root, "sub", "other"), seen.size):
                    pass
                other = sub.identity("other")
                assert other is not None
                assert not other.is_unchanged(seen, inodes=directory.keeps_inodes())

    def test_a_taken_name_is_not_replaced(self, store: Store, root: str, path: str) -> None:
        """A file is moved only to a name that is free."""
        assert isinstance(store, OpensDirectories)
        name = store.split(path)[1]
        with store.create(store.join(root, "taken"), 3) as writer:
            writer.write(0, b"own")
        with store.open_directory(root) as directory:
            with pytest.raises(TargetExistsError):
                directory.move(name, directory, "taken")
            assert directory.names() == sorted([name, "taken"])

    @pytest.mark.usefixtures("path")
    def test_directories_in_it(self, store: Store, root: str) -> None:
        """A directory in it is made once, ours, and removed when it is empty; a file is refused."""
        assert isinstance(store, OpensDirectories)
        with store.open_directory(root) as directory:
            assert directory.subdirectory("sub") is None
            for _ in range(2):
                with directory.make_subdirectory("sub") as sub:
                    assert sub.is_ours()
                    sub.sync()
            directory.remove_subdirectory("sub")
            assert directory.identity("sub") is None
            (name,) = directory.names()
            with pytest.raises(TargetExistsError):
                directory.subdirectory(name)
            for _ in range(2):
                directory.remove(name)
            assert directory.names() == []


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

    def test_mode(self, store: Store, root: str, path: str) -> None:
        """A file that exists has permissions, which can be read and set; a missing one has none."""
        assert isinstance(store, KeepsModes)
        store.set_mode(path, 0o600)
        assert store.mode(path) == 0o600
        with pytest.raises(MissingError):
            store.mode(store.join(root, "missing"))


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
