"""The suite for stores that are read fails for a store that breaks a promise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shardctl.errors import StorageError
from shardctl.model import Version
from shardctl.stores import capabilities, uploads
from shardctl.stores.base import Entry, EntryKind
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryReader, MemoryStore
from shardctl.testing.suites.capabilities import (
    AppendsSuite,
    LocksSuite,
    RemovesDirectoriesSuite,
    SyncsDirectoriesSuite,
)
from shardctl.testing.suites.reading import CAPABILITIES, ReadableStoreSuite
from tests.support.suites import passes_for

CLAIMS = "test_every_claim_is_tested"
TESTS = [name for name in vars(ReadableStoreSuite) if name.startswith("test_") and name != CLAIMS]
#: What a reader can do, and not its store.
OF_READERS = {"ReadsInto", "InMemory", "Announces", "Streams"}


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("store", [MemoryStore, MemoryBucket])
def test_a_sound_store_passes(store: type, test: str) -> None:
    """In memory, as files and as objects."""
    assert passes_for(ReadableStoreSuite, test, store)


def test_every_capability_is_gone_through() -> None:
    """None of those that a store can have is left out of the list."""
    found = {
        each
        for module in (capabilities, uploads)
        for each in vars(module).values()
        if getattr(each, "_is_runtime_protocol", False) and each.__module__ == module.__name__
    }
    known = {each.__name__ for each in CAPABILITIES}
    assert known == {each.__name__ for each in found} - OF_READERS - {"UploadStore"}


class Memory(
    ReadableStoreSuite, AppendsSuite, LocksSuite, SyncsDirectoriesSuite, RemovesDirectoriesSuite
):
    """All that a store in memory can do."""

    __test__ = False


class Leasing(MemoryStore):
    """A store that can keep out other machines, too."""

    @contextmanager
    def lease(self, path: str) -> Iterator[None]:
        """Hold a lock."""
        with self.lock(path):
            yield


def test_a_capability_needs_its_suite() -> None:
    """Whatever a store can do is tested, or that it can is noticed."""
    assert passes_for(Memory, CLAIMS, MemoryStore)
    assert not passes_for(Memory, CLAIMS, Leasing)
    assert not passes_for(Memory, CLAIMS, MemoryBucket)
    assert not passes_for(ReadableStoreSuite, CLAIMS, MemoryStore)


class _Short(MemoryReader):
    def read(self, offset: int, length: int) -> bytes:
        """Return what there is."""
        return bytes(self._file.data[offset : offset + length])


class Short(MemoryStore):
    """Fewer bytes are read where there are no more."""

    def open(self, path: str) -> MemoryReader:
        """Open it."""
        return _Short(path, self._at(path))


class _Mutable(MemoryReader):
    def read(self, offset: int, length: int) -> bytes:
        """Return what can be changed."""
        return bytearray(super().read(offset, length))  # type: ignore[return-value] # the fault


class Mutable(MemoryStore):
    """What is read is not `bytes`."""

    def open(self, path: str) -> MemoryReader:
        """Open it."""
        return _Mutable(path, self._at(path))


class Vague(MemoryStore):
    """All files of a size are one version, and a missing one is a failure of the store."""

    def version(self, path: str) -> Version:
        """Return its size."""
        try:
            return Version(super().version(path).size, "?")
        except Exception as error:
            raise StorageError("it failed", hint="", file=path) from error


class Unsorted(MemoryStore):
    """Names are listed from the last to the first."""

    def list(self, directory: str) -> list[Entry]:
        """List them."""
        return super().list(directory)[::-1]


class Everywhere(MemoryStore):
    """What does not exist is a directory by some names, and equal paths are always the same."""

    def kind(self, path: str) -> EntryKind | None:
        """Return what it is."""
        odd = self.split(path)[1] in ("missing", "below")
        return "directory" if odd else super().kind(path)

    def same(self, one: str, other: str) -> bool:
        """Compare the paths alone."""
        return one == other


class Separate(MemoryStore):
    """A slash at the end counts."""

    def split(self, path: str) -> tuple[str, str]:
        """Split at the last slash."""
        above, _, name = path.rpartition("/")
        return above, name


@pytest.mark.parametrize(
    ("store", "test"),
    [
        (Short, "test_read_past_the_end"),
        (Mutable, "test_read_gives_exactly_the_range"),
        (Vague, "test_reader_knows_its_path_and_version"),
        (Vague, "test_missing_file"),
        (Unsorted, "test_list"),
        (Everywhere, "test_missing_file"),
        (Everywhere, "test_nothing_is_below_a_file"),
        (Everywhere, "test_same"),
        (Separate, "test_join_and_split"),
    ],
)
def test_a_broken_promise_is_noticed(store: type[MemoryStore], test: str) -> None:
    """By the test of that promise."""
    assert not passes_for(ReadableStoreSuite, test, store)
