"""Every broken or odd index of the corpus gets the finding that names its fault."""

from __future__ import annotations

import pytest

from shardctl.errors import FormatError
from shardctl.findings import Finding, strict
from shardctl.formats.index import parse_index
from shardctl.model import Index
from shardctl.naming import check_shard_name
from tests.corruption.cases import Case
from tests.corruption.index_cases import CASES

_PATH = "folder/model.safetensors.index.json"

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def _read(case: Case) -> tuple[Index | None, list[Finding]]:
    findings: list[Finding] = []
    return parse_index(case.make(), _PATH, findings.append), findings


def test_the_names_differ() -> None:
    """Every case has its own name."""
    assert len({case.name for case in CASES}) == len(CASES)


@each
def test_collecting(case: Case) -> None:
    """A collecting report is told exactly the case's code, with the file, a message and a next
    step.
    """
    index, findings = _read(case)
    assert {finding.code for finding in findings} == ({case.code} if case.code else set())
    if case.code is None:
        assert index is not None
    for finding in findings:
        assert finding.severity == case.severity
        assert finding.file == _PATH
        assert finding.message.isprintable()
        assert finding.hint


@each
def test_strict(case: Case) -> None:
    """The strict report raises for an error and lets warnings pass."""
    if case.code is None or case.severity != "error":
        assert parse_index(case.make(), _PATH, strict) is not None
        return
    with pytest.raises(FormatError) as caught:
        parse_index(case.make(), _PATH, strict)
    assert caught.value.code == case.code
    assert caught.value.file == _PATH


@each
def test_no_unsafe_name_is_returned(case: Case) -> None:
    """Whatever is wrong, every shard's name that is returned is that of a safetensors file below the
    directory.
    """
    index, _ = _read(case)
    for shard in index.weight_map.values() if index else ():
        assert check_shard_name(shard) is None
        assert shard.endswith(".safetensors")
