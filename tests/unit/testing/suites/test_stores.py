"""The suite for stores fails for a store that breaks a promise."""

from __future__ import annotations

from typing import Any

import pytest

from shardctl.errors import StorageError
from shardctl.model import Extent
from shardctl.stores.base import Copied, Reader
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryStore, MemoryWriter
from shardctl.testing.suites.stores import StoreSuite
from tests.support.suites import passes_for
from tests.toy.store import ToyStore

TESTS = [name for name in vars(StoreSuite) if name.startswith("test_")]


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("store", [MemoryStore, MemoryBucket, ToyStore])
def test_a_sound_store_passes(store: type, test: str) -> None:
    """In memory, as files and as objects."""
    assert passes_for(StoreSuite, test, store)


class Growing(MemoryStore):
    """A file has a byte too many."""

    def create(self, path: str, nbytes: int) -> MemoryWriter:
        """Create it."""
        return super().create(path, nbytes + 1)


class Overwriting(MemoryStore):
    """A name that is taken is written over."""

    def create(self, path: str, nbytes: int) -> MemoryWriter:
        """Create it."""
        if self.kind(path) == "file":
            self.remove(path)
        return super().create(path, nbytes)


class Copying(MemoryStore):
    """A renamed file has both names."""

    def rename(self, old: str, new: str) -> None:
        """Give it another."""
        super().rename(old, new)
        self._put(old, self._at(new))


class Lenient(MemoryStore):
    """What cannot be done is passed over."""

    def rename(self, old: str, new: str) -> None:
        """Rename what is there."""
        if self.kind(old) is not None:
            super().rename(old, new)

    def remove(self, path: str) -> None:
        """Remove whatever is there."""
        if self.kind(path) == "directory":
            self._directories.discard(path)
        else:
            super().remove(path)

    def make_directory(self, path: str) -> None:
        """Make it in place of a file, too."""
        self._files.pop(path, None)
        super().make_directory(path)


class Strict(MemoryStore):
    """What was removed cannot be removed again."""

    def remove(self, path: str) -> None:
        """Remove it."""
        if path in self._locked:
            raise StorageError("it is gone", hint="", file=path)
        if self.kind(path) == "file":
            self._locked.add(path)
        super().remove(path)


class _Writer(MemoryWriter):
    def copy(self, offset: int, source: Reader, extent: Extent) -> Copied:
        """Copy without counting, and as much as there is."""
        size = source.version.size
        part = Extent(extent.path, extent.offset, min(extent.length, size - extent.offset))
        super().copy(offset, source, part)
        return Copied(buffered=1)

    def write(self, offset: int, data: Any) -> None:
        """Write at the end, wherever it belongs."""
        if type(data) is bytearray:
            offset = 0
        super().write(offset, data)


class Careless(MemoryStore):
    """Copies are not counted, and some writes are at the wrong place."""

    def create(self, path: str, nbytes: int) -> MemoryWriter:
        """Create it."""
        super().create(path, nbytes)
        return _Writer(path, self._at(path))


@pytest.mark.parametrize(
    ("store", "test"),
    [
        (Growing, "test_new_file_has_its_size"),
        (Overwriting, "test_taken_name"),
        (Copying, "test_rename_replaces"),
        (Lenient, "test_rename_of_nothing"),
        (Lenient, "test_remove_is_for_files"),
        (Lenient, "test_make_directory"),
        (Strict, "test_remove"),
        (Careless, "test_copy"),
        (Careless, "test_copy_of_more_than_there_is"),
        (Careless, "test_write_in_any_order"),
    ],
)
def test_a_broken_promise_is_noticed(store: type[MemoryStore], test: str) -> None:
    """By the test of that promise."""
    assert not passes_for(StoreSuite, test, store)
