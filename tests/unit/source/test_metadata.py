"""The metadata of a set is united, and no value is dropped without a finding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shardctl.findings import Finding, noting
from shardctl.source.locate import find_source
from shardctl.source.metadata import FilePairs, NamesOf, United, unite
from shardctl.source.read import read_checkpoint
from shardctl.stores.local.store import LocalStore
from tests.support.shard_files import A, B, put, put_index
from tests.support.tensors import floats

STORE = LocalStore()


def test_metadata_of_tensors_is_united(tmp_path: Path) -> None:
    """A key whose value is an object with a member for each tensor of its file is merged."""
    put(tmp_path, A, "a", "x", info='{"a": {"at": [0]}, "x": 1}', format="pt")
    put(tmp_path, B, "b", info='{"b": {"at": [7]}}', format="pt")
    put_index(tmp_path, {"a": A, "x": A, "b": B})
    notes: list[str] = []
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(tmp_path)), noting(notes))
    assert checkpoint.tensor_metadata == {
        "info": {"a": '{"at": [0]}', "x": "1", "b": '{"at": [7]}'}
    }
    assert json.loads(checkpoint.metadata["info"]) == {"a": {"at": [0]}, "x": 1, "b": {"at": [7]}}
    assert notes == []


@pytest.mark.parametrize("other", ['{"a": 3}', "text", '{"b": 1, "c": 2}'])
def test_metadata_of_some_tensors_is_left_out(tmp_path: Path, other: str) -> None:
    """Where one file's value is of its tensors and another's is not, neither is taken."""
    put(tmp_path, A, "a", info='{"a": 1}', format="pt")
    put(tmp_path, B, "b", info=other, format="pt")
    put_index(tmp_path, {"a": A, "b": B})
    findings: list[Finding] = []
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(tmp_path)), findings.append)
    assert (checkpoint.metadata, checkpoint.tensor_metadata) == ({"format": "pt"}, {})
    assert [(f.code, f.severity, Path(f.file or "").name) for f in findings] == [
        ("metadata-conflict", "note", B)
    ]


def test_conflicting_metadata_is_noted(tmp_path: Path) -> None:
    """Of a key with several values in several files the first is kept, with a note."""
    put(tmp_path, A, "a", who="first", format="pt")
    put(tmp_path, B, "b", who="second", more="x")
    put_index(tmp_path, {"a": A, "b": B})
    findings: list[Finding] = []
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(tmp_path)), findings.append)
    assert checkpoint.metadata == {"who": "first", "format": "pt", "more": "x"}
    assert [(finding.code, finding.severity) for finding in findings] == [
        ("metadata-conflict", "note")
    ]


# -- nested state dicts ---------------------------------------------------------------------------


def united(*files: FilePairs) -> tuple[United, list[Finding]]:
    """What becomes of the pairs of some files."""
    found = United()
    return found, list(unite(files, found))


def test_the_first_value_of_a_key_is_kept() -> None:
    """Each file that has another one is named, and keys of one file are kept as they are."""
    found, findings = united(
        FilePairs("1", {"k": "a", "own": "x"}, {"w"}),
        FilePairs("2", {}, {"v"}),
        FilePairs("3", {"k": "b"}, {"u"}),
        FilePairs("4", {"k": "a"}, {"t"}),
    )
    assert found.pairs == {"k": "a", "own": "x"}
    assert found.of_tensors == {}
    assert {each.file for each in findings} >= {"3"}
    assert {each.code for each in findings} == {"metadata-conflict"}


def test_values_of_tensors_are_joined_byte_for_byte() -> None:
    """The members' texts are kept as they are, and of a tensor in two files the first counts."""
    found, findings = united(
        FilePairs("1", {"k": '{"w": [1,  2]}'}, {"w"}),
        FilePairs("2", {"k": '{"v": 1.0, "w": 3}'}, {"v", "w"}),
    )
    assert findings == []
    assert found.of_tensors == {"k": {"w": "[1,  2]", "v": "1.0"}}
    assert json.loads(found.pairs["k"]) == {"w": [1, 2], "v": 1.0}


@pytest.mark.parametrize("text", ["{}", "text", '{"other": 1}', "[]", "null"])
def test_a_value_that_is_of_no_tensor_is_a_plain_one(text: str) -> None:
    """It is kept to the letter."""
    found, findings = united(FilePairs("1", {"k": text}, {"w"}))
    assert (found.pairs, found.of_tensors, findings) == ({"k": text}, {}, [])


def test_names_of_tensors() -> None:
    """The names are looked for among those of the tensors, whatever iterable they came in."""
    names = NamesOf(iter([floats("a", 1), floats("b", 1)]))
    assert "a" in names
    assert "b" in names
    assert "c" not in names
