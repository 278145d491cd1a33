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
    ShardctlError,
    SourceChangedError,
    StorageError,
    TargetExistsError,
)
from shardctl.model import Extent
from shardctl.stores.base import (
    Copied,
    Store,
)
from shardctl.testing.builders import BytesReader
from shardctl.testing.suites.fixtures import DATA, put, read
from shardctl.testing.suites.reading import ReadableStoreSuite


class StoreSuite(ReadableStoreSuite):
    """The promises of `stores.base.Store`, one test each."""

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

    def test_writer_closes_twice(self, store: Store, root: str) -> None:
        """A writer may be closed again, and the empty path need not be made a directory."""
        store.make_directory("")
        writer = store.create(store.join(root, "new"), 1)
        writer.write(0, b"x")
        writer.close()
        writer.close()

    # Names

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
