"""A checkpoint that is opened for torch was checked, and is read in that version only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shardctl.errors import InputError, SourceChangedError, UsageError
from tests.support.shard_files import INDEX, A, B, put, put_sharded

pytest.importorskip("torch")


def test_tensors_by_name_and_files(tmp_path: Path) -> None:
    """All files of the set are there, and each tensor is found by its name."""
    from shardctl.torch.opened import read_headers

    opened = read_headers(put_sharded(tmp_path), None)
    assert set(opened.tensors) == {"a", "b"}
    assert opened.files == (A, B)
    extent = opened.tensors["a"].storage.extent
    with opened.sources() as sources, sources.reader(extent.path) as reader:
        assert reader.read(extent.offset, extent.length) == bytes(8)


def test_recorded_names_of_tied_tensors_are_names(tmp_path: Path) -> None:
    """A name that the checkpoint only records leads to its tensor."""
    from shardctl.torch.opened import read_headers

    put(tmp_path, "model.safetensors", "a", format="pt", tied="a")
    opened = read_headers(tmp_path, None)
    assert opened.tensors["tied"].storage.extent == opened.tensors["a"].storage.extent


def test_what_is_wrong_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    """An index that contradicts the shards, and a directory of several checkpoints, are errors."""
    from shardctl.torch.opened import read_headers

    put_sharded(tmp_path)
    listed = json.loads((tmp_path / INDEX).read_text())
    listed["weight_map"]["c"] = A
    (tmp_path / INDEX).write_text(json.dumps(listed))
    with pytest.raises(InputError):
        read_headers(tmp_path, None)
    (tmp_path / "several").mkdir()
    for name in ("x.safetensors", "y.safetensors"):
        put(tmp_path / "several", name, "a")
    with pytest.raises(UsageError):
        read_headers(tmp_path / "several", None)


def test_a_file_that_changed_since_is_not_read(tmp_path: Path) -> None:
    """Another version than that of the headers is an error."""
    from shardctl.torch.opened import read_headers

    path = put(tmp_path, "model.safetensors", "a")
    opened = read_headers(tmp_path, None)
    path.write_bytes(path.read_bytes() + b"!")
    with opened.sources() as sources, pytest.raises(SourceChangedError):
        sources.reader(str(path)).__enter__()
