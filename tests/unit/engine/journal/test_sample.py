"""The sampled source blocks of a file: which they are, and what their digest shows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import pytest

from shardctl.engine.journal.sample import BLOCK_BYTES, BLOCKS, sample, sampled
from shardctl.engine.sources import Sources
from shardctl.layout import Assemble, Convert, Elements, Gather, Layout, LayoutBuilder
from shardctl.model import Extent
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put


def layout_of(lengths: Sequence[int]) -> Layout:
    """A file with a literal before each of so many bytes of the source `s`, which are in order."""
    builder = LayoutBuilder()
    offset = 0
    for length in lengths:
        builder.literal(b"header")
        builder.copy(Extent("s", offset, length))
        offset += length
    return builder.build()


SIZES: list[tuple[int, ...]] = [
    (),
    (1,),
    (5, 0, 7),
    (BLOCK_BYTES,),
    (700_000,),
    (10**13,),
    (1,) * 100_000,
    (3, 10**12, 1, 10**12, 5),
    (BLOCK_BYTES - 1,) * 1000,
]


@pytest.mark.parametrize("lengths", SIZES, ids=lambda lengths: f"{len(lengths)} extents")
def test_a_sample_is_bounded_and_spread(lengths: tuple[int, ...]) -> None:
    """Whatever the size, there are few blocks, none overlaps another, and none of the 63 stretches
    between the first and the last byte is without one.
    """
    total = sum(lengths)
    blocks = list(sampled(layout_of(lengths)))
    assert len(blocks) <= BLOCKS
    assert all(0 < block.length <= BLOCK_BYTES for block in blocks)
    assert all(one.end <= next_one.offset for one, next_one in pairwise(blocks))
    if total:
        assert (blocks[0].offset, blocks[-1].end) == (0, total)
        step = total // (BLOCKS - 1) + BLOCK_BYTES
        assert all(next_one.offset - one.end <= step for one, next_one in pairwise(blocks))


@pytest.mark.parametrize("size", [1, 1000, 700_000])
def test_small_sources_are_sampled_whole(size: int) -> None:
    """Of some hundred kilobytes in one piece every byte is in the sample."""
    assert sum(block.length for block in sampled(layout_of([size]))) == size


def digest(layout: Layout, data: bytes) -> str:
    """The sample of a layout whose source has these bytes."""
    store = MemoryStore()
    put(store, "s", data)
    with Sources(store, {"s": store.version("s")}) as sources:
        return sample(layout, sources)


@pytest.mark.parametrize("at", [0, 349_999, 699_999])
def test_a_changed_byte_changes_the_sample(at: int) -> None:
    """The digest is that of the bytes: it is the same for equal ones, and another for others."""
    layout = layout_of([300_000, 400_000])
    data = bytearray(700_000)
    before = digest(layout, bytes(data))
    assert digest(layout, bytes(data)) == before
    data[at] = 1
    assert digest(layout, bytes(data)) != before


def view(offset: int) -> Gather:
    """Six bytes of the source, as two of the four columns of three rows."""
    return Gather(Extent("s", offset, 6), 1, (3, 2), (1, 3))


NESTED = Assemble(1, (3, 2), (((0, 0), view(2)),))
GRID = Assemble(1, (3, 4), (((0, 0), view(20)), ((0, 2), NESTED)))


@pytest.mark.parametrize(
    ("piece", "offsets"),
    [
        (view(2), [2]),
        (GRID, [20, 2]),
        (Convert(view(2), "I8", "BF16"), [2]),
        (Convert(GRID, "I8", "BF16"), [20, 2]),
    ],
    ids=["gathered", "assembled", "converted", "assembled and converted"],
)
def test_elements_of_every_kind_are_sampled(piece: Elements, offsets: list[int]) -> None:
    """Source bytes that are gathered, assembled or converted count as those that are copied."""
    builder = LayoutBuilder()
    builder.record(piece)
    assert list(sampled(builder.build())) == [Extent("s", offset, 6) for offset in offsets]


def test_sources_across_a_network_are_not_sampled() -> None:
    """Where versions are a server's own marks, no block is asked for."""
    from shardctl.stores.remote.store import RemoteStore
    from shardctl.stores.remote.web import WebClient

    layout = layout_of([100, 100])
    store = RemoteStore("https://host", WebClient("https://host"))
    with Sources(store, {}) as sources:
        assert sample(layout, sources) == hashlib.sha256().hexdigest()
    assert store.traffic().requests == 0
