"""What every store must hold: inherit from `StoreSuite`, and define `store` and `root`.

For each capability that the store has, inherit from its suite too (`suites.capabilities`); a test
here fails where one is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from shardctl.errors import (
    InputError,
    MissingError,
    ShardctlError,
    SourceChangedError,
    StorageError,
    TargetExistsError,
)
from shardctl.model import Extent
from shardctl.stores.base import (
    Copied,
    Entry,
    Reader,
    Store,
)
from shardctl.stores.capabilities import (
    Appends,
    DropsCaches,
    FindsHoles,
    FollowsLinks,
    KeepsModes,
    KnowsFreeSpace,
    Locks,
    OpensDirectories,
    RemovesDirectories,
    SharesBlocks,
    SyncsDirectories,
)
from shardctl.testing.builders import BytesReader
from shardctl.testing.suites.fixtures import DATA, StoreFixtures, put, read

#: Every capability, for those who go through all of them.
CAPABILITIES: tuple[type, ...] = (
    OpensDirectories,
    Appends,
    Locks,
    SyncsDirectories,
    RemovesDirectories,
    SharesBlocks,
    KnowsFreeSpace,
    KeepsModes,
    DropsCaches,
    FindsHoles,
    FollowsLinks,
)


class StoreSuite(StoreFixtures):
    """The promises of `stores.base.Store`, one test each."""

    def test_every_claim_is_tested(self, store: Store) -> None:
        """A store that has a capability is tested by the suite of that capability."""
        claimed = {each for each in CAPABILITIES if isinstance(store, each)}
        suites = (vars(each) for each in type(self).__mro__)
        assert claimed <= {suite["capability"] for suite in suites if "capability" in suite}

    # Reading

    @pytest.mark.parametrize(
        ("offset", "length"), [(0, len(DATA)), (0, 1), (300, 700), (len(DATA) - 1, 1)]
    )
    def test_read_gives_exactly_the_range(
        self, store: Store, path: str, offset: int, length: int
    ) -> None:
        """A read returns the bytes of its range, as `bytes`."""
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
        """A range beyond the end is a source that has changed: named, with the offset."""
        with store.open(path) as reader, pytest.raises(SourceChangedError) as caught:
            reader.read(offset, len(DATA) + 1)
        assert caught.value.file == path
        assert caught.value.offset == max(offset, len(DATA))
        assert caught.value.hint

    def test_threads_read_at_once(self, store: Store, path: str) -> None:
        """Any number of threads may read from one reader."""
        offsets = [number * 37 % (len(DATA) - 100) for number in range(400)]
        with store.open(path) as reader, ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda offset: reader.read(offset, 100), offsets))
        assert found == [DATA[offset : offset + 100] for offset in offsets]

    def test_reader_knows_its_path_and_version(self, store: Store, path: str) -> None:
        """A reader's path is the one it was opened by, its version the store's own."""
        with store.open(path) as reader:
            assert reader.path == path
            assert reader.version == reader.current() == store.version(path)
            assert reader.version.size == len(DATA)

    def test_reader_stays_with_its_file(self, store: Store, root: str, path: str) -> None:
        """A file that takes the name later is not read, and has another version."""
        other = put(store, store.join(root, "other"), DATA[::-1])
        with store.open(path) as reader:
            store.rename(other, path)
            assert _read_or_changed(reader) in (DATA, None)
            assert store.version(path) != reader.version

    def test_closing_twice(self, store: Store, root: str, path: str) -> None:
        """Readers and writers may be closed again."""
        writer = store.create(store.join(root, "new"), 1)
        writer.write(0, b"x")
        for handle in (store.open(path), writer):
            handle.close()
            handle.close()

    def test_missing_file(self, store: Store, root: str) -> None:
        """What does not exist is a MissingError that names it, and has no kind."""
        path = store.join(root, "missing")
        for look in (store.open, store.version, store.list):
            with pytest.raises(MissingError) as caught:
                look(path)
            assert caught.value.file == path
            assert caught.value.hint
        assert store.kind(path) is None

    def test_nothing_is_below_a_file(self, store: Store, path: str) -> None:
        """A path that goes on after a file leads to nothing."""
        below = store.join(path, "below")
        assert store.kind(below) is None
        with pytest.raises(MissingError):
            store.open(below)

    @pytest.mark.usefixtures("path")
    def test_directory_is_not_a_file(self, store: Store, root: str) -> None:
        """A directory cannot be opened and has no version; the code says why."""
        for look in (store.open, store.version):
            with pytest.raises(InputError) as caught:
                look(root)
            assert caught.value.code == "file-not-regular"

    # Writing

    @pytest.mark.parametrize("nbytes", [0, 1, 5000])
    def test_new_file_has_its_size(self, store: Store, root: str, nbytes: int) -> None:
        """A file that was written has the size that was given for it."""
        path = store.join(root, "new")
        with store.create(path, nbytes) as writer:
            assert writer.path == path
            writer.write(0, DATA[:nbytes])
            writer.sync()
        assert store.version(path).size == nbytes
        assert read(store, path) == DATA[:nbytes]

    def test_taken_name(self, store: Store, root: str, path: str) -> None:
        """Neither a file nor a directory is ever written over."""
        for taken in (path, root):
            with pytest.raises(TargetExistsError) as caught:
                store.create(taken, 3)
            assert caught.value.file == taken
        assert read(store, path) == DATA

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_write_in_any_order(self, store: Store, root: str, kind: Callable[..., bytes]) -> None:
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
        """A copy takes exactly its range, from own readers and others, and counts the bytes."""
        target = store.join(root, "new")
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(BytesReader(path, DATA) if foreign else store.open(path))
            writer = stack.enter_context(store.create(target, 5000))
            writer.write(0, bytes(700))
            copied = writer.copy(700, source, Extent(path, 300, 4000))
            nothing = writer.copy(0, source, Extent(path, 0, 0))
            writer.write(4700, bytes(300))
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

    # Names

    def test_join_and_split(self, store: Store, root: str) -> None:
        """`split` takes apart what `join` puts together, whether or not a separator ends it."""
        path = store.join(root, "directory", "name")
        assert store.split(path) == (store.join(root, "directory"), "name")
        assert store.split(store.join(path, "")) == store.split(path)
        assert store.split(store.join("", "name")) == ("", "name")

    def test_empty_path(self, store: Store) -> None:
        """The directory of a bare name exists, can be listed, and need not be made."""
        assert store.kind("") == "directory"
        store.list("")
        store.make_directory("")

    def test_same(self, store: Store, root: str, path: str) -> None:
        """A path is the same as itself, and nothing is the same as nothing."""
        assert store.same(path, store.join(root, "data"))
        assert store.same(root, root)
        assert not store.same(path, root)
        assert not store.same(path, store.join(root, "missing"))
        assert not store.same(store.join(root, "missing"), store.join(root, "missing"))

    def test_rename_replaces(self, store: Store, root: str, path: str) -> None:
        """A renamed file replaces the one that has its new name, and has its old name no more."""
        new = put(store, store.join(root, "new"), b"new")
        store.rename(new, path)
        assert read(store, path) == b"new"
        assert store.kind(new) is None

    def test_rename_of_nothing(self, store: Store, root: str, path: str) -> None:
        """Renaming a file that does not exist fails, and leaves the other as it is."""
        with pytest.raises(StorageError):
            store.rename(store.join(root, "missing"), path)
        assert read(store, path) == DATA

    def test_remove(self, store: Store, path: str) -> None:
        """A removed file is gone, and removing it again is not an error."""
        store.remove(path)
        assert store.kind(path) is None
        store.remove(path)

    def test_remove_is_for_files(self, store: Store, root: str) -> None:
        """`remove` never removes a directory."""
        directory = store.join(root, "directory")
        store.make_directory(directory)
        put(store, store.join(directory, "file"), b"x")
        with pytest.raises(ShardctlError):
            store.remove(directory)
        assert store.kind(directory) == "directory"

    def test_make_directory(self, store: Store, root: str, path: str) -> None:
        """Files can be created in a directory that was made, also twice; no file becomes one."""
        directory = store.join(root, "a", "b")
        for _ in range(2):
            store.make_directory(directory)
        put(store, store.join(directory, "file"), b"x")
        assert store.kind(directory) == store.kind(store.join(root, "a")) == "directory"
        with pytest.raises(TargetExistsError):
            store.make_directory(path)

    def test_list(self, store: Store, root: str, path: str) -> None:
        """A directory lists its own names, sorted, with kinds and sizes in bytes."""
        below = store.join(root, "b", "below")
        store.make_directory(below)
        put(store, store.join(below, "file"), b"x")
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


def _read_or_changed(reader: Reader) -> bytes | None:
    """Return all bytes of an open file; None where the reader says that it has changed."""
    try:
        return reader.read(0, reader.version.size)
    except SourceChangedError:
        return None
