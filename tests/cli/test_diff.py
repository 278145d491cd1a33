"""diff on the command line: rows, the summary, the document and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.program import Call, call_cli
from tests.support.safetensors_files import plain_directory


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two directories with `x` and `y`; in the second, `x` is called `z`."""
    one = plain_directory(tmp_path / "a", ["x", "y"])
    call_cli("merge", one, tmp_path / "b", "--rename", "x=z", "-q")
    return one, tmp_path / "b"


def test_rows_and_the_summary(two: tuple[Path, Path], call: Call) -> None:
    """In a pipe a tensor that differs is a line; the summary goes to stderr; the exit code is 1."""
    rows, messages = call("diff", *two, code=1)
    assert [row.split("\t")[:2] for row in rows.splitlines()] == [
        ["change", "name"], ["removed", "x"], ["added", "z"],
    ]  # fmt: skip
    assert messages.endswith("1 tensor equal, 1 only in A, 1 only in B\n")


def test_what_is_equal(two: tuple[Path, Path], call: Call) -> None:
    """Nothing but the header is printed, and the exit code is 0; with -q stderr stays empty."""
    rows, messages = call("diff", two[0], two[0] / "model.safetensors", "-q")
    assert (rows, messages) == ("change\tname\ta\tb\n", "")


def test_the_document(two: tuple[Path, Path], call: Call) -> None:
    """With --json it is one document; a selection applies to B."""
    found = json.loads(call("diff", *two, "--json", "--exclude", "z", code=1)[0])
    assert (found["same"], found["equal"], found["left_out"]) == (False, 1, 1)
    assert [change["name"] for change in found["changes"]] == ["x"]


def test_statistics_are_columns(two: tuple[Path, Path], call: Call) -> None:
    """With --stats each row says how many elements changed, and by how much."""
    one = (two[0] / "model.safetensors").read_bytes()
    (two[1] / "model.safetensors").write_bytes(one[:-4] + b"\0\0\x80\x3f")
    header, row = call("diff", *two, "--stats", code=1)[0].splitlines()
    assert header.split("\t")[4:] == ["changed", "largest", "mean"]
    assert row.split("\t")[:2] == ["bytes", "y"]
    assert row.split("\t")[4] == "1"
