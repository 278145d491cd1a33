"""Options that say how tensors are laid out, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.program import Call
from tests.support.safetensors_files import plain_directory


@pytest.fixture
def layered(tmp_path: Path) -> Path:
    """A directory with two layers of two tensors, and a head."""
    return plain_directory(tmp_path / "source", ["h.0.b", "h.0.w", "h.1.b", "h.1.w", "head.w"])


def shards(stdout: str) -> list[list[str]]:
    """The names in each shard, from a document."""
    return [shard["tensors"] for shard in json.loads(stdout)["shards"]]


@pytest.mark.parametrize("command", ["split", "reshard"])
def test_each_layer_is_a_file(command: str, layered: Path, tmp_path: Path, call: Call) -> None:
    """Without a size, `--group-by` writes a file for each group, whatever the usual size is."""
    out, _ = call(command, layered, tmp_path / "out", "--group-by", "layer", "--json")
    assert shards(out) == [["h.0.b", "h.0.w"], ["h.1.b", "h.1.w"], ["head.w"]]
    _, messages = call(command, layered, tmp_path / "out", "--group-by", "layer")
    assert "up to date" in messages


def test_groups_are_packed_by_a_number_of_shards(layered: Path, tmp_path: Path, call: Call) -> None:
    """With a size or a number of shards, several groups share a file; a large one is named."""
    options = ("--group-by", r"h\.(\d)", "--json")
    out, _ = call("split", layered, tmp_path / "a", *options, "--num-shards", "2")
    assert shards(out) == [["h.0.b", "h.0.w"], ["h.1.b", "h.1.w", "head.w"]]
    out, messages = call("split", layered, tmp_path / "b", *options, "--max-shard-size", "16")
    assert len(shards(out)) == 3
    assert "a group over the limit has a separate shard: '0' (2 tensors" in messages


def test_one_file_has_no_use_for_groups(layered: Path, tmp_path: Path, call: Call) -> None:
    """`--single` with `--group-by` is a usage error, and `merge` has no such option."""
    options = ("--group-by", "layer")
    _, messages = call("reshard", layered, tmp_path / "a", *options, "--single", code=2)
    assert "--single and --group-by cannot be used together" in messages
    call("merge", layered, tmp_path / "a", *options, code=2)
