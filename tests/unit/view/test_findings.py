"""Findings as they are shown."""

from __future__ import annotations

from shardctl.findings import Finding
from shardctl.view.findings import counted, placed, shown


def test_texts_are_safe() -> None:
    """Names are escaped, messages lose what cannot be printed, and the offset stays."""
    found = Finding("code", "error", "a\x1b\\n", "h\n", "f\\\n", "t\u202e", 7)
    assert shown(found) == Finding("code", "error", r"a\x1b\n", r"h\n", r"f\\\n", r"t\u202e", 7)
    assert shown(Finding("code", "note", "m", "h")) == Finding("code", "note", "m", "h")


def test_places_by_file() -> None:
    """Only findings with a file and an offset have a place; the file's path can still be opened."""
    first, other, second = (
        Finding("code", "error", "m", "h", file, "t\t", offset)
        for file, offset in (("a\t", 5), ("b", 0), ("a\t", 900))
    )
    nowhere = Finding("code", "error", "m", "h", "a\t")
    assert placed([first, other, nowhere, second]) == {
        "a\t": [shown(first), shown(second)],
        "b": [shown(other)],
    }


def test_severities_are_counted() -> None:
    """Each severity that occurs is named, in the singular where it is one."""
    assert counted({"error": 1, "warning": 0, "note": 1200}) == "1 error, 1,200 notes"
    assert counted({"error": 0}) == ""
