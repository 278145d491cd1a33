"""Charts made of characters: they fit, they are to scale, and no name can harm them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardctl.cli.terminal.canvas import ASCII, BLOCKS, Canvas, Glyphs
from shardctl.cli.terminal.charts import (
    MOST_ROWS,
    Mark,
    bar,
    file_map,
    files,
    label,
    ruler,
    shares,
)
from shardctl.text import LEFT_TO_RIGHT_MARK, cells, elide, escape, fitted
from shardctl.view.files import Bars, Ending, FileBar, Stretch
from shardctl.view.shares import Share
from shardctl.view.shares import shares as shares_of

if TYPE_CHECKING:
    from rich.text import Text

MB = 1000 * 1000
WIDTHS = (40, 60, 80, 200)
HOSTILE = (
    "[red]x[/red]", "line\nbreak", "esc\x1b[2Jape", "bidi\u202etxt", "名前" * 50, "e\u0301" * 120,
    "שלום.עולם", "", "x" * 200,
)  # fmt: skip


def plain(lines: Iterable[Text]) -> list[str]:
    """The lines without their colours."""
    return [line.plain for line in lines]


def numbered(count: int, nbytes: int = 50 * MB) -> Bars:
    """The files of a numbered set, without a limit."""
    return Bars(
        tuple(
            FileBar(f"model-{n:05d}-of-{count:05d}.safetensors", nbytes, nbytes + 100, 7)
            for n in range(1, count + 1)
        )
    )


def parts(sizes: Iterable[int], scale: int) -> tuple[Share, ...]:
    """Parts of those sizes."""
    return shares_of(((str(n), size, 1) for n, size in enumerate(sizes)), scale)


def stretch(sizes: Iterable[int], scale: int) -> Stretch:
    """Files of those sizes, one after another."""
    return Stretch("before", "bin", parts(sizes, scale), scale)


# names in columns


@given(st.text(), st.integers(1, 60))
def test_elided_names_fit(text: str, width: int) -> None:
    """A shortened text takes no more columns than it may, and a fitted one exactly as many."""
    assert cells(elide(text, width)) <= width
    assert cells(fitted(text, width)) == width


def test_names_are_shortened_in_the_middle() -> None:
    """Both ends of a name stay, no character is parted from its marks, and no escape is cut."""
    assert elide("model.layers.0.weight", 11) == "model…eight"
    assert elide("e\u0301" * 10, 5) == "e\u0301e\u0301…e\u0301e\u0301"
    assert elide("名前名前", 6) == "名…前"
    assert elide("abcdef", 3, "...") == "abc"
    assert elide(r"\u05e9\u05db\u05d1", 14, "...") == r"\u05e9..."
    assert elide(r"a\\b" * 3, 6) == r"a\\b…b"


@pytest.mark.parametrize(
    ("width", "text"),
    [(40, "model-00003-of-00012.bin"), (15, "shard 3 of 12"), (8, "3 of 12"), (3, "3")],
)
def test_numbered_names_stay_distinct(width: int, text: str) -> None:
    """A numbered file whose name does not fit is shown by its number."""
    assert label("model-00003-of-00012.bin", width, Canvas(80)) == text


# bars


@given(
    st.integers(0, 10**13),
    st.integers(1, 10**12),
    st.integers(1, 200),
    st.sampled_from([BLOCKS, ASCII]),
)
def test_bars_are_to_scale(nbytes: int, scale: int, width: int, glyphs: Glyphs) -> None:
    """A bar is as wide as it should be, within one part of a column; something is never nothing."""
    line = bar(nbytes, scale, width, Canvas(80, glyphs), style="").plain
    assert len(line) == width
    if nbytes > scale:
        assert line.endswith(glyphs.onward)
    else:
        filled = len(line.rstrip(glyphs.empty))
        assert filled == -(-nbytes * width // scale)


def test_the_limit_is_marked_where_it_lies() -> None:
    """A limit below the scale has its mark, in a bar that is past it too."""
    on = Canvas(80)
    assert bar(5, 10, 10, on, style="", limit=8).plain == "█████···│·"
    assert bar(10, 10, 10, on, style="", limit=5).plain == "█████│████"
    assert bar(5, 10, 10, on, style="", limit=10).plain == "█████·····"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("glyphs", [BLOCKS, ASCII])
@pytest.mark.parametrize("limit", [None, 60 * MB, 20 * MB])
@pytest.mark.parametrize("names", [["only.bin"], [], list(HOSTILE)])
def test_files_fit(width: int, glyphs: Glyphs, limit: int | None, names: list[str]) -> None:
    """One row a file, all of one width that fits, whatever the names and the limit."""
    on = Canvas(width, glyphs)
    bars = Bars(tuple(FileBar(escape(name), 50 * MB, 50 * MB, 3) for name in names), limit)
    heading, *drawn = plain(files(bars, on, "shard"))
    assert len(drawn) == len(names)
    assert {cells(line) for line in (heading, *drawn)} == {cells(heading)}
    assert cells(heading) < width
    assert "".join(drawn).isprintable() or LEFT_TO_RIGHT_MARK in "".join(drawn)
    assert glyphs is BLOCKS or "".join(drawn).isascii()


@pytest.mark.parametrize("width", WIDTHS)
def test_many_files_are_folded(width: int) -> None:
    """Of hundreds of files the first and the last are shown, and how many lie between."""
    lines = plain(files(numbered(260), Canvas(width), "shard"))
    assert len(lines) == MOST_ROWS + 2
    assert lines[1 + MOST_ROWS // 2] == "… 240 more, 12.0 GB"
    assert "260" in lines[-1].split()[0]
    assert len(plain(files(numbered(21), Canvas(width), "shard"))) == 22


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("ending", "begin", "end", "least"),
    [
        (Ending("w" * 90, 9_400_000, 10), "did not fit: ww", ", 9.4 MB into 10 B", 60),
        (Ending("w" * 90, 7000, 5000, alone=True), "over the limit by", ", 2.0 KB too large", 80),
    ],
)
def test_why_a_file_ends_is_below_it(
    width: int, ending: Ending, begin: str, end: str, least: int
) -> None:
    """The reason is below its row, with the name shortened to what is left of the line, and without
    sizes where there are fewer than `least` columns.
    """
    file = FileBar("model-00001-of-00002.bin", 50 * MB, 50 * MB, 3, ending)
    note = plain(files(Bars((file,), 60 * MB), Canvas(width), "shard"))[2]
    assert note.startswith(f"  └ {begin}")
    assert cells(note) < width
    assert note.endswith(end) == (width >= least)


# before and after, shares


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=300), st.integers(8, 200))
def test_rulers_have_one_width(sizes: list[int], width: int) -> None:
    """However many files, a ruler is as wide as it should be, and ends where the last file does."""
    line = ruler(stretch(sizes, max(sum(sizes), 1)), width, Canvas(80)).plain
    assert len(line) == width
    assert line[0] in "├┤"
    assert (line[-1] == "┤") == (sum(sizes) > 0)


def test_rulers_are_scaled_alike() -> None:
    """Half as many bytes are half as long, and stretches with room are numbered."""
    on = Canvas(80)
    assert ruler(stretch([50, 50], 100), 21, on).plain == "├─── 1 ───┼─── 2 ───┤"
    assert ruler(stretch([50], 100), 21, on).plain.rstrip() == "├─── 1 ───┤"
    assert ruler(stretch([10] * 10, 100), 21, Canvas(80, ASCII)).plain == "|-|-|-|-|-|-|-|-|-|-|"


@given(st.lists(st.integers(0, 10**9), max_size=12), st.integers(20, 200))
def test_shares_fill_the_width(sizes: list[int], width: int) -> None:
    """A bar of shares has its whole width, and a column at least for each part that is there."""
    line = shares(parts(sizes, sum(sizes)), width, Canvas(80))
    assert len(line.plain) == (width if any(sizes) else 0)
    assert len(line.spans) == sum(size > 0 for size in sizes)
    assert all(span.end > span.start for span in line.spans)


# places in a file


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("offset", [0, 10, 4999, 5000, 9999, 10_000, 10**15])
def test_a_place_is_pointed_at(width: int, offset: int) -> None:
    """The pointer is below its place in the bar, one past the end at the end; the line fits."""
    mark = Mark(offset, f"byte {offset} zip-crc-mismatch", "layer." * 40, "red")
    line, pointer = plain(file_map(10_000, 300, [mark], Canvas(width)))
    assert line.startswith("  ▓" if offset >= 300 else "  █")
    assert pointer.index("▲") == 2 + min(offset * (width - 3) // 10_000, width - 4)
    assert cells(pointer) < width
    assert "zip-crc" in pointer or width < 60
