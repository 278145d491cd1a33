"""The pieces of a file: joined where that is possible, each at its place."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from shardctl.layout import Check, Copy, Crc, Gather, LayoutBuilder, Literal, view_of
from shardctl.model import DTYPES, Extent, Storage, Tensor, whole_blocks
from shardctl.testing.builders import materialise


def test_neighbouring_literals_are_joined() -> None:
    """Known bytes that follow each other are one piece, and empty ones none."""
    builder = LayoutBuilder()
    for data in (b"ab", b"", b"cd"):
        builder.literal(data)
    assert builder.build().pieces == (Literal(b"abcd"),)
    assert LayoutBuilder().build().pieces == ()


def test_runs_are_joined_where_the_source_goes_on() -> None:
    """Runs of one file that meet are one copy; a gap, another file or a step back begins a
    new one.
    """
    builder = LayoutBuilder()
    for extent in (
        Extent("f", 0, 4),
        Extent("f", 4, 4),
        Extent("f", 9, 1),
        Extent("g", 10, 2),
        Extent("g", 10, 2),
    ):
        builder.copy(extent)
    builder.copy(Extent("g", 12, 0))
    layout = builder.build()
    assert layout.pieces == (
        Copy(Extent("f", 0, 8)), Copy(Extent("f", 9, 1)), Copy(Extent("g", 10, 2)),
        Copy(Extent("g", 10, 2)),
    )  # fmt: skip
    assert layout.nbytes == sum(piece.nbytes for piece in layout.pieces) == 13


def test_a_literal_between_two_runs_keeps_them_apart() -> None:
    """Bytes in between stand in between, even where the source goes on."""
    builder = LayoutBuilder()
    builder.copy(Extent("f", 0, 2))
    builder.literal(b"-")
    builder.copy(Extent("f", 2, 2))
    assert materialise(builder.build(), {"f": b"abcd"}) == b"ab-cd"


def test_a_storage_is_checked_once() -> None:
    """The check of a storage has no bytes in the file, comes once, and covers the whole storage."""
    whole = Storage(Extent("f", 64, 16), "0", crc32=9)
    cut = Storage(Extent("f", 68, 8), "of b", cut_from=whole)
    tensors = [
        Tensor("a", DTYPES["F32"], (4,), whole),
        Tensor("b", DTYPES["F32"], (2,), cut),
        Tensor("empty", DTYPES["F32"], (0,), Storage(Extent("f", 0, 4), "1", crc32=9)),
        Tensor("unknown", DTYPES["F32"], (1,), Storage(Extent("f", 0, 4), "2")),
    ]
    builder = LayoutBuilder()
    for tensor in tensors:
        builder.check(tensor)
    assert builder.build().pieces == (Check(Extent("f", 64, 16), 9, "a"),)
    assert builder.build().nbytes == 0


def test_a_recorded_run_is_not_joined() -> None:
    """A piece that a checksum names keeps its own place before and after another run."""
    builder = LayoutBuilder()
    builder.copy(Extent("f", 0, 2))
    at = builder.record(Copy(Extent("f", 2, 2), crc32=5))
    builder.copy(Extent("f", 4, 2))
    assert at == 1
    assert [piece.nbytes for piece in builder.build().pieces] == [2, 2, 2]


def test_a_checksum_is_that_of_the_piece_that_it_names() -> None:
    """The index that `record` returns counts the literal before it."""
    builder = LayoutBuilder()
    builder.literal(b"head")
    at = builder.record(Gather(Extent("f", 0, 4), 1, (2, 2), (1, 2)))
    builder.crc(Crc(at))
    layout = builder.build()
    assert layout.pieces[-1] == Crc(1)
    assert materialise(layout, {"f": b"acbd"}) == b"headabcd" + zlib.crc32(b"abcd").to_bytes(
        4, "little"
    )
    assert layout.nbytes == 12


def test_every_piece_has_its_offset() -> None:
    """Offsets are the sums of the sizes before."""
    builder = LayoutBuilder()
    builder.literal(b"abc")
    at = builder.record(Gather(Extent("f", 0, 12), 4, (3,), (1,)))
    builder.crc(Crc(at))
    builder.copy(Extent("f", 0, 7))
    layout = builder.build()
    assert [offset for offset, _ in layout.placed()] == [0, 3, 15, 19]
    assert layout.nbytes == 26


def test_the_piece_of_a_tensor() -> None:
    """A whole storage goes with its checksum, a part without, a strided view as a gather."""
    storage = Storage(Extent("f", 64, 16), "0", crc32=9)
    whole = Tensor("t", DTYPES["F32"], (4,), storage)
    part = Tensor("t", DTYPES["F32"], (2,), storage, 1)
    turned = Tensor("t", DTYPES["F32"], (2, 2), storage, 0, (1, 2))
    assert view_of(whole) == Copy(Extent("f", 64, 16), 9)
    assert view_of(part) == Copy(Extent("f", 68, 8), None)
    assert view_of(turned) == Gather(Extent("f", 64, 16), 4, (2, 2), (1, 2))


def test_a_gather_has_the_bytes_of_its_elements() -> None:
    """An expanded view has more bytes than its extent, an empty one none."""
    assert Gather(Extent("f", 0, 4), 4, (10,), (0,)).nbytes == 40
    assert Gather(Extent("f", 0, 0), 4, (0, 3), (3, 1)).nbytes == 0


@given(
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.sampled_from([1, 8, 512, 4096]),
)
def test_whole_blocks_are_whole_in_both_files(
    offset: int, source: int, length: int, block: int
) -> None:
    """What is shared begins and ends between blocks of both files, and less than a block is left at
    either end.
    """
    begin, shared = whole_blocks(offset, Extent("f", source, length), block)
    if (offset - source) % block:
        assert (begin, shared) == (0, 0)
    elif shared:
        assert (offset + begin) % block == (source + begin) % block == shared % block == 0
        assert 0 <= begin < block
        assert 0 <= length - begin - shared < block
    else:
        assert length < 2 * block


def test_a_layout_counts_what_it_can_share() -> None:
    """Only runs that stand alike in both files, and only their whole blocks, need no room."""
    builder = LayoutBuilder()
    builder.literal(b"-" * 4)
    builder.copy(Extent("f", 20, 30))
    builder.copy(Extent("g", 21, 30))
    layout = builder.build()
    assert layout.shareable(8) == 24
    assert layout.shareable(64) == 0
