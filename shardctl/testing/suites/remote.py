"""What a store across a network must hold, beside `ReadableStoreSuite` or `StoreSuite`."""

from __future__ import annotations

import pickle
from typing import ClassVar

import pytest

from shardctl.errors import SourceChangedError, TargetError
from shardctl.model import Extent
from shardctl.stores.base import Store
from shardctl.stores.capabilities import Announces, ReadOnly, Remote, Streams
from shardctl.testing.suites.fixtures import DATA, StoreFixtures, read


class ReadOnlySuite(StoreFixtures):
    """The promises of `ReadOnly`; `fill` is overridden."""

    capability: ClassVar[type] = ReadOnly

    def test_nothing_is_written(self, store: Store, root: str, path: str) -> None:
        """Whatever would change something is refused, and everything stays as it is."""
        assert isinstance(store, ReadOnly)
        new = store.join(root, "new")
        for change in (
            lambda: store.create(new, 1),
            lambda: store.make_directory(new),
            lambda: store.rename(path, new),
            lambda: store.remove(path),
        ):
            with pytest.raises(TargetError) as caught:
                change()
            assert caught.value.file in (new, path)
            assert caught.value.hint
        assert store.refusal(new).file == new
        assert read(store, path) == DATA


class RemoteSuite(StoreFixtures):
    """The promises of `Remote`, and of the readers of such a store: these are `Streams`."""

    capability: ClassVar[type] = Remote

    def test_traffic_is_counted(self, store: Store, path: str) -> None:
        """Requests and bytes are counted, and at least one file is read at once."""
        assert isinstance(store, Remote)
        assert store.at_once >= 1
        assert read(store, path) == DATA
        before = store.traffic()
        assert before.requests >= 1
        assert before.nbytes >= len(DATA)
        with store.open(path) as reader:
            reader.read(0, len(DATA))
        after = store.traffic()
        assert (after.requests, after.nbytes) == (before.requests + 1, before.nbytes + len(DATA))

    @pytest.mark.parametrize(("offset", "length"), [(0, len(DATA)), (10, 0), (100, 7000)])
    def test_stream(self, store: Store, path: str, offset: int, length: int) -> None:
        """A range is streamed in order, and exactly."""
        with store.open(path) as reader:
            assert isinstance(reader, Streams)
            chunks = list(reader.stream(Extent(path, offset, length)))
        assert b"".join(chunks) == DATA[offset : offset + length]

    def test_stream_past_the_end(self, store: Store, path: str) -> None:
        """A range beyond the end is a source that has changed: named, with the offset."""
        reader = store.open(path)
        assert isinstance(reader, Streams)
        with pytest.raises(SourceChangedError) as caught:
            list(reader.stream(Extent(path, 5, len(DATA))))
        assert (caught.value.file, caught.value.offset) == (path, len(DATA))

    def test_announced_ranges_are_read(self, store: Store, path: str) -> None:
        """What was announced is read as it is, and so is everything else."""
        with store.open(path) as reader:
            if isinstance(reader, Announces):
                reader.will_read([0, 5000, 9000, len(DATA) - 1, len(DATA) + 5])
            for offset in (0, 4999, 5000, 8000, 9050, len(DATA) - 20):
                assert reader.read(offset, 20) == DATA[offset : offset + 20]

    def test_it_can_be_pickled(self, store: Store, path: str) -> None:
        """A store that went to another process reads the same."""
        assert read(pickle.loads(pickle.dumps(store)), path) == DATA
