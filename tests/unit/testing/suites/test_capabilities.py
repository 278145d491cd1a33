"""The suites for capabilities fail for a store that claims one and breaks its promise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shardctl.model import Version
from shardctl.testing.memory import MemoryReader, MemoryStore
from shardctl.testing.suites.capabilities import (
    AppendsSuite,
    DropsCachesSuite,
    FollowsLinksSuite,
    KeepsModesSuite,
    KnowsFreeSpaceSuite,
    LeasesSuite,
    LocksSuite,
    RemovesDirectoriesSuite,
    SyncsDirectoriesSuite,
)
from shardctl.testing.suites.fixtures import StoreFixtures
from tests.support.suites import passes_for

LACKING = LeasesSuite, KnowsFreeSpaceSuite, KeepsModesSuite, DropsCachesSuite, FollowsLinksSuite
SOUND = (AppendsSuite, LocksSuite, SyncsDirectoriesSuite, RemovesDirectoriesSuite)


@pytest.mark.parametrize("suite", SOUND)
def test_a_sound_store_passes(suite: type[StoreFixtures]) -> None:
    """Each suite of what a store in memory can do."""
    for test in [name for name in vars(suite) if name.startswith("test_")]:
        assert passes_for(suite, test, MemoryStore), test


@pytest.mark.parametrize("suite", LACKING)
def test_what_a_store_cannot_do_is_not_passed(suite: type[StoreFixtures]) -> None:
    """A suite that is taken for a store without the capability fails."""
    for test in [name for name in vars(suite) if name.startswith("test_")]:
        assert not passes_for(suite, test, MemoryStore), test


class Prepending(MemoryStore):
    """Bytes are added in front."""

    def append(self, path: str, data: bytes) -> None:
        """Add them."""
        there = bytes(self._at(path).data) if self.kind(path) else b""
        self.remove(path)
        super().append(path, data + there)


class _Blind(MemoryReader):
    def current(self) -> Version:
        """Return what it was."""
        return self.version


class Blind(MemoryStore):
    """A reader does not see that its file has grown."""

    def open(self, path: str) -> MemoryReader:
        """Open it."""
        return _Blind(path, self._at(path))


class Open(MemoryStore):
    """A lock keeps no one out, and leaves its file."""

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        """Hold it."""
        self.append(path, b"")
        yield


class Stuck(MemoryStore):
    """A lock is held for ever after an error."""

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        """Hold it."""
        with super().lock(path):
            try:
                yield
            except KeyError:
                self._locked.add(f"{path} ")
                raise
        if f"{path} " in self._locked:
            raise RuntimeError


class Eager(MemoryStore):
    """A directory is removed with all that is in it, and made where it is needed."""

    def remove_directory(self, path: str) -> None:
        """Remove it."""
        self._directories.discard(path)

    def append(self, path: str, data: bytes) -> None:
        """Add bytes."""
        self.make_directory(self.split(path)[0])
        super().append(path, data)


class Indifferent(MemoryStore):
    """Any directory can be synced."""

    def sync_directory(self, path: str) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("suite", "store", "test"),
    [
        (AppendsSuite, Prepending, "test_append"),
        (AppendsSuite, Blind, "test_growth_is_noticed"),
        (LocksSuite, Open, "test_lock_is_held_alone"),
        (LocksSuite, Stuck, "test_lock_is_released_on_errors"),
        (RemovesDirectoriesSuite, Eager, "test_remove_directory"),
        (RemovesDirectoriesSuite, Eager, "test_new_file_needs_its_directory"),
        (SyncsDirectoriesSuite, Indifferent, "test_sync_directory"),
    ],
)
def test_a_broken_promise_is_noticed(
    suite: type[StoreFixtures], store: type[MemoryStore], test: str
) -> None:
    """By the test of that promise."""
    assert not passes_for(suite, test, store)
