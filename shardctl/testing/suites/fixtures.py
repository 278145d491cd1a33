"""What the suites for stores have in common: the store under test, and a file in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shardctl.stores.base import Store

#: The type of the fixture `fill`.
Fill = Callable[[str, bytes], str]

DATA = bytes(range(256)) * 40


class StoreFixtures:
    """The store under test, and a place in it. Every path that is used is below `root`.

    `fill` writes through the store; a store that is only read has it overridden.
    """

    @pytest.fixture
    def store(self) -> Store:
        """The store under test."""
        raise NotImplementedError

    @pytest.fixture
    def root(self) -> str:
        """A directory in which files can be created, and which holds none."""
        raise NotImplementedError

    @pytest.fixture
    def fill(self, store: Store) -> Fill:
        """What gives a file these contents, whether or not it exists, and returns its path."""

        def fill(path: str, data: bytes) -> str:
            store.remove(path)
            store.make_directory(store.split(path)[0])
            return put(store, path, data)

        return fill

    @pytest.fixture
    def path(self, store: Store, root: str, fill: Fill) -> str:
        """A file that holds DATA."""
        return fill(store.join(root, "data"), DATA)


def put(store: Store, path: str, data: bytes) -> str:
    """Create a file that holds `data`, and return its path."""
    with store.create(path, len(data)) as writer:
        writer.write(0, data)
        writer.sync()
    return path


def read(store: Store, path: str) -> bytes:
    """Return all bytes of a file."""
    with store.open(path) as reader:
        return reader.read(0, reader.version.size)
