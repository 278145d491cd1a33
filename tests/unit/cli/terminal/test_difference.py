"""What `diff` draws: the tensors that differ, by how they do, each on a line that fits."""

from __future__ import annotations

import pytest

from shardctl.cli.terminal.canvas import ASCII, BLOCKS, Canvas, Glyphs
from shardctl.cli.terminal.difference import MOST_LISTED, difference
from shardctl.commands.diff import Change, Difference, What
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.streams.statistics import Distance
from shardctl.text import cells


def tensor(dtype: str = "F32", *shape: int) -> Tensor:
    """A tensor of one of the two."""
    nbytes = DTYPES[dtype].nbytes(1)
    for size in shape:
        nbytes *= size
    return Tensor("w", DTYPES[dtype], shape, Storage(Extent("f", 0, nbytes), "w"))


def change(name: str, what: What = "bytes", distance: Distance | None = None) -> Change:
    """A tensor that differs."""
    a = None if what == "added" else tensor("F32", 2, 3)
    b = None if what == "removed" else tensor("BF16" if what == "dtype" else "F32", 2, 3)
    return Change(name, what, a, b, distance)


def lines_of(*changes: Change, on: Canvas | None = None, stats: bool = False) -> list[str]:
    """The lines that are drawn."""
    found = Difference("a", "b", 0, changes, 0, (), ())
    return [line.plain for line in difference(found, on or Canvas(60), stats=stats)]


def test_nothing_is_drawn_of_equal_checkpoints() -> None:
    """Not even a heading."""
    assert lines_of() == []


def test_each_kind_has_its_heading() -> None:
    """Kinds come in one order; within a kind tensors stay in theirs, and are counted."""
    lines = lines_of(
        change("z"), change("y", "shape"), change("a"), change("x", "dtype"),
        change("w", "added"), change("v", "removed"),
    )  # fmt: skip
    assert [line.partition(":")[0] for line in lines if line and line[0] != " "] == [
        "only in A", "only in B", "another type", "another shape", "other bytes",
    ]  # fmt: skip
    assert lines[-4] == "other bytes: 2 tensors"
    assert [line.split()[0] for line in lines[-3:-1]] == ["z", "a"]
    assert lines.count("") == 5


@pytest.mark.parametrize("glyphs", [BLOCKS, ASCII], ids=["blocks", "ascii"])
def test_both_sides_are_shown_where_they_differ(glyphs: Glyphs) -> None:
    """Of one side, and of two that are of one type and shape, there is one text; and the larger
    size of the two.
    """
    on = Canvas(60, glyphs)
    small, large = tensor("F32", 2), tensor("F32", 2000)
    _, row, _ = lines_of(Change("w", "shape", small, large), on=on)
    assert row.split("  ", 2)[2].lstrip() == f"F32 2 {glyphs.arrow} F32 2000    8.0 KB"
    _, row, _ = lines_of(Change("w", "shape", large, small), on=on)
    assert row.split()[-2:] == ["8.0", "KB"]
    for what in ("bytes", "added", "removed"):
        _, row, _ = lines_of(change("w", what), on=on)
        assert row.split("  ", 2)[2].lstrip() == f"F32 2 {glyphs.times} 3      24 B"


def test_how_far_apart_is_said_where_it_was_asked_for() -> None:
    """Below the tensor, with the largest and the mean difference where there are any."""
    near = change("w", distance=Distance(3, 0.5, 0.25))
    far = change("v", distance=Distance(1, None, None))
    plain = change("u")
    assert len(lines_of(near, far, plain)) == 5
    lines = lines_of(near, far, plain, stats=True)
    assert lines[2] == "    3 elements changed, by 0.5 at most and 0.25 on average"
    assert lines[4] == "    1 element changed"
    assert len(lines) == 7


@pytest.mark.parametrize("more", [0, 1, 3])
def test_a_long_list_is_cut(more: int) -> None:
    """Each kind has its limit, and what is left out is counted."""
    lines = lines_of(
        *(change(f"w{number}") for number in range(MOST_LISTED + more)),
        *(change(f"v{number}", "added") for number in range(2)),
    )
    assert len(lines) == 4 + 2 + MOST_LISTED + bool(more)
    assert (f"  … {more} more" in lines) is bool(more)


@pytest.mark.parametrize("width", [40, 60, 200])
@pytest.mark.parametrize(
    "name",
    ["w", "layer." * 40 + "w", "漢" * 100, "\n" * 100],
    ids=["short", "long", "wide", "escaped"],
)
def test_rows_fit_and_end_together(width: int, name: str) -> None:
    """Whatever the name, sizes are below each other."""
    _, first, second, _ = lines_of(change(name), change("x"), on=Canvas(width))
    assert cells(first) == cells(second) == width - 1


def test_a_narrow_terminal_shows_some_of_a_name() -> None:
    """Eight columns at least, and a space before what follows."""
    _, row, _ = lines_of(change("abcdefghijklmnop"), on=Canvas(10))
    assert row.startswith("  abcd…nop  F32 ")
