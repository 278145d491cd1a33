"""The commands that write no checkpoint: results on stdout, messages on stderr, an exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.memory_checkpoints import weights
from tests.support.program import Call


@pytest.fixture
def shards(call: Call, model: Path, tmp_path: Path) -> Path:
    """The checkpoint in two shards."""
    call("split", model, tmp_path / "shards", "--num-shards", "2")
    return tmp_path / "shards"


@pytest.fixture
def other(model: Path) -> Path:
    """The same checkpoint with another byte in its last tensor."""
    directory = shutil.copytree(model, model.parent / "other")
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    return directory


def test_inspect_prints_rows_or_a_document(call: Call, model: Path) -> None:
    """Nothing is said of a sound checkpoint."""
    out, err = call("inspect", model)
    assert (len(out.splitlines()), err) == (5, "")
    document = json.loads(call("inspect", model, "--json")[0])
    assert len(document["tensors"]) == 4
    assert len(json.loads(call("inspect", model, "--json", "--top", "1")[0])["tensors"]) == 1
    assert len(call("inspect", model, "--filter", "*.1", "--filter", "*.2")[0].splitlines()) == 3


def test_inspect_says_what_it_chose_and_what_is_missing(call: Call, shards: Path) -> None:
    """As notes and warnings, unless it is to be quiet."""
    (shards / "model-00002-of-00002.safetensors").unlink()
    (shards / "pytorch_model.bin").write_bytes(weights({"a": b"1"}, "bin"))
    out, err = call("inspect", shards)
    assert [line.partition(":")[0] for line in err.splitlines()] == ["warning", "note"]
    assert call("inspect", shards, "--quiet") == (out, "")


def test_diff_exits_with_whether_anything_differs(
    call: Call, model: Path, shards: Path, other: Path
) -> None:
    """Equal tensors in other files are the same, one other byte is not; a selection is of B."""
    out, err = call("diff", model, shards)
    assert (out, err) == ("change\tname\ta\tb\n", "4 tensors equal\n")
    out, err = call("diff", model, other, code=1)
    assert out.splitlines()[1] == "bytes\tlayer.3\tU8 [100]\tU8 [100]"
    assert err == "3 tensors equal, 1 with other bytes\n"
    document = json.loads(call("diff", model, other, "--json", "--quiet", code=1)[0])
    assert [each["name"] for each in document["changes"]] == ["layer.3"]
    out, err = call("diff", model, other, "--exclude", "*.3", "--quiet", code=1)
    assert (out.splitlines()[1:], err) == (["removed\tlayer.3\tU8 [100]\t"], "")


def test_verify_exits_with_whether_all_is_right(call: Call, model: Path, other: Path) -> None:
    """Findings are rows, and the last lines say what was checked."""
    out, err = call("verify", model)
    assert err.splitlines()[0].startswith("ok: 1 file, 4 tensors")
    assert call("verify", model, "--against", other)[1].startswith("ok")
    out, err = call("verify", model, "--against", other, "--deep", code=1)
    assert [row.split("\t")[0] for row in out.splitlines()].count("error") == 1
    assert err.startswith("not ok")
    document = json.loads(call("verify", model, "--json")[0])
    assert document["ok"]


def test_verify_is_quiet_about_what_is_right(call: Call, model: Path) -> None:
    """With warnings as errors they are shown, and fail."""
    path = model / "model.safetensors"
    path.write_bytes(weights({"a": b""}))
    out, _ = call("verify", model)
    severities = {row.split("\t")[0] for row in out.splitlines()}
    assert "error" not in severities
    quiet, _ = call("verify", model, "--quiet")
    assert quiet == ""
    strict, _ = call("verify", model, "--quiet", "--strict", code=int("warning" in severities))
    assert bool(strict) is ("warning" in severities)


def test_a_selection_is_for_a_comparison(call: Call, model: Path) -> None:
    """Without one there is nothing that it could apply to."""
    assert "--against" in call("verify", model, "--include", "*", code=2)[1]


def test_index_writes_only_what_differs(call: Call, shards: Path) -> None:
    """The path is printed; `--check` prints nothing, and exits with 1 where there is work."""
    index = shards / "model.safetensors.index.json"
    expected = index.read_bytes()
    assert call("index", shards) == (f"{index}\n", "up to date\n")
    assert call("index", shards, "--check") == ("", "")
    index.unlink()
    assert call("index", shards, "--check", code=1) == (
        "",
        "would change: the index is missing\n",
    )
    assert not index.exists()
    out, err = call("index", shards, "--json")
    assert json.loads(out)["changes"] == ["the index is missing"]
    assert err == "changed: the index is missing\n"
    assert index.read_bytes() == expected


def test_a_variant_is_read_where_it_is_asked_for(call: Call, model: Path) -> None:
    """Without a name the one without a variant is."""
    (model / "model.fp16.safetensors").write_bytes(weights({"half": b"12"}))
    assert "half" not in call("inspect", model)[0]
    assert "half" in call("inspect", model, "--variant", "fp16")[0]
    assert "1 tensor" in call("verify", model, "--variant", "fp16")[1]


@pytest.mark.parametrize("command", ["inspect", "verify", "index", "diff"])
def test_a_source_that_does_not_exist(call: Call, model: Path, command: str) -> None:
    """It is an error of the input with one line of JSON, and nothing on stdout."""
    sources = [model.parent / "none", *([model] if command == "diff" else [])]
    out, err = call(command, *sources, "--json", code=3)
    assert out == ""
    assert json.loads(err)["exit_code"] == 3


def test_the_files_that_are_read_are_listed(call: Call, shards: Path) -> None:
    """With `--verbose`, by each command that reads headers."""
    for command in ("inspect", "verify", "index"):
        _, err = call(command, shards, "--verbose")
        assert err.count("model-0000") >= 2, command
