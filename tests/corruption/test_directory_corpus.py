"""Every broken or odd directory of the corpus gets the finding, or the error, that names its
fault.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.errors import ShardctlError
from shardctl.findings import Finding, strict
from shardctl.model import Checkpoint
from shardctl.source.locate import find_source
from shardctl.source.read import read_checkpoint
from shardctl.stores.local.store import LocalStore
from tests.corruption.directory_cases import CASES, DirectoryCase

STORE = LocalStore()

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def _source(case: DirectoryCase, directory: Path) -> str:
    case.make(directory)
    return str(directory / case.source)


def _read_strictly(source: str) -> Checkpoint:
    return read_checkpoint(STORE, find_source(STORE, source), strict)


def test_the_names_differ() -> None:
    """Every case has its own name."""
    assert len({case.name for case in CASES}) == len(CASES)


@each
def test_strict(case: DirectoryCase, tmp_path: Path) -> None:
    """A writer ends with the case's code and exit code, a message, a file and a next step; else it
    reads all of it.
    """
    source = _source(case, tmp_path)
    if case.code is None or case.severity != "error":
        assert [tensor.name for tensor in _read_strictly(source).tensors] == ["a", "b", "c"]
        return
    with pytest.raises(ShardctlError) as caught:
        _read_strictly(source)
    assert caught.value.code == case.code
    assert caught.value.exit_code == case.exit_code
    assert caught.value.message.isprintable()
    assert caught.value.hint
    assert caught.value.file


@each
def test_collecting(case: DirectoryCase, tmp_path: Path) -> None:
    """A collecting report gets the case's code and few others, and what is sound is
    still read.
    """
    source = _source(case, tmp_path)
    findings: list[Finding] = []
    try:
        located = find_source(STORE, source, whole_set=False)
    except ShardctlError as error:
        assert error.code == case.code  # noqa: PT017 - some cases raise, the others report
        return
    read_checkpoint(STORE, located, findings.append, nested=True)
    codes = {finding.code for finding in findings if finding.severity == case.severity}
    if not (case.source and case.code == "shard-set-incomplete"):
        assert (case.code in codes) == (case.code is not None)
    assert len(codes) <= 2
    assert all(finding.hint and finding.file for finding in findings)


@each
def test_nothing_is_changed(case: DirectoryCase, tmp_path: Path) -> None:
    """Whatever is wrong, looking changes no name, size or time in the directory."""

    def state() -> list[tuple[str, int, int]]:
        paths = sorted(tmp_path.rglob("*"))
        return [(str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths]

    source = _source(case, tmp_path)
    before = state()
    try:
        _read_strictly(source)
    except ShardctlError as error:
        assert error.exit_code in (2, 3)  # noqa: PT017 - some cases raise, the others do not
    assert state() == before
