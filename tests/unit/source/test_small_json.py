"""Small JSON files: one that is wrong is not the same as one that cannot be read."""

from __future__ import annotations

import pytest

from shardctl.errors import FormatError, MissingError, StorageError
from shardctl.formats.limits import MAX_CONFIG_BYTES
from shardctl.source.directory.clients import one_file_client
from shardctl.source.small_json import parsed, read_json
from shardctl.testing.memory import MemoryReader, MemoryStore
from tests.support.memory_checkpoints import put

BAD = [b"", b"{", b"[" * 100_000, b" " * (MAX_CONFIG_BYTES + 1), b"\xff"]


class Unreadable(MemoryStore):
    """A store that cannot read any file."""

    def open(self, path: str) -> MemoryReader:
        """Raise StorageError."""
        raise StorageError(f"'{path}': permission denied", hint="check it", file=path)


def test_what_it_says() -> None:
    """Any JSON document is returned."""
    store = MemoryStore()
    put(store, "a.json", b"[1]")
    assert parsed(store, "a.json", "x") == read_json(store, "a.json") == [1]


@pytest.mark.parametrize("data", BAD)
def test_one_that_says_nothing(data: bytes) -> None:
    """One that is not JSON, or large, has the code that was asked for, or counts as nothing."""
    store = MemoryStore()
    put(store, "a.json", data)
    with pytest.raises(FormatError) as caught:
        parsed(store, "a.json", "x")
    assert (caught.value.code, caught.value.file) == ("x", "a.json")
    assert read_json(store, "a.json") is None


def test_one_that_does_not_exist() -> None:
    """It is an error where it is needed, and nothing where it may be missing."""
    with pytest.raises(MissingError):
        parsed(MemoryStore(), "a.json", "x")
    assert read_json(MemoryStore(), "a.json") is None


def test_one_that_cannot_be_read() -> None:
    """It is never taken for one that says nothing, whoever asks."""
    store = Unreadable()
    for name in ("config.json", "modules.json"):
        put(store, f"m/{name}", b"{}")
        with pytest.raises(StorageError):
            parsed(store, f"m/{name}", "x")
        with pytest.raises(StorageError):
            read_json(store, f"m/{name}")
        with pytest.raises(StorageError):
            one_file_client(store, "m", "model")
        store.remove(f"m/{name}")
