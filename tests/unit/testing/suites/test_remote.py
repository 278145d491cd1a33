"""The suites for stores across a network fail for a store that breaks a promise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shardctl.errors import UsageError
from shardctl.model import Extent
from shardctl.stores.capabilities import Traffic
from shardctl.testing.memory import MemoryReader, MemoryStore
from shardctl.testing.suites.fixtures import StoreFixtures
from shardctl.testing.suites.remote import ReadOnlySuite, RemoteSuite
from tests.support.suites import passes_for


class _Counted(MemoryReader):
    store: Far

    def read(self, offset: int, length: int) -> bytes:
        """Read, and count it."""
        data = super().read(offset, length)
        self.store.count(len(data))
        return data

    def stream(self, extent: Extent) -> Iterator[bytes]:
        """Read it all."""
        yield self.read(extent.offset, extent.length)


class Far(MemoryStore):
    """A store across a network, as far as one in memory can be."""

    at_once = 2

    def __init__(self) -> None:
        super().__init__()
        self._traffic = Traffic()

    def __reduce__(self) -> tuple[object, ...]:
        return type(self)._with, (self._files, self._directories)

    @classmethod
    def _with(cls, files: dict[str, object], directories: set[str]) -> Far:
        store = cls()
        store._files, store._directories = files, directories  # type: ignore[assignment] # as sent
        return store

    def count(self, nbytes: int) -> None:
        """Count a request."""
        self._traffic = Traffic(self._traffic.requests + 1, self._traffic.nbytes + nbytes)

    def traffic(self) -> Traffic:
        """Return what was counted."""
        return self._traffic

    def open(self, path: str) -> MemoryReader:
        """Open it."""
        reader = _Counted(path, self._at(path))
        reader.store = self
        return reader


TESTS = [name for name in vars(RemoteSuite) if name.startswith("test_")]


@pytest.mark.parametrize("test", TESTS)
def test_a_sound_store_passes(test: str) -> None:
    """And one on this machine does not, but for what every store can do."""
    assert passes_for(RemoteSuite, test, Far)
    assert passes_for(RemoteSuite, test, MemoryStore) is (test == "test_announced_ranges_are_read")


class Uncounted(Far):
    """Nothing is counted."""

    def count(self, nbytes: int) -> None:
        """Count nothing."""


class Emptied(Far):
    """What was sent to another process has lost its files."""

    @classmethod
    def _with(cls, *_: object) -> Far:
        return cls()


class _Cut(_Counted):
    def stream(self, extent: Extent) -> Iterator[bytes]:
        """Read what there is."""
        yield bytes(self._file.data[extent.offset : extent.end][:5000])


class Cut(Far):
    """A stream ends too early."""

    def open(self, path: str) -> MemoryReader:
        """Open it."""
        reader = _Cut(path, self._at(path))
        reader.store = self
        return reader


@pytest.mark.parametrize(
    ("store", "test"),
    [
        (Uncounted, "test_traffic_is_counted"),
        (Emptied, "test_it_can_be_pickled"),
        (Cut, "test_stream"),
        (Cut, "test_stream_past_the_end"),
    ],
)
def test_a_broken_promise_is_noticed(store: type[MemoryStore], test: str) -> None:
    """By the test of that promise."""
    assert not passes_for(RemoteSuite, test, store)


class Claiming(MemoryStore):
    """A store that says that it is only read, and is written all the same."""

    def refusal(self, path: str) -> UsageError:
        """Return the error."""
        return UsageError("it is only read", hint="choose another", file=path)


@pytest.mark.parametrize("store", [MemoryStore, Claiming])
def test_a_store_that_is_written_is_not_only_read(store: type[MemoryStore]) -> None:
    """Whatever it says of itself."""
    suite: type[StoreFixtures] = ReadOnlySuite
    assert not passes_for(suite, "test_nothing_is_written", store)
