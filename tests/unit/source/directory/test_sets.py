"""What the names of a set say is wrong with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardctl.findings import Finding
from shardctl.naming import NumberStyle
from shardctl.source.directory.candidates import Candidate
from shardctl.source.directory.sets import incomplete, set_findings

SET = Candidate("m", None, ".safetensors", ("a", "b"), "i.json")
NUMBERED = replace(SET, index=None, style="shard")


def found(candidate: Candidate, *unlisted: str) -> list[Finding]:
    """What is wrong."""
    return list(set_findings(candidate, "d/i.json", unlisted))


def test_a_sound_set() -> None:
    """With an index, or of one plain file, nothing is wrong."""
    assert found(SET) == []
    assert found(replace(NUMBERED, style="none")) == []


@pytest.mark.parametrize(("style", "warned"), [("shard", True), ("series", True), ("rank", False)])
def test_numbered_files_without_an_index(style: NumberStyle, *, warned: bool) -> None:
    """Most loaders need an index, but those of files for ranks."""
    findings = found(replace(NUMBERED, style=style))
    assert [(each.code, each.severity) for each in findings] == (
        [("index-missing", "warning")] if warned else []
    )


def test_every_unlisted_file_is_named() -> None:
    """Each is an error at its own path, beside what else is wrong."""
    findings = found(replace(SET, missing=(3,), lacks=1), "d/x", "d/y")
    assert [(each.code, each.file) for each in findings] == [
        ("shard-unlisted", "d/x"),
        ("shard-unlisted", "d/y"),
        ("shard-set-incomplete", "d/i.json"),
    ]


def test_an_incomplete_set_is_no_set_without_an_index() -> None:
    """What is missing is the error; that there is no index is not said besides."""
    (finding,) = found(replace(NUMBERED, missing=(3,), lacks=1))
    assert (finding.code, finding.severity) == ("shard-set-incomplete", "error")
    assert finding.message == "1 of 3 numbered files are missing: number 3"
    assert finding.hint == "fetch the missing files"


@pytest.mark.parametrize(("lacks", "more"), [(2, False), (3, True)])
def test_more_numbers_than_are_shown(lacks: int, *, more: bool) -> None:
    """An ellipsis says that more are missing than are named."""
    plain = incomplete(replace(NUMBERED, missing=(3, 4), lacks=lacks), "p").message
    listed = incomplete(replace(SET, missing=(3, 4), lacks=lacks), "p")
    assert plain.endswith("number 3, 4, …" if more else "number 3, 4")
    assert ("number 3, 4, … is" if more else "number 3, 4 is") in listed.message
    assert "random numbers" in listed.message
    assert "and the index again" in listed.hint
