"""What the data files of a distributed checkpoint hold, and what of it must not go unsaid."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file

from shardctl.findings import Finding
from shardctl.model import Checkpoint, NonTensor
from shardctl.source.distributed.dcp import read_dcp
from shardctl.source.locate import find_source
from shardctl.source.opened import unseen
from shardctl.source.read import read_checkpoint
from shardctl.stores.local.store import LocalStore

_DATA = "__0_0.distcp"
_W = torch.arange(12.0).reshape(3, 4)


class _Held:
    """An object of a class that shardctl does not know, with a tensor in it."""

    def __init__(self) -> None:
        self.tensor = torch.ones(7)


class _Loud:
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.getenv, ("HOME",)


def _saved(directory: Path, **values: object) -> Path:
    with pytest.warns(UserWarning, match=r"torch\.distributed"):
        dcp.save({"w": _W, "b": torch.ones(5), **values}, checkpoint_id=directory, no_dist=True)
    return directory


def _changed(directory: Path, change: Callable[[Any], object]) -> Path:
    """Change the metadata of a checkpoint."""
    path = directory / ".metadata"
    metadata = pickle.loads(path.read_bytes())
    change(metadata)
    path.write_bytes(pickle.dumps(metadata))
    return directory


def _read(directory: Path) -> tuple[Checkpoint, list[Finding]]:
    store = LocalStore()
    findings: list[Finding] = []
    located = find_source(store, str(directory))
    return read_checkpoint(store, located, findings.append, nested=True), findings


def _codes(directory: Path) -> set[tuple[str, str | None]]:
    return {(each.code, each.tensor) for each in _read(directory)[1] if each.severity == "error"}


@pytest.mark.parametrize(
    ("value", "kind", "unread"),
    [
        (0.1, "builtins.float", False),
        ("text", "builtins.str", False),
        ((torch.ones(3), torch.ones(4)), "builtins.tuple", True),
        ({torch.ones(3)}, "__builtin__.set", True),
        (_Held(), f"{__name__}._Held", True),
    ],
    ids=["number", "text", "tuple of tensors", "set of tensors", "object"],
)
def test_a_value_that_holds_tensors_is_one_that_is_not_read(
    tmp_path: Path, value: object, kind: str, unread: bool
) -> None:
    """Whatever was saved beside tensors is looked into: what holds any is never a non-tensor."""
    checkpoint, _ = _read(_saved(tmp_path / "dcp", value=value))
    (found,) = checkpoint.non_tensors
    assert (found.name, found.kind, found.unread) == ("value", kind, unread)
    assert bool(found.storages) == unread


def test_what_loading_a_value_would_run_is_named(tmp_path: Path) -> None:
    """Torch loads values without `weights_only`: the names that they import are those of a file."""
    files = read_dcp(
        LocalStore(), str(_saved(tmp_path, value=_Loud())), list[Finding]().append, unseen
    )
    assert [(Path(file.path).name, file.unsafe_globals) for file in files] == [
        (".metadata", ()),
        (_DATA, ("os.getenv",)),
    ]


def _in_place_of(name: str, saved: object, directory: Path) -> Path:
    """Let a file of torch.save stand for what the metadata says is a slice, or a value."""
    out = io.BytesIO()
    torch.save(saved, out)
    path = directory / _DATA
    offset = path.stat().st_size
    path.write_bytes(path.read_bytes() + out.getvalue())

    def change(metadata: Any) -> None:
        for index, place in metadata.storage_data.items():
            if index.fqn == name:
                place.offset, place.length = offset, len(out.getvalue())

    return _changed(directory, change)


@pytest.mark.parametrize(
    "saved",
    [{"a": _W, "b": _W}, {}, {"a": {"b": _W}}, {"a": 3}, _W.to_sparse()],
    ids=["two tensors", "nothing", "nested", "a number", "sparse"],
)
def test_a_slice_that_is_not_one_tensor_is_named(tmp_path: Path, saved: object) -> None:
    """What is found for a slice, and is not one tensor, never makes a tensor vanish."""
    assert _codes(_in_place_of("w", saved, _saved(tmp_path))) == {("index-tensor-missing", "w")}


def test_a_slice_of_another_shape_is_named(tmp_path: Path) -> None:
    """A slice that is one tensor of another shape is not taken for the one that was saved."""
    assert _codes(_in_place_of("w", torch.ones(2), _saved(tmp_path))) == {
        ("tensor-size-mismatch", "w")
    }


def test_a_value_in_a_missing_file_is_named(tmp_path: Path) -> None:
    """A data file that only values lie in is missed as one with slices is."""

    def change(metadata: Any) -> None:
        for index, place in metadata.storage_data.items():
            if index.fqn == "value":
                place.relative_path = "gone.distcp"

    assert _codes(_changed(_saved(tmp_path, value=1), change)) == {("index-shard-missing", None)}


def test_a_data_file_that_is_not_listed_is_named(tmp_path: Path) -> None:
    """A data file that the metadata knows nothing of is a warning; torch leaves an empty one of a
    process that has nothing to save.
    """
    _saved(tmp_path)
    (tmp_path / "__2_0.distcp").touch()
    save_file({}, tmp_path / "__3_0.distcp", {"format": "pt"})
    (tmp_path / "__1_0.distcp").write_bytes(b"left over")
    _, findings = _read(tmp_path)
    assert [(each.code, each.severity) for each in findings] == [("shard-unlisted", "warning")]


def test_damage_to_a_value_has_its_offset_in_the_data_file(tmp_path: Path) -> None:
    """What is wrong with a value is said of it, and of its place."""
    _saved(tmp_path, value="a text")
    path = tmp_path / _DATA
    data = path.read_bytes()
    at = data.index(b"a text")
    path.write_bytes(data.replace(b"a text", b"b text"))
    _, findings = _read(tmp_path)
    (found,) = findings
    assert (found.code, found.tensor) == ("zip-crc-mismatch", "value")
    assert found.offset is not None
    assert 0 < at - found.offset < 64
    assert isinstance(_read(tmp_path)[0].non_tensors[0], NonTensor)


def test_a_value_with_the_bytes_of_another_is_named(tmp_path: Path) -> None:
    """A range of a data file is one slice or one value: what else claims it is an error."""

    def change(metadata: Any) -> None:
        places = {index.fqn: place for index, place in metadata.storage_data.items()}
        for name in ("offset", "length"):
            setattr(places["value"], name, getattr(places["w"], name))

    found = _codes(_changed(_saved(tmp_path, value=1), change))
    assert [code for code, _ in found] == ["tensor-slices"]
