"""Texts shortened and escaped, however long they are."""

from __future__ import annotations

import tracemalloc

import pytest

from shardctl.text import cells, elide, escape, last_parts, printable, some


@pytest.mark.parametrize("character", ["a", ".", "\u0301", "漢", "\x7f", "\u05d0", "\\"])
def test_a_name_of_a_million_characters_is_shortened(character: str) -> None:
    """Both ends are kept in the columns that there are, in memory that follows the length."""
    name = f"first{character * 1_000_000}last"
    tracemalloc.start()
    try:
        short = elide(escape(name), 40)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert cells(short) <= 40
    assert short.startswith("first")
    assert short.endswith("last")
    assert "…" in short
    assert peak < 16 * len(name.encode())


def test_every_character_is_escaped_alike_each_time() -> None:
    """What is invisible, moves the cursor or turns the text round is written by its number; a
    backslash only where names are.
    """
    name = "a\\b\t\x1b\u202e\U000e0001é"
    for _ in range(2):
        assert escape(name) == r"a\\b\t\x1b\u202e\U000e0001é"
        assert printable(name) == r"a\b\t\x1b\u202e\U000e0001é"


def test_a_list_of_texts_is_cut() -> None:
    """As many as were asked for are listed, and the others counted."""
    assert some([]) == ""
    assert some(["a", "b"], 2) == "a, b"
    assert some(["a"] * 1234, 2) == "a, a, and 1,232 more"


@pytest.mark.parametrize(
    ("width", "shown"),
    [(17, "layers.9.q.weight"), (16, "…9.q.weight"), (10, "…q.weight"), (7, "…weight"),
     (6, "weight")],
)  # fmt: skip
def test_a_name_keeps_its_last_parts(width: int, shown: str) -> None:
    """The first parts are left out until the rest fits; the last one alone is elided."""
    assert last_parts("layers.9.q.weight", width) == shown
