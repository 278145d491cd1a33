"""Small pieces that are read and written many with one call."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardctl.engine import together
from shardctl.engine.together import Near, Together
from shardctl.model import Extent
from shardctl.testing.memory import MemoryReader, MemoryStore, MemoryWriter
from tests.support.memory_checkpoints import get, put

SOURCE = bytes(range(256)) * 40


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often files in memory are read, and written to."""
    counted: Counter[str] = Counter()

    def count(owner: type, name: str) -> None:
        method = getattr(owner, name)

        def call(*arguments: Any) -> Any:
            counted[name] += 1
            return method(*arguments)

        monkeypatch.setattr(owner, name, call)

    count(MemoryReader, "read")
    count(MemoryWriter, "write")
    return counted


@pytest.fixture
def store() -> MemoryStore:
    """A store with the file `s`."""
    store = MemoryStore()
    put(store, "s", SOURCE)
    return store


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=12))
def test_every_byte_is_written_at_its_place(pieces: list[tuple[int, int]]) -> None:
    """Whatever the lengths and the gaps, each piece is where it belongs once the block ends."""
    expected, store = bytearray(500), MemoryStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(together, "_MOST_BYTES", 16)
        with store.create("t", 500) as writer, Together(writer) as put_together:
            at = 0
            for gap, length in pieces:
                at += gap
                data = SOURCE[at : at + length]
                expected[at : at + length] = data
                put_together.write(at, data)
                at += length
    assert get(store, "t") == expected


def test_neighbours_are_one_call(store: MemoryStore, calls: Counter[str]) -> None:
    """Pieces that follow one another are written with one call, and a gap begins another."""
    with store.create("t", 100) as writer:
        with Together(writer) as put_together:
            for offset in (0, 10, 20, 50, 60):
                put_together.write(offset, SOURCE[offset : offset + 10])
            assert calls["write"] == 1
        assert calls["write"] == 2
    assert get(store, "t") == SOURCE[:30] + bytes(20) + SOURCE[50:70] + bytes(30)


def test_nothing_more_is_written_after_an_error(store: MemoryStore, calls: Counter[str]) -> None:
    """What is held when the block ends with an error is not written."""

    def fail() -> None:
        with Together(writer) as put_together:
            put_together.write(0, b"held")
            raise KeyError

    with store.create("t", 10) as writer, pytest.raises(KeyError):
        fail()
    assert calls["write"] == 0


def test_near_ranges_are_read_together(store: MemoryStore, calls: Counter[str]) -> None:
    """Of ranges that follow one another, the first is read alone, and all others with one call."""
    near = Near()
    with store.open("s") as reader:
        for offset in range(0, len(SOURCE), 64):
            assert near.read(reader, Extent("s", offset, 16)) == SOURCE[offset : offset + 16]
    assert calls["read"] == 2


@given(st.lists(st.tuples(st.integers(0, len(SOURCE) - 1), st.integers(0, 300)), max_size=20))
def test_ranges_in_any_order(ranges: list[tuple[int, int]]) -> None:
    """Forwards or backwards, overlapping or at the end of the file, each range has its bytes."""
    store = MemoryStore()
    put(store, "s", SOURCE)
    near = Near()
    with store.open("s") as reader:
        for offset, length in ranges:
            extent = Extent("s", offset, min(length, len(SOURCE) - offset))
            assert near.read(reader, extent) == SOURCE[offset : extent.end]


def test_files_are_told_apart(store: MemoryStore) -> None:
    """Bytes that were read of one file are not taken for those of another."""
    put(store, "other", b"-" * 200)
    near = Near()
    with store.open("s") as reader, store.open("other") as other:
        for offset in (0, 32):
            assert near.read(reader, Extent("s", offset, 16)) == SOURCE[offset : offset + 16]
        assert near.read(other, Extent("other", 64, 16)) == b"-" * 16
