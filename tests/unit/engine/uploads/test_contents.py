"""The bytes of a file in order, whatever it is made of, and which of them are left out."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import pytest

from shardctl.engine.parts import Outcome
from shardctl.engine.sources import Sources
from shardctl.engine.uploads.contents import contents
from shardctl.layout import Check, Copy, Crc, Gather, Layout, LayoutBuilder
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.stores.base import Copied
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put

SOURCE = bytes(range(256)) * 2


@pytest.fixture
def store() -> MemoryStore:
    """A store with the source `s`."""
    store = MemoryStore()
    put(store, "s", SOURCE)
    return store


def made(
    store: MemoryStore, layout: Layout, left_out: Sequence[tuple[int, int]] = ()
) -> tuple[bytes, Outcome, int]:
    """The bytes of a layout, what was found, and how many were counted."""
    counted = 0

    def tick(nbytes: int) -> None:
        nonlocal counted
        counted += nbytes

    outcome = Outcome.of(layout)
    with Sources(store, {"s": store.version("s")}) as sources:
        chunks = contents(layout, sources, left_out, tick, outcome)
        data = b"".join(bytes(memoryview(chunk).cast("B")) for chunk in chunks)
    return data, outcome, counted


def test_pieces_of_every_kind(store: MemoryStore) -> None:
    """Text, copies, elements and checksums follow each other, and each byte is counted once."""
    builder = LayoutBuilder()
    builder.literal(b"head")
    first = builder.record(Copy(Extent("s", 10, 90)))
    builder.crc(Crc(first))
    gathered = builder.record(Gather(Extent("s", 40, 12), 2, (2, 3), (1, 2)))
    builder.crc(Crc(gathered))
    builder.copy(Extent("s", 200, 50))
    builder.crc(Crc(first))
    builder.literal(b"tail")
    layout = builder.build()
    rows = SOURCE[40:52]
    taken = b"".join(rows[2 * at : 2 * at + 2] for at in (0, 2, 4, 1, 3, 5))
    sums = [zlib.crc32(data).to_bytes(4, "little") for data in (SOURCE[10:100], taken)]
    expected = b"".join(
        [b"head", SOURCE[10:100], sums[0], taken, sums[1], SOURCE[200:250], sums[0], b"tail"]
    )
    data, outcome, counted = made(store, layout)
    assert data == expected
    assert counted == len(expected) == layout.nbytes
    assert outcome.copied == Copied(buffered=len(expected))


def test_what_is_left_out(store: MemoryStore) -> None:
    """Ranges that the server copies are neither read nor counted, wherever they lie in copies."""
    builder = LayoutBuilder()
    builder.literal(b"head")
    builder.copy(Extent("s", 0, 100))
    builder.copy(Extent("s", 150, 100))
    layout = builder.build()
    whole = b"head" + SOURCE[:100] + SOURCE[150:250]
    for left_out in ([(4, 104)], [(50, 150)], [(4, 20), (30, 40), (200, 204)], [(4, 204)]):
        data, outcome, counted = made(store, layout, left_out)
        kept = bytes(
            value
            for at, value in enumerate(whole)
            if not any(begin <= at < end for begin, end in left_out)
        )
        assert data == kept
        assert counted == len(kept) == outcome.copied.buffered


def test_source_bytes_that_are_only_checked(store: MemoryStore) -> None:
    """They are read, their checksum is taken, and they are not in the file."""
    builder = LayoutBuilder()
    storage = Storage(Extent("s", 5, 70), "w", zlib.crc32(SOURCE[5:75]))
    builder.check(Tensor("w", DTYPES["U8"], (70,), storage))
    builder.literal(b"only this")
    layout = builder.build()
    data, outcome, _ = made(store, layout)
    assert data == b"only this"
    (number,) = (number for number, piece in enumerate(layout.pieces) if isinstance(piece, Check))
    assert outcome.crcs[number] == zlib.crc32(SOURCE[5:75])


def test_a_recorded_checksum_is_taken(store: MemoryStore) -> None:
    """The bytes of a copy with one are summed as they pass; those of others are not."""
    builder = LayoutBuilder()
    builder.record(Copy(Extent("s", 0, 60), 1))
    builder.copy(Extent("s", 60, 60))
    _, outcome, _ = made(store, builder.build())
    assert outcome.crcs[0] == zlib.crc32(SOURCE[:60])
    assert outcome.crcs[1] is None
