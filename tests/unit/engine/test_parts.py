"""Cutting a file into parts, and folding what became of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardctl.engine import parts
from shardctl.engine.damage import damage
from shardctl.engine.parts import Handled, Outcome, Part, handle_parts, rest, stretches
from shardctl.errors import FormatError
from shardctl.layout import Check, Copy, Crc, Layout, LayoutBuilder, Literal
from shardctl.model import Extent
from shardctl.stores.base import Copied

SOURCE = bytes(range(251)) * 2


def summed_layout(lengths: list[int]) -> Layout:
    """A literal, then copies that follow one another in the source, each with its checksum."""
    builder = LayoutBuilder()
    builder.literal(b"head")
    at = 0
    for length in lengths:
        copy = Copy(Extent("s", at, length), zlib.crc32(SOURCE[at : at + length]))
        builder.crc(Crc(builder.record(copy)))
        at += length
    return builder.build()


def read(part: Part) -> Handled:
    """Sum a part, as if it had been copied inside the kernel."""
    if isinstance(part.piece, Literal):
        return Handled(Copied(buffered=part.piece.nbytes))
    assert isinstance(part.piece, Copy | Check)
    extent = part.piece.extent
    return Handled(Copied(kernel=extent.length), zlib.crc32(SOURCE[extent.offset : extent.end]))


def each(handle: Callable[[Part], Handled]) -> Callable[[list[Part]], list[Handled]]:
    """Handle the parts of a stretch one by one."""
    return lambda stretch: list(map(handle, stretch))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of seven bytes."""
    monkeypatch.setattr(parts, "PART_BYTES", 7)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("threads", [1, 3])
def test_checksums_of_parts_make_those_of_runs(threads: int) -> None:
    """Whatever the cuts and the number of threads, a run's checksum is that of all its bytes."""
    layout = summed_layout([20, 1, 7, 100])
    outcome = handle_parts(layout, threads, each(read))
    assert outcome.copied == Copied(kernel=128, buffered=4)
    for offset, data in rest(layout, outcome):
        run = next(piece for at, piece in layout.placed() if at + piece.nbytes == offset)
        assert isinstance(run, Copy)
        assert int.from_bytes(data, "little") == run.crc32


@given(st.lists(st.integers(1, 40), max_size=8))
def test_parts_cover_the_file_once(lengths: list[int]) -> None:
    """All parts in order are the pieces up to the last source bytes but the checksums, the rest is
    what follows, and no cut run crosses a multiple of the size of a part.
    """
    layout = summed_layout(lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_BYTES", 7)
        groups = list(stretches(layout))
    found = [part for group in groups for part in group]
    assert sum(part.piece.nbytes for part in found) == (4 + sum(lengths) if lengths else 0)
    outcome = Outcome.of(layout)
    outcome.crcs.update(dict.fromkeys(range(len(layout.pieces)), 0))
    after = dict(rest(layout, outcome))
    assert sum(map(len, after.values())) == (4 * len(lengths) or 4)
    copies = [(part.offset, part.piece) for part in found if isinstance(part.piece, Copy)]
    copied = b"".join(SOURCE[copy.extent.offset : copy.extent.end] for _, copy in copies)
    assert copied == SOURCE[: sum(lengths)]
    assert all(offset // 7 == (offset + copy.nbytes - 1) // 7 for offset, copy in copies)
    assert all(sum(part.piece.nbytes for part in group) >= 7 for group in groups[:-1])


@pytest.mark.usefixtures("small_parts")
def test_a_run_that_was_seen_whole_is_checked() -> None:
    """A recorded checksum is compared where every part of a run was summed, and only there."""
    layout = Layout((Copy(Extent("s", 0, 30), 1),), 30)
    seen = handle_parts(layout, 1, each(read))
    with pytest.raises(FormatError, match="recorded 00000001"):
        damage(layout, seen, accept=False)
    unseen = handle_parts(layout, 1, each(lambda part: read(part) if part.offset else Handled()))
    assert unseen.crcs == {0: None}
    assert damage(layout, unseen, accept=False) == ()


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("threads", [1, 3])
def test_checks_are_divided_into_parts(threads: int) -> None:
    """The bytes of a check are summed in parts, each a stretch, and have no place in the file."""
    sound = Check(Extent("s", 3, 40), zlib.crc32(SOURCE[3:43]), "a")
    bad = Check(Extent("s", 50, 30), 1, "b")
    layout = Layout((Literal(b"head"), sound, bad, Copy(Extent("s", 0, 9))), 13)
    groups = list(stretches(layout))
    assert max(sum(part.handled for part in group) for group in groups) <= 13
    outcome = handle_parts(layout, threads, each(read))
    assert outcome.copied.kernel + outcome.copied.buffered == 4 + 40 + 30 + 9
    (found,) = damage(layout, outcome, accept=True)
    assert (found.check, found.found) == (bad, zlib.crc32(SOURCE[50:80]))
    with pytest.raises(FormatError, match="tensor 'b' at byte 50 ") as caught:
        damage(layout, outcome, accept=False)
    error = caught.value
    assert (error.file, error.tensor, error.offset, error.code) == (
        "s", "b", 50, "zip-crc-mismatch",
    )  # fmt: skip
