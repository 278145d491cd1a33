"""What `inspect --stats` draws: every line fits, and what is wrong comes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from shardctl.cli.terminal.canvas import ASCII, Canvas
from shardctl.cli.terminal.numbers import MOST_LISTED, numbers
from shardctl.commands.inspect import Inspection, inspect
from shardctl.streams.statistics import Statistics
from shardctl.testing.memory import MemoryStore
from shardctl.text import cells
from tests.support.memory_checkpoints import put, weights

PLAIN = Statistics(-1.5, 2.25, 0.125, 0, 0, 0)


def inspection(
    statistics: Mapping[str, Statistics | None] | None, nbytes: int = 1000
) -> Inspection:
    """A checkpoint of tensors with these numbers, each of so many elements."""
    store = MemoryStore()
    names = statistics or {"w": None}
    put(store, "m/model.safetensors", weights({name: bytes(nbytes) for name in names}))
    return replace(inspect(store, "m", key=None), statistics=statistics)


def lines_of(found: Inspection, on: Canvas | None = None) -> list[str]:
    """The lines that are drawn."""
    return [line.plain for line in numbers(found, on or Canvas(100))]


def fields_of(numbers: Statistics, elements: int = 1000) -> list[str]:
    """The numbers in the row of one tensor."""
    *_, row = lines_of(inspection({"w": numbers}, elements))
    name, *fields = row.split()
    assert name == "w"
    return fields


def test_nothing_is_drawn_that_was_not_asked_for() -> None:
    """Without statistics there is not even a heading."""
    assert lines_of(inspection(None)) == []


def test_without_tensors_there_is_a_heading() -> None:
    """It says that nothing was summed up."""
    assert len(lines_of(inspection({}))) == 2


def test_a_row_has_six_numbers() -> None:
    """In the order of the heading."""
    _, heading, row = lines_of(inspection({"w": PLAIN}))
    assert heading.split() == ["numbers", "min", "max", "mean", "NaN", "Inf", "zeros"]
    assert row.split() == ["w", "-1.5", "2.25", "0.125", "0", "0", "0"]
    assert cells(row) == cells(heading) == 99


def test_numbers_that_there_are_none_of() -> None:
    """Where no element is finite there is a dash, and where all are alike that is said."""
    assert fields_of(Statistics(None, None, None, 1000, 0, 0)) == ["-", "-", "-", "all", "0", "0"]
    assert fields_of(Statistics(0.0, 0.0, 0.0, 0, 0, 1000)) == ["0", "0", "0", "0", "0", "all"]
    assert fields_of(replace(PLAIN, mean=None))[2] == "-"


@pytest.mark.parametrize(
    ("count", "elements", "text"),
    [
        (0, 1000, "0"),
        (1, 1000, "1"),
        (999, 1000, "999"),
        (1000, 1000, "all"),
        (9_999, 100_000, "9,999"),
        (10_000, 100_000, "10.0%"),
        (10_000, 10_000, "all"),
        (20_000, 50_000_000, "<0.1%"),
    ],
)
def test_numbers_of_elements_are_counts_or_shares(count: int, elements: int, text: str) -> None:
    """A few are counted; of more their share is given, which fits its column."""
    found = inspection({"w": replace(PLAIN, nan=count)}, 4)
    (tensor,) = found.tensors
    found = replace(found, tensors=(replace(tensor, shape=(elements,)),))
    assert lines_of(found)[-1].split()[4] == text


@pytest.mark.parametrize(("zeros", "text"), [(0, "0"), (1, "0.1%"), (500, "50.0%"), (1000, "all")])
def test_zeros_are_shares(zeros: int, text: str) -> None:
    """They are rarely few."""
    assert fields_of(replace(PLAIN, zeros=zeros))[5] == text


def test_what_is_wrong_comes_first() -> None:
    """Tensors with NaN or infinities are before all others, each kind in the source's order."""
    found = {
        "a": PLAIN,
        "b": replace(PLAIN, infinite=1),
        "c": PLAIN,
        "d": replace(PLAIN, nan=1),
    }
    _, _, *rows = lines_of(inspection(found))
    assert [row.split()[0] for row in rows] == ["b", "d", "a", "c"]
    styles = [str(line.style) for line in numbers(inspection(found), Canvas(100))][2:]
    assert styles == ["red", "red", "", ""]
    narrow = [str(line.style) for line in numbers(inspection(found), Canvas(40))][2:]
    assert narrow == ["red", "red", "red", "red", "", "dim", "", "dim"]


def test_a_tied_tensor_is_listed_once() -> None:
    """The one that it repeats is; where that one was not read, it is."""
    found = replace(inspection({"a": PLAIN, "b": PLAIN}), tied_to={"b": "a"})
    assert [row.split()[0] for row in lines_of(found)[2:]] == ["a"]
    only = replace(found, statistics={"b": PLAIN})
    assert [row.split()[0] for row in lines_of(only)[2:]] == ["b"]


@pytest.mark.parametrize(("count", "said"), [(0, None), (1, "1 tensor"), (2, "2 tensors")])
def test_tensors_of_other_types_are_counted(count: int, said: str | None) -> None:
    """They have no such numbers, and no row."""
    others: dict[str, Statistics | None] = {f"i{number}": None for number in range(count)}
    *_, last = lines_of(inspection({"w": PLAIN, **others}))
    if said is None:
        assert last.startswith("w ")
    else:
        assert last == f"{said} of other types than floating-point"


@pytest.mark.parametrize("more", [0, 1, 5])
def test_a_long_list_is_cut(more: int) -> None:
    """What is left out is counted, and nothing is said where nothing is."""
    lines = lines_of(inspection({f"w{n}": PLAIN for n in range(MOST_LISTED + more)}, 1))
    assert len(lines) == 2 + MOST_LISTED + bool(more)
    assert (lines[-1] == f"… {more} more") is bool(more)


@pytest.mark.parametrize("width", [20, 40, 70, 71, 72, 200])
@pytest.mark.parametrize("on", [Canvas(0), Canvas(0, ASCII)], ids=["blocks", "ascii"])
@pytest.mark.parametrize(
    "name",
    ["w", "layer." * 40 + "w", "漢" * 50, "x" * 300],
    ids=["short", "dotted", "wide", "long"],
)
def test_names_fit_beside_their_numbers_or_above_them(width: int, on: Canvas, name: str) -> None:
    """Where there is no room for both, the numbers are a sentence below the name."""
    lines = lines_of(inspection({name: PLAIN}), replace(on, width=width))
    assert all(cells(line) < width for line in lines if not line.startswith("  -1.5 to"))
    beside = len(lines) == 3
    assert beside is (width >= 71)
    if not beside:
        assert lines[-1] == "  -1.5 to 2.25, mean 0.125; 0 NaN, 0 Inf, 0 zeros"


def test_the_end_of_a_long_name_is_shown() -> None:
    """There neighbours differ."""
    *_, row = lines_of(inspection({"model.layers.10." + "x." * 60 + "weight": PLAIN}))
    assert row.split()[0].endswith(".weight")
    assert row.startswith("…")
