"""What `verify` draws of findings: each with its hint, and where in its file it is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rich.text import Text

from shardctl.cli.terminal.canvas import ASCII, Canvas
from shardctl.cli.terminal.findings import MOST_FILES, MOST_MARKS, findings, measure_of
from shardctl.findings import Finding, Severity
from shardctl.testing.builders import safetensors_bytes
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights


def finding(
    file: str | None = "f",
    offset: int | None = None,
    tensor: str | None = None,
    severity: Severity = "error",
    message: str = "bad",
) -> Finding:
    """A finding at a place."""
    return Finding("zip-crc-mismatch", severity, message, "fetch it", file, tensor, offset)


def lines_of(
    found: Sequence[Finding],
    measured: tuple[int, int | None] | None = (1000, 10),
    on: Canvas | None = None,
) -> list[str]:
    """The lines that are drawn, where each file is as large as `measured`."""
    parts = findings(found, lambda _: measured, on or Canvas(80))
    return [line for part in parts if isinstance(part, Text) for line in part.plain.split("\n")]


# findings


def test_nothing_is_drawn_of_nothing() -> None:
    """Without findings there are no lines."""
    assert lines_of([]) == []


@pytest.mark.parametrize(
    ("file", "tensor", "where"),
    [
        ("f", "w", "f, w: "),
        ("f", None, "f: "),
        (None, "w", "w: "),
        (None, None, ""),
        ("", "", ", : "),
    ],
)
def test_a_finding_has_its_place_and_its_hint(
    file: str | None, tensor: str | None, where: str
) -> None:
    """File and tensor come before the message, as far as there are any; the hint is below."""
    assert lines_of([finding(file, tensor=tensor)]) == [
        f"error zip-crc-mismatch  {where}bad",
        "    → fetch it",
    ]
    assert lines_of([finding(file, tensor=tensor)], on=Canvas(80, ASCII))[1] == "    -> fetch it"


@pytest.mark.parametrize("severity", ["error", "warning", "note"])
def test_each_severity_has_a_style(severity: Severity) -> None:
    """It is the first word of its line."""
    (line,) = findings([finding(severity=severity)], lambda _: None, Canvas(80))
    assert isinstance(line, Text)
    assert line.plain.startswith(f"{severity} ")
    assert line.spans[0].style


def test_names_and_messages_are_safe() -> None:
    """Control characters are written out, once."""
    first, *_ = lines_of([finding("a\n", tensor="b\\c\x1b", message="C:\\x\x1b")])
    assert first == "error zip-crc-mismatch  a\\n, b\\\\c\\x1b: C:\\x\\x1b"


# places


def test_only_findings_with_a_place_in_a_file_are_drawn() -> None:
    """Those of one file are together, and a file that cannot be measured is left out."""
    found = [
        finding("a", 5, "w"),
        finding("a", 900, "w"),
        finding("b"),
        finding("gone", 1),
        finding(None, 3),
    ]
    text = "\n".join(
        line.plain
        for line in findings(found, lambda path: (1000, 10) if path == "a" else None, Canvas(80))
        if isinstance(line, Text)
    )
    assert text.count("▲") == 2
    assert text.count("1.0 KB") == 1
    assert "▓ header" in text


def test_places_are_in_the_order_of_the_file() -> None:
    """Whatever the order in which they were found; a place at the first byte is one."""
    lines = lines_of([finding(offset=900), finding(offset=0), finding(offset=1_500)])
    marks = [line.strip() for line in lines if "▲" in line]
    assert [mark.partition(" zip")[0].partition("byte ")[2] for mark in marks] == [
        "0",
        "900",
        "1,500",
    ]


def test_without_a_header_there_is_no_legend() -> None:
    """A zip begins with no header: its bar is of one shade."""
    assert any("header" in line for line in lines_of([finding(offset=1)], (1000, 10)))
    assert not any("header" in line for line in lines_of([finding(offset=1)], (1000, None)))


def test_many_places_are_folded() -> None:
    """Of hundreds of places in hundreds of files some are drawn, and the others counted."""
    found = [finding(f"f{file}", offset) for file in range(30) for offset in range(20)]
    lines = lines_of(found, (100, None))
    assert sum("▲" in line for line in lines) == 48
    assert "… 22 more files with findings" in lines
    assert lines.count("  … 14 more places") == 8


def test_as_many_as_fit_are_not_folded() -> None:
    """Nothing is said to be more where all is drawn."""
    found = [finding(f"f{file}", at) for file in range(MOST_FILES) for at in range(MOST_MARKS)]
    lines = lines_of(found)
    assert sum("▲" in line for line in lines) == MOST_FILES * MOST_MARKS
    assert not any("more" in line for line in lines)


@pytest.mark.parametrize("width", [20, 40, 200])
def test_long_names_of_files_fit(width: int) -> None:
    """The size that follows the name is whole."""
    lines = lines_of([finding("x" * 500, 1)], on=Canvas(width))
    (title,) = [line for line in lines if line.endswith("1.0 KB")]
    assert len(title) < width


# measuring


@pytest.mark.parametrize("name", ["m.safetensors", "m.bin"])
def test_files_are_measured(name: str) -> None:
    """The size, and where the header ends in a format that begins with one."""
    store = MemoryStore()
    data = weights({"w": b"12345678"}, "bin" if name.endswith("bin") else "safetensors")
    put(store, name, data)
    header = None if name.endswith("bin") else len(data) - 8
    assert measure_of(store)(name) == (len(data), header)


def test_a_file_of_no_format_has_a_size_only() -> None:
    """A damaged one too, where its header cannot be made out."""
    store = MemoryStore()
    put(store, "x", b"")
    put(store, "y", safetensors_bytes({"w": b"1"})[:20])
    assert measure_of(store)("x") == (0, None)
    assert measure_of(store)("y") == (20, None)


def test_what_cannot_be_opened_is_not_measured() -> None:
    """It does not exist, or is a directory."""
    store = MemoryStore()
    store.make_directory("d")
    assert measure_of(store)("d") is None
    assert measure_of(store)("none") is None
