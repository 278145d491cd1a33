"""What is done where a reader cannot do more than read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shardctl.errors import SourceChangedError, StorageError
from shardctl.model import Extent
from shardctl.stores import optional
from shardctl.stores.optional import pieces, read_into
from shardctl.testing.builders import BytesReader
from tests.unit.stores.local.local_calls import DATA, STORE, failing


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file that holds DATA."""
    (tmp_path / "file").write_bytes(DATA)
    return str(tmp_path / "file")


def test_a_file_is_read_into_memory(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes are those of `read`, in one call, in several, and where the system has no such."""
    memory = bytearray(len(DATA) - 5)
    with STORE.open(path) as reader:
        read_into(reader, 5, memoryview(memory))
        assert memory == DATA[5:]
        real = os.preadv
        with monkeypatch.context() as patch:
            patch.setattr(os, "preadv", lambda n, to, at: real(n, [to[0][:1000]], at))
            read_into(reader, 0, memoryview(memory))
        assert memory == DATA[:-5]
        monkeypatch.delattr(os, "preadv")
        read_into(reader, 5, memoryview(memory))
        assert memory == DATA[5:]


def test_a_file_that_ends_early_or_fails_is_named(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `read` raises is raised, with the file."""
    memory = memoryview(bytearray(100))
    with STORE.open(path) as reader:
        with pytest.raises(SourceChangedError, match="ends before"):
            read_into(reader, len(DATA) - 50, memory)
        monkeypatch.setattr(os, "preadv", failing(5))
        with pytest.raises(StorageError) as caught:
            read_into(reader, 0, memory)
    assert caught.value.file == path


def test_any_reader_can_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes pass through a bounded buffer where the reader only reads."""
    monkeypatch.setattr(optional, "BUFFER_BYTES", 1000)
    memory, reader = bytearray(len(DATA)), BytesReader("file", DATA)
    read_into(reader, 0, memoryview(memory))
    assert memory == DATA
    assert max(length for _, length in reader.ranges) == 1000


def test_pieces_of_what_is_in_memory_are_not_copied() -> None:
    """A reader that shows its memory is asked for views, any other for bytes."""

    class Shown(BytesReader):
        def view(self, offset: int, length: int) -> memoryview:
            return memoryview(self._data)[offset : offset + length]

    extent = Extent("file", 3, 25)
    for reader, kind in ((BytesReader("file", DATA), bytes), (Shown("file", DATA), memoryview)):
        found = list(pieces(reader, extent, 10))
        assert [type(each) for each in found] == [kind] * 3
        assert b"".join(found) == DATA[3:28]
