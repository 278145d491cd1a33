"""Index and shards are compared, and recorded ties are distinguished from metadata."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shardctl.findings import Finding, strict
from shardctl.model import Index, Tensor
from shardctl.source.locate import find_source
from shardctl.source.metadata import FilePairs
from shardctl.source.placement import misplaced, overlaid, recorded_aliases, twice
from shardctl.source.read import read_checkpoint
from shardctl.stores.local.store import LocalStore
from tests.support.shard_files import A, B, put, put_index
from tests.support.tensors import floats

STORE = LocalStore()


@pytest.mark.parametrize(
    ("one", "other", "hint"),
    [
        (A, B, "from different saves"),
        ("consolidated.00.pth", "consolidated.01.pth", "slices for several devices"),
    ],
)
def test_a_tensor_in_two_files_is_explained(
    tmp_path: Path, one: str, other: str, hint: str
) -> None:
    """A tensor that two files hold is a sign of different saves, or of slices for devices."""
    for name in (one, other):
        torch.save({"a": torch.ones(2)}, tmp_path / name)
    found: list[Finding] = []
    read_checkpoint(STORE, find_source(STORE, str(tmp_path / one)), found.append)
    (twice,) = (each for each in found if each.code == "tensor-in-several-shards")
    assert (twice.file, twice.tensor) == (str(tmp_path / other), "a")
    assert hint in twice.hint


def test_aliases_are_distinguished_from_metadata(tmp_path: Path) -> None:
    """Recorded tied names become aliases; all other metadata stays."""
    path = put(tmp_path, "model.safetensors", "a", "b", format="a", tied="a", b="a", note="text")
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(path)), strict)
    assert checkpoint.aliases == {"tied": "a"}
    assert checkpoint.metadata == {"format": "a", "b": "a", "note": "text"}


def test_aliases_are_read_from_the_index(tmp_path: Path) -> None:
    """A sharded checkpoint records its tied names in the index, and may map them there as well."""
    put(tmp_path, A, "a")
    put(tmp_path, B, "b")
    put_index(tmp_path, {"a": A, "b": B, "tied": A}, tied="a", version=3)
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(tmp_path)), strict)
    assert checkpoint.aliases == {"tied": "a"}


@pytest.mark.parametrize(
    ("shard", "recorded", "found"),
    [
        (A, {"tied": "a"}, ("index-tensor-missing", "warning")),
        (B, {"tied": "a"}, ("index-tensor-misplaced", "error")),
        (A, {"tied": "c"}, ("index-tensor-missing", "error")),
        (A, {}, ("index-tensor-missing", "error")),
    ],
)
def test_a_listed_alias_has_the_shard_of_its_tensor(
    tmp_path: Path, shard: str, recorded: dict[str, str], found: tuple[str, str]
) -> None:
    """A name that is listed and only recorded as tied is a warning where its tensor is in that
    shard, and an error in another shard or without that tensor.
    """
    put(tmp_path, A, "a")
    put(tmp_path, B, "b")
    put_index(tmp_path, {"a": A, "b": B, "tied": shard}, **recorded)
    findings: list[Finding] = []
    read_checkpoint(STORE, find_source(STORE, str(tmp_path)), findings.append)
    assert [(finding.code, finding.severity) for finding in findings] == [found]


def test_metadata_of_another_file_records_no_alias(tmp_path: Path) -> None:
    """A pair of texts in a file that does not hold the second one excuses no missing tensor."""
    put(tmp_path, A, "a", format="pt", tied="b", other="a")
    put(tmp_path, B, "b")
    put_index(tmp_path, {"a": A, "b": B, "tied": A})
    findings: list[Finding] = []
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(tmp_path)), findings.append)
    assert checkpoint.aliases == {"other": "a"}
    assert [(finding.code, finding.tensor) for finding in findings] == [
        ("index-tensor-missing", "tied")
    ]


def found(
    listed: dict[str, str],
    held: dict[str, list[str]],
    *,
    incomplete: frozenset[str] = frozenset(),
    aliases: dict[str, str] | None = None,
) -> list[tuple[str, str, str | None]]:
    """Code, severity and tensor of each difference."""
    tensors = {shard: [floats(name, 1) for name in names] for shard, names in held.items()}
    index = Index("d/index.json", {}, listed)
    return [
        (each.code, each.severity, each.tensor)
        for each in misplaced(index, tensors, incomplete, aliases or {})
    ]


HELD = {"1": ["a"], "2": ["b"]}


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ({"a": "1", "b": "2"}, []),
        ({"a": "2", "b": "2"}, [("index-tensor-misplaced", "error", "a")]),
        ({"a": "1", "b": "2", "c": "2"}, [("index-tensor-missing", "error", "c")]),
        ({"a": "1"}, [("index-tensor-unlisted", "error", "b")]),
        ({"a": "1", "b": "2", "c": "3"}, []),
        ({"x": "1", "y": "2"}, [("index-tensor-missing", "error", "x")]),
        ({}, [("index-tensor-missing", "error", None)]),
    ],
)
def test_index_and_shards_are_compared(
    listed: dict[str, str], expected: list[tuple[str, str, str | None]]
) -> None:
    """A tensor elsewhere, nowhere or unlisted is an error; a shard that is not there is not blamed
    for its tensors; an index of another checkpoint is one error.
    """
    if not listed:
        # Without an entry there is no tensor to name: everything is unlisted.
        assert {code for code, _, _ in found({"zz": "9"}, HELD)} == {"index-tensor-unlisted"}
        return
    assert found(listed, HELD) == expected


def test_what_is_wrong_with_a_shard_is_the_cause() -> None:
    """Tensors are not called missing from a shard that was not read whole."""
    listed = {"a": "1", "b": "2", "c": "2"}
    assert found(listed, HELD, incomplete=frozenset({"2"})) == []
    assert found(listed, HELD) == [("index-tensor-missing", "error", "c")]


def test_recorded_ties() -> None:
    """A text that names a tensor of its file is a tie, unless the key is a tensor, or reserved; the
    first file's counts before the index's.
    """
    tensors: dict[str, Tensor] = {name: floats(name, 1) for name in ("a", "b", "format")}
    files = [
        FilePairs("1", {"t": "a", "b": "a", "format": "a", "n": "none", "o": "b"}, {"a"}),
        FilePairs("2", {"t": "b"}, {"b"}),
    ]
    assert recorded_aliases(None, files, tensors) == {"t": "a"}
    index = Index("i", {"t": "b", "u": "b", "size": 3, "v": "none"}, {})
    assert recorded_aliases(index, files, tensors) == {"t": "a", "u": "b"}


@pytest.mark.parametrize(("last", "severity"), [("kept", "note"), ("other", "warning")])
def test_a_tensor_beside_where_the_index_places_it(last: str, severity: str) -> None:
    """It is a warning where transformers would take the other one."""
    finding = overlaid("other", "w", "kept", last=last)
    assert (finding.code, finding.severity) == ("tensor-in-several-shards", severity)
    assert (finding.file, finding.tensor) == ("other", "w")
    assert ("transformers takes this one" in finding.message) is (severity == "warning")


@pytest.mark.parametrize("other", ["d/consolidated.00.pth", "d\\consolidated.00.pth"])
def test_slices_for_devices_are_told_from_leftovers(other: str) -> None:
    """Of files for ranks the way is a conversion script; of others one is left over."""
    assert "conversion script" in twice("x", "w", other).hint
    finding = twice("x", "w", "d/model.safetensors")
    assert "different saves" in finding.hint
    assert (finding.code, finding.severity) == ("tensor-in-several-shards", "error")
