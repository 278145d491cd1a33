"""Options that choose tensors and rename them, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.program import Call
from tests.support.safetensors_files import plain_directory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with tensors of two layers and a head, and a config."""
    return plain_directory(tmp_path / "source", ["m.0.w", "m.0.b", "m.1.w", "head"])


def test_what_is_left_out_is_said_before_the_work(source: Path, tmp_path: Path, call: Call) -> None:
    """A note counts the tensors and their bytes; the summary counts what was written."""
    _, messages = call("merge", source, tmp_path / "out", "--include", "m.*", "--exclude", "*.b")
    assert "note: leaves out 2 tensors (" in messages
    assert "of 2 tensors" in messages


def test_a_selected_run_is_up_to_date(source: Path, tmp_path: Path, call: Call) -> None:
    """The same selection has nothing to do; another one is another result."""
    options = ("--strip-prefix", "m.", "--num-shards", "2")
    call("reshard", source, tmp_path / "out", *options)
    assert "up to date" in call("reshard", source, tmp_path / "out", *options)[1]
    call("reshard", source, tmp_path / "out", "--add-prefix", "x.", "--num-shards", "2", code=4)


def test_a_part_never_replaces_its_source(source: Path, call: Call) -> None:
    """With --replace a selection that leaves tensors out is refused; one that renames is not."""
    before = (source / "model.safetensors").read_bytes()
    _, messages = call("merge", source, source, "--replace", "--exclude", "head", code=2)
    assert "would be lost" in messages
    assert (source / "model.safetensors").read_bytes() == before
    call("merge", source, source, "--replace", "--add-prefix", "x.")
    rows = call("inspect", source)[0].splitlines()[1:]
    assert sorted(row.split("\t")[0] for row in rows) == ["x.head", "x.m.0.b", "x.m.0.w", "x.m.1.w"]


def test_a_rule_needs_an_equals_sign(source: Path, tmp_path: Path, call: Call) -> None:
    """What has no `=`, or nothing before it, is a usage error; an empty new text is not."""
    for rule in ("abc", "=abc"):
        _, messages = call("split", source, tmp_path / "out", "--rename", rule, code=2)
        assert f"--rename '{rule}' has no '='" in messages
    call("split", source, tmp_path / "out", "--rename", r"^m\.=")


def test_the_last_equals_sign_counts(source: Path, tmp_path: Path, call: Call) -> None:
    """What follows the last `=` is the new text: a regular expression may have another one."""
    call("split", source, tmp_path / "out", "--rename", r"(?<=m)\.(?=\d)=_")
    assert "m_0.w" in call("inspect", tmp_path / "out")[0]


def test_variables_give_patterns(
    source: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable holds patterns between blanks."""
    monkeypatch.setenv("SHARDCTL_SPLIT_INCLUDE", "m.0.* head")
    found = json.loads(call("split", source, tmp_path / "out", "-n", "--json")[0])
    assert [shard["tensors"] for shard in found["shards"]] == [["m.0.w", "m.0.b", "head"]]
    assert found["plan"]["options"]["include"] == ["m.0.*", "head"]


def test_a_selection_without_a_comparison(source: Path, call: Call) -> None:
    """`verify` takes a selection for the other checkpoint only."""
    assert "add --against" in call("verify", source, "--exclude", "head", code=2)[1]
