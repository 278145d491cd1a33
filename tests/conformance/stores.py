"""What every store must keep: subclass `StoreSuite` and override `store` and `root`."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from shardctl.errors import (
    InputError,
    LockedError,
    MissingError,
    ShardctlError,
    SourceChangedError,
    StorageError,
    TargetExistsError,
)
from shardctl.model import Extent
from shardctl.stores.base import Copied, Entry, Store
from tests.support import BytesReader

DATA = bytes(range(256)) * 40


class StoreSuite:
    """The promises of `stores.base`, one test each. Every path that is used lies below `root`."""

    @pytest.fixture
    def store(self) -> Store:
        """The store under test."""
        raise NotImplementedError

    @pytest.fixture
    def root(self) -> str:
        """A folder that exists and is empty."""
        raise NotImplementedError

    @pytest.fixture
    def path(self, store: Store, root: str) -> str:
        """A file that holds DATA."""
        return put(store, store.join(root, "data"), DATA)

    # Reading

    @pytest.mark.parametrize(
        ("offset", "length"), [(0, len(DATA)), (0, 1), (300, 700), (len(DATA) - 1, 1)]
    )
    def test_read_gives_exactly_the_range(
        self, store: Store, path: str, offset: int, length: int
    ) -> None:
        """A read gives the bytes of its range, as `bytes`."""
        with store.open(path) as reader:
            data = reader.read(offset, length)
        assert type(data) is bytes
        assert data == DATA[offset : offset + length]

    def test_read_of_nothing(self, store: Store, path: str) -> None:
        """No bytes can be read anywhere up to the end."""
        with store.open(path) as reader:
            assert reader.read(0, 0) == reader.read(len(DATA), 0) == b""

    @pytest.mark.parametrize("offset", [0, len(DATA) - 1, len(DATA), len(DATA) + 10])
    def test_read_past_the_end(self, store: Store, path: str, offset: int) -> None:
        """A range that the file does not have is a source that has changed: named, with the offset."""
        with store.open(path) as reader, pytest.raises(SourceChangedError) as caught:
            reader.read(offset, len(DATA) + 1)
        assert caught.value.file == path
        assert caught.value.offset == max(offset, len(DATA))
        assert caught.value.hint

    def test_threads_read_at_once(self, store: Store, path: str) -> None:
        """Any number of threads may read from one reader."""
        places = [number * 37 % (len(DATA) - 100) for number in range(400)]
        with store.open(path) as reader, ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda place: reader.read(place, 100), places))
        assert found == [DATA[place : place + 100] for place in places]

    def test_reader_knows_its_path_and_version(self, store: Store, path: str) -> None:
        """A reader's path is the one it was opened by, its version the store's own."""
        with store.open(path) as reader:
            assert reader.path == path
            assert reader.version == reader.current() == store.version(path)
            assert reader.version.size == len(DATA)

    def test_reader_stays_with_its_file(self, store: Store, root: str, path: str) -> None:
        """A file that takes the name later is not the one that is read, and has another version."""
        other = put(store, store.join(root, "other"), DATA[::-1])
        with store.open(path) as reader:
            store.rename(other, path)
            assert reader.read(0, len(DATA)) == DATA
            assert store.version(path) != reader.version

    def test_change_is_noticed(self, store: Store, path: str) -> None:
        """A file that grows while it is read has another version then."""
        with store.open(path) as reader:
            store.append(path, b"more")
            assert reader.current() != reader.version

    def test_closing_twice(self, store: Store, root: str, path: str) -> None:
        """Readers and writers may be closed again."""
        for handle in (store.open(path), store.create(store.join(root, "new"), 1)):
            handle.close()
            handle.close()

    def test_missing_file(self, store: Store, root: str) -> None:
        """What is not there is a MissingError that names it, and has no kind."""
        path = store.join(root, "missing")
        for look in (store.open, store.version, store.list):
            with pytest.raises(MissingError) as caught:
                look(path)
            assert caught.value.file == path
            assert caught.value.hint
        assert store.kind(path) is None

    def test_below_a_file_there_is_nothing(self, store: Store, path: str) -> None:
        """A path that goes on after a file leads to nothing."""
        below = store.join(path, "below")
        assert store.kind(below) is None
        with pytest.raises(MissingError):
            store.open(below)

    def test_directory_is_no_file(self, store: Store, root: str) -> None:
        """A folder cannot be opened and has no version; the code says why."""
        for look in (store.open, store.version):
            with pytest.raises(InputError) as caught:
                look(root)
            assert caught.value.code == "file-not-regular"

    # Writing

    @pytest.mark.parametrize("nbytes", [0, 1, 5000])
    def test_new_file_has_its_size(self, store: Store, root: str, nbytes: int) -> None:
        """A new file has its final size as soon as it is there."""
        path = store.join(root, "new")
        with store.create(path, nbytes) as writer:
            assert writer.path == path
            writer.sync()
        assert store.version(path).size == nbytes
        assert read(store, path) == bytes(nbytes)

    def test_taken_name(self, store: Store, root: str, path: str) -> None:
        """Neither a file nor a folder is ever written over."""
        for taken in (path, root):
            with pytest.raises(TargetExistsError) as caught:
                store.create(taken, 3)
            assert caught.value.file == taken
        assert read(store, path) == DATA

    def test_new_file_needs_its_directory(self, store: Store, root: str) -> None:
        """A file in a folder that is not there is a failure to write, not a missing input."""
        path = store.join(root, "missing", "new")
        for make in (lambda: store.create(path, 1), lambda: store.append(path, b"x")):
            with pytest.raises(StorageError) as caught:
                make()
            assert caught.value.file == path

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_write_in_any_order(self, store: Store, root: str, kind: type) -> None:
        """Parts may come in any order, as bytes, bytearray or memoryview."""
        path = store.join(root, "new")
        with store.create(path, len(DATA)) as writer:
            for start in reversed(range(0, len(DATA), 999)):
                writer.write(start, kind(DATA[start : start + 999]))
            writer.write(0, kind(b""))
        assert read(store, path) == DATA

    def test_threads_write_at_once(self, store: Store, root: str, path: str) -> None:
        """Any number of threads may fill one file, by writing and by copying."""
        target = store.join(root, "new")
        with (
            store.open(path) as reader,
            store.create(target, len(DATA)) as writer,
            ThreadPoolExecutor(8) as threads,
        ):

            def fill(start: int) -> None:
                if start % 200:
                    writer.copy(start, reader, Extent(path, start, 100))
                else:
                    writer.write(start, DATA[start : start + 100])

            list(threads.map(fill, range(0, len(DATA) - 40, 100)))
            writer.write(len(DATA) - 40, DATA[-40:])
        assert read(store, target) == DATA

    @pytest.mark.parametrize("foreign", [False, True], ids=["own", "foreign"])
    def test_copy(self, store: Store, root: str, path: str, *, foreign: bool) -> None:
        """A copy takes exactly its range, from own readers and others, and says which way the bytes
        took.
        """
        target = store.join(root, "new")
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(BytesReader(path, DATA) if foreign else store.open(path))
            writer = stack.enter_context(store.create(target, 5000))
            copied = writer.copy(700, source, Extent(path, 300, 4000))
            nothing = writer.copy(0, source, Extent(path, 0, 0))
        assert read(store, target) == bytes(700) + DATA[300:4300] + bytes(300)
        assert copied.shared + copied.kernel + copied.buffered == 4000
        assert nothing == Copied()

    def test_copy_of_more_than_there_is(self, store: Store, root: str, path: str) -> None:
        """A source that ends too early is a source that has changed: named, with the offset."""
        target = store.join(root, "new")
        with (
            store.open(path) as reader,
            store.create(target, 4 * len(DATA)) as writer,
            pytest.raises(SourceChangedError) as caught,
        ):
            writer.copy(0, reader, Extent(path, 100, 2 * len(DATA)))
        assert caught.value.file == path
        assert caught.value.offset == len(DATA)

    def test_append(self, store: Store, root: str) -> None:
        """Bytes are added at the end of a file, which is made where it is missing."""
        path = store.join(root, "log")
        for line in (b"one\n", b"", b"two\n"):
            store.append(path, line)
        assert read(store, path) == b"one\ntwo\n"

    # Names

    def test_join_and_split(self, store: Store, root: str) -> None:
        """`split` takes apart what `join` puts together, whether or not a separator ends it."""
        path = store.join(root, "directory", "name")
        assert store.split(path) == (store.join(root, "directory"), "name")
        assert store.split(store.join(path, "")) == store.split(path)
        assert store.split(store.join("", "name")) == ("", "name")

    def test_current_directory(self, store: Store) -> None:
        """The folder of a bare name is the current one."""
        assert store.kind("") == "directory"
        store.list("")
        store.make_directory("")
        assert store.same("", ".")

    def test_same(self, store: Store, root: str, path: str) -> None:
        """A path is the same as itself in another spelling, and nothing is the same as nothing."""
        assert store.same(path, store.join(root, ".", "data"))
        assert not store.same(path, root)
        assert not store.same(path, store.join(root, "missing"))
        assert not store.same(store.join(root, "missing"), store.join(root, "missing"))

    def test_rename_replaces(self, store: Store, root: str, path: str) -> None:
        """A renamed file takes the place of the one that has its new name, and leaves its old one."""
        new = put(store, store.join(root, "new"), b"new")
        store.rename(new, path)
        assert read(store, path) == b"new"
        assert store.kind(new) is None

    def test_rename_of_nothing(self, store: Store, root: str, path: str) -> None:
        """There must be a file to rename, and the other stays as it is."""
        with pytest.raises(StorageError):
            store.rename(store.join(root, "missing"), path)
        assert read(store, path) == DATA

    def test_remove(self, store: Store, path: str) -> None:
        """A removed file is gone; removing it again is fine."""
        store.remove(path)
        assert store.kind(path) is None
        store.remove(path)

    def test_remove_is_for_files(self, store: Store, root: str) -> None:
        """`remove` never removes a folder."""
        directory = store.join(root, "directory")
        store.make_directory(directory)
        with pytest.raises(ShardctlError):
            store.remove(directory)
        assert store.kind(directory) == "directory"

    def test_directories(self, store: Store, root: str, path: str) -> None:
        """Folders are made with their parents, and again; removed when empty, and again."""
        directory = store.join(root, "a", "b")
        for _ in range(2):
            store.make_directory(directory)
            assert store.kind(directory) == "directory"
        with pytest.raises(StorageError):
            store.remove_directory(store.join(root, "a"))
        for _ in range(2):
            store.remove_directory(directory)
            assert store.kind(directory) is None
        with pytest.raises(TargetExistsError):
            store.make_directory(path)

    def test_list(self, store: Store, root: str, path: str) -> None:
        """A folder lists the names in it and not those below: sorted, with kinds and sizes in
        bytes.
        """
        store.make_directory(store.join(root, "b", "below"))
        put(store, store.join(root, "a"), b"")
        put(store, store.join(root, "é"), b"123")
        assert store.list(root) == [
            Entry("a", "file", None, 0),
            Entry("b", "directory", None, 0),
            Entry("data", "file", None, len(DATA)),
            Entry("é", "file", None, 3),
        ]
        assert [entry.readable for entry in store.list(root)] == [True, False, True, True]
        with pytest.raises(InputError):
            store.list(path)

    def test_drop_cache(self, store: Store, root: str) -> None:
        """A file whose cache was dropped still has its bytes; a missing one is said to be missing."""
        path = store.join(root, "a")
        with store.create(path, 3) as writer:
            writer.write(0, b"abc")
            writer.sync()
        store.drop_cache(path)
        with store.open(path) as reader:
            assert reader.read(0, 3) == b"abc"
        with pytest.raises(MissingError):
            store.drop_cache(store.join(root, "missing"))

    def test_sync_directory(self, store: Store, root: str) -> None:
        """A folder that is there can be synced, whatever that is worth here; one that is not is a
        failure.
        """
        store.sync_directory(root)
        if store.properties.durable:
            with pytest.raises(StorageError):
                store.sync_directory(store.join(root, "missing"))

    def test_copy_mode(self, store: Store, root: str, path: str) -> None:
        """Permissions can be taken over from a file that is there."""
        fresh = put(store, store.join(root, "fresh"), b"")
        store.copy_mode(path, fresh)
        with pytest.raises(StorageError):
            store.copy_mode(store.join(root, "missing"), fresh)

    def test_free_bytes(self, store: Store, root: str) -> None:
        """Free space is a number or unknown, also for a folder that is yet to be made."""
        for directory in (root, store.join(root, "not", "yet"), ""):
            free = store.free_bytes(directory)
            assert free is None or free > 0

    # Locks

    def test_lock_is_held_alone(self, store: Store, root: str) -> None:
        """While a lock is held nobody else gets it; afterwards its file is gone and anybody does."""
        path = store.join(root, "lock")
        for _ in range(2):
            with store.lock(path):
                with pytest.raises(LockedError) as caught, store.lock(path):
                    pass
                assert caught.value.file == path
                assert caught.value.hint
                assert store.kind(path) == "file"
            assert store.kind(path) is None

    def test_lock_is_let_go_on_errors(self, store: Store, root: str) -> None:
        """An error passes through a lock, and lets go of it."""
        path = store.join(root, "lock")
        with pytest.raises(KeyError), store.lock(path):
            raise KeyError
        with store.lock(path):
            store.remove(path)
        assert store.kind(path) is None


def put(store: Store, path: str, data: bytes) -> str:
    """Make a file that holds `data`; returns its path."""
    with store.create(path, len(data)) as writer:
        writer.write(0, data)
        writer.sync()
    return path


def read(store: Store, path: str) -> bytes:
    """All that a file holds."""
    with store.open(path) as reader:
        return reader.read(0, reader.version.size)
