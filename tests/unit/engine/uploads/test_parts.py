"""Files are cut into parts that a store takes, and the server copies what it can."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardctl.engine.uploads.parts import COPIED_BYTES, SENT_BYTES, PlannedPart, plan_parts
from shardctl.errors import UsageError
from shardctl.layout import Copy, Layout, Literal, Piece
from shardctl.model import Extent
from shardctl.stores.uploads import PartLimits

MIB = 1024 * 1024
S3 = PartLimits(5 * MIB, 5 * 1024 * MIB, 10_000)
SMALL = PartLimits(8, 64, 1_000)


def layout(*pieces: Piece) -> Layout:
    """The layout of these pieces."""
    return Layout(pieces, sum(piece.nbytes for piece in pieces))


def copy(nbytes: int, path: str = "s", offset: int = 0) -> Copy:
    """A copy of so many bytes."""
    return Copy(Extent(path, offset, nbytes))


def shape(parts: Sequence[PlannedPart]) -> list[tuple[int, int | None]]:
    """The bytes of each part, and where the range that is copied begins in its file."""
    return [(part.nbytes, part.extent.offset if part.extent else None) for part in parts]


def test_everything_is_sent_in_parts_of_one_size() -> None:
    """Without a server that copies, only the last part is smaller."""
    parts = plan_parts(layout(Literal(b"head"), copy(3 * SENT_BYTES)), S3, lambda _: False)
    assert shape(parts) == [(SENT_BYTES, None)] * 3 + [(4, None)]


def test_a_header_goes_with_the_first_bytes_after_it() -> None:
    """A part has 5 MiB at least, so the beginning of the copied range is sent with the header."""
    parts = plan_parts(layout(Literal(b"x" * 100), copy(40 * MIB, offset=7)), S3, lambda _: True)
    assert shape(parts) == [(5 * MIB, None), (35 * MIB + 100, 7 + 5 * MIB - 100)]


def test_small_neighbours_are_sent_between_copies() -> None:
    """What is too small for a part is sent with the first bytes of the next range."""
    parts = plan_parts(
        layout(copy(20 * MIB), copy(MIB, "t"), copy(MIB, "u"), copy(20 * MIB, "v")),
        S3,
        lambda _: True,
    )
    assert shape(parts) == [(20 * MIB, 0), (5 * MIB, None), (17 * MIB, 3 * MIB)]


def test_the_last_part_may_be_small() -> None:
    """A range at the end is copied however small it is, where nothing has to be sent before it."""
    parts = plan_parts(layout(copy(20 * MIB), copy(3, "t")), S3, lambda _: True)
    assert shape(parts) == [(20 * MIB, 0), (3, 0)]


def test_an_empty_file_has_a_part() -> None:
    """Its part has no bytes."""
    assert shape(plan_parts(layout(), S3, lambda _: True)) == [(0, None)]


def test_a_shard_of_usual_size_is_copied_but_for_its_beginning() -> None:
    """Of 5 GB some 0.1 % are sent, in parts that the server copies at once."""
    parts = plan_parts(layout(Literal(b"x" * 50_000), copy(5_000_000_000)), S3, lambda _: True)
    assert sum(part.nbytes for part in parts if part.extent is None) < 0.002 * 5_000_000_000
    assert all(part.nbytes < 2 * COPIED_BYTES for part in parts)


def test_a_file_of_a_terabyte_has_few_enough_parts() -> None:
    """A large file has larger parts, also where it is made of a hundred thousand ranges."""
    pieces = [copy(10_000_000, offset=number * 20_000_000) for number in range(100_000)]
    parts = plan_parts(layout(*pieces), S3, lambda _: True)
    assert len(parts) <= S3.count
    assert sum(part.nbytes for part in parts) == 10**12


def test_a_file_that_no_upload_can_hold_is_refused() -> None:
    """The error says what helps."""
    with pytest.raises(UsageError, match="too large") as caught:
        plan_parts(layout(copy(30 * 10**12)), S3, lambda _: False)
    assert "max_shard_size" in caught.value.hint


@given(
    pieces=st.lists(
        st.one_of(
            st.integers(1, 40).map(lambda nbytes: Literal(bytes(nbytes))),
            st.tuples(st.integers(1, 300), st.integers(0, 50)).map(
                lambda each: copy(each[0], offset=each[1])
            ),
        ),
        max_size=12,
    ),
    copied=st.sets(st.integers(0, 12)),
)
def test_parts_cover_the_file_within_the_limits(pieces: list[Piece], copied: set[int]) -> None:
    """They follow each other, each of a size that is allowed, and copies are where they belong."""
    file = layout(*pieces)
    parts = plan_parts(file, SMALL, copied.__contains__)
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    end = 0
    placed = {offset: piece for offset, piece in file.placed() if isinstance(piece, Copy)}
    for part in parts:
        assert part.offset == end
        end += part.nbytes
        assert part.nbytes <= SMALL.most
        assert part.nbytes >= SMALL.least or part is parts[-1]
        if part.extent is not None:
            home = max(offset for offset in placed if offset <= part.offset)
            whole = placed[home].extent
            assert part.extent == whole.part(part.offset - home, part.nbytes)
    assert end == file.nbytes
