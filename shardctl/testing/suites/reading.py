"""What every store promises to those who read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shardctl.errors import (
    InputError,
    MissingError,
    SourceChangedError,
)
from shardctl.stores.base import (
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
    Leases,
    Locks,
    OpensDirectories,
    ReadOnly,
    Remote,
    RemovesDirectories,
    SharesBlocks,
    SyncsDirectories,
)
from shardctl.stores.uploads import CopiesParts, Uploads
from shardctl.testing.suites.fixtures import DATA, Fill, StoreFixtures, read

#: Every capability, for those who go through all of them.
CAPABILITIES: tuple[type, ...] = (
    OpensDirectories,
    Appends,
    Leases,
    Locks,
    SyncsDirectories,
    RemovesDirectories,
    SharesBlocks,
    KnowsFreeSpace,
    KeepsModes,
    DropsCaches,
    FindsHoles,
    FollowsLinks,
    Remote,
    ReadOnly,
    Uploads,
    CopiesParts,
)


class ReadableStoreSuite(StoreFixtures):
    """What `stores.base.Store` promises to those who read, one test each."""

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

    def test_reader_stays_with_its_file(self, store: Store, path: str, fill: Fill) -> None:
        """A file that takes the name later is not read, and has another version where it is."""
        with store.open(path) as reader:
            fill(path, DATA[::-1])
            assert _read_or_changed(reader) in (DATA, None)
            changed = store.version(path) != reader.version
            assert (read(store, path) != DATA) == changed

    def test_reader_closes_twice(self, store: Store, path: str) -> None:
        """A reader may be closed again."""
        reader = store.open(path)
        reader.close()
        reader.close()

    def test_join_and_split(self, store: Store, root: str) -> None:
        """`split` takes apart what `join` puts together, whether or not a separator ends it."""
        path = store.join(root, "directory", "name")
        assert store.split(path) == (store.join(root, "directory"), "name")
        assert store.split(store.join(path, "")) == store.split(path)
        assert store.split(store.join("", "name")) == ("", "name")

    def test_empty_path(self, store: Store) -> None:
        """The directory of a bare name exists, and can be listed."""
        assert store.kind("") == "directory"
        store.list("")

    def test_same(self, store: Store, root: str, path: str) -> None:
        """A path is the same as itself, and nothing is the same as nothing."""
        assert store.same(path, store.join(root, "data"))
        assert store.same(root, root)
        assert not store.same(path, root)
        assert not store.same(path, store.join(root, "missing"))
        assert not store.same(store.join(root, "missing"), store.join(root, "missing"))

    def test_list(self, store: Store, root: str, path: str, fill: Fill) -> None:
        """A directory lists its own names, sorted, with kinds and sizes in bytes."""
        fill(store.join(root, "b", "below", "file"), b"x")
        fill(store.join(root, "a"), b"")
        fill(store.join(root, "é"), b"123")
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
