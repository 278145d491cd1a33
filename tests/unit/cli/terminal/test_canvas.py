"""A drawing fits the terminal, and has only characters that it can show."""

from __future__ import annotations

import io
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.text import Text

from shardctl.cli.terminal.canvas import (
    ASCII,
    BLOCKS,
    Canvas,
    Glyphs,
    Page,
    canvas,
    drawn,
    glyphs_for,
)
from shardctl.text import LEFT_TO_RIGHT_MARK, MOST_COLUMNS, cells, escape


def stream(encoding: str | None) -> io.TextIOWrapper:
    """A stream of an encoding; None for one that has none."""
    if encoding is None:
        return io.StringIO()  # type: ignore[return-value] # a text stream without an encoding
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


# characters


@pytest.mark.parametrize(
    ("encoding", "env", "glyphs"),
    [
        ("utf-8", {"LANG": "de_DE.UTF-8"}, BLOCKS), ("utf-8", {}, BLOCKS), (None, {}, BLOCKS),
        ("utf-8", {"LC_ALL": "C"}, ASCII), ("utf-8", {"TERM": "dumb"}, ASCII),
        ("utf-8", {"LANG": "POSIX"}, ASCII), ("utf-8", {"LC_CTYPE": "C"}, ASCII),
        ("utf-8", {"LC_ALL": "C.UTF-8", "LC_CTYPE": "C", "LANG": "C"}, BLOCKS),
        ("utf-8", {"LC_ALL": "", "LC_CTYPE": "en_US.UTF-8", "LANG": "C"}, BLOCKS),
        ("utf-8", {"TERM": "xterm"}, BLOCKS),
        ("cp1252", {}, ASCII), ("ascii", {}, ASCII), ("gb18030", {}, BLOCKS),
    ],
)  # fmt: skip
def test_characters_that_can_be_shown(
    encoding: str | None, env: dict[str, str], glyphs: Glyphs
) -> None:
    """Blocks only where the encoding, the locale and the terminal have them; of the variables the
    first that is set decides.
    """
    assert glyphs_for(stream(encoding), env) is glyphs


def test_without_a_stream_blocks_are_drawn() -> None:
    """A program without stdout can still make text."""
    assert glyphs_for(None, {}) is BLOCKS


def test_characters_take_as_many_columns_as_they_should() -> None:
    """Bars are measured in columns: each of their characters takes one, in either set."""
    for glyphs in (BLOCKS, ASCII):
        for field in fields(Glyphs):
            if field.name in ("ellipsis", "arrow"):
                continue
            for character in "".join(getattr(glyphs, field.name)):
                assert cells(character) == 1, field.name
        assert len(glyphs.shades) >= 4
        assert len(set(glyphs.shades)) == len(glyphs.shades)
    assert all(
        character.isascii() for field in fields(Glyphs) for character in getattr(ASCII, field.name)
    )


# names and messages


def test_names_keep_the_line_in_order() -> None:
    """What follows a name that is written from right to left stays at its place; turned text is
    written out.
    """
    on = Canvas(80)
    assert on.name("שלום") == "שלום" + LEFT_TO_RIGHT_MARK
    assert on.name("a\u202eb") == r"a\u202eb"
    assert Canvas(80, ASCII).name("ü שלום") == r"\xfc \u05e9\u05dc\u05d5\u05dd"


def test_a_name_is_escaped_once() -> None:
    """Whether the canvas does it or its caller has."""
    on = Canvas(80)
    assert on.name("a\n\\b") == on.escaped(escape("a\n\\b")) == r"a\n\\b"
    assert on.name("") == ""


@pytest.mark.parametrize("on", [Canvas(80), Canvas(80, ASCII), Canvas(80, BLOCKS, "cp1252")])
@given(name=st.text(max_size=40), width=st.integers(-1, 30))
@settings(max_examples=30)
def test_a_name_fits(on: Canvas, name: str, width: int) -> None:
    """Whatever it is, it takes at most the columns that it may, and at least one is allowed."""
    text = on.name(name, width)
    assert cells(text) <= max(width, 1)
    text.encode("ascii" if on.glyphs is ASCII else on.encoding)
    assert "\n" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("on", [Canvas(80), Canvas(80, ASCII)])
@pytest.mark.parametrize("width", [None, 10_000])
@pytest.mark.parametrize(
    "name", ["x" * 100_000, "漢" * 100_000, "\n" * 100_000], ids=["plain", "wide", "escaped"]
)
def test_no_name_is_endless(on: Canvas, width: int | None, name: str) -> None:
    """The middle of a very long one is left out, however wide the terminal is."""
    text = on.name(name, width)
    assert 400 < cells(text) <= MOST_COLUMNS
    assert on.glyphs.ellipsis in text


def test_a_message_keeps_what_can_be_shown() -> None:
    """Backslashes stay; control characters, and what the encoding lacks, are written out."""
    message = "C:\\models → 漢\x1b[2J"
    assert Canvas(80).text(message) == "C:\\models → 漢\\x1b[2J"
    assert Canvas(80, BLOCKS, "latin-1").text(message) == "C:\\models \\u2192 \\u6f22\\x1b[2J"
    assert Canvas(80, ASCII, "utf-8").text(message) == "C:\\models \\u2192 \\u6f22\\x1b[2J"


# drawing


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment changes what is drawn."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_the_canvas_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    """Its width is the user's on a dumb one too, and its characters are those of stdout."""
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", "53")
    monkeypatch.setattr("sys.stdout", stream("ascii"))
    assert canvas() == Canvas(53, ASCII, "ascii")


def test_a_page_has_the_encoding_of_its_stream() -> None:
    """Rich draws ASCII where that is all there is."""
    assert Page(BLOCKS, "utf-8").encoding == "utf-8"
    assert Page(ASCII, "utf-8").encoding == "ascii"


def test_parts_are_drawn_one_after_another() -> None:
    """Each ends its line; with none there is no text."""
    on = Canvas(20)
    assert drawn(on) == ""
    assert drawn(on, "one", Text("two"), terminal=False) == "one\ntwo\n"


def test_names_are_not_markup() -> None:
    """Brackets, numbers and the names of emoji stay as they are."""
    text = "[red]x[/red] 12 :smile: [link=x]"
    assert drawn(Canvas(80), text) == f"{text}\n"


def test_lines_fit_the_canvas() -> None:
    """A longer text is continued on the next line."""
    lines = drawn(Canvas(10), "word " * 10).splitlines()
    assert len(lines) > 1
    assert max(map(cells, lines)) <= 10


@pytest.mark.parametrize(
    ("env", "terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({}, None, False),
        ({"FORCE_COLOR": "1"}, None, True),
        ({"NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, None, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], *, terminal: bool | None, coloured: bool
) -> None:
    """Not in a pipe, a dumb terminal, or where the user wants none."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    text = drawn(Canvas(20), Text("x", style="red"), terminal=terminal)
    assert ("\x1b[31m" in text) is coloured
    assert "x" in text
