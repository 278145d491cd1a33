"""`split`, `merge` and `reshard`: what each offers, and what is said instead of writing."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from shardctl.cli.commands import writers
from shardctl.cli.options.arguments import WriterArguments
from shardctl.planning.saved.plan_file import parse_plan_file
from tests.support.memory_checkpoints import weights
from tests.support.program import Call


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("split", {"single"}),
        ("merge", {"single", "max_shard_size", "num_shards", "strict_size", "group_by"}),
        ("reshard", set[str]()),
    ],
)
def test_each_offers_what_suits_it(name: str, without: set[str]) -> None:
    """A file of limited size is not merged, and one file is not split."""
    offered = inspect.signature(getattr(writers, name)).parameters.keys() - {"ctx"}
    assert set(WriterArguments.__dataclass_fields__) - offered == without


def test_by_itself_each_does_what_it_is_called(call: Call, model: Path, tmp_path: Path) -> None:
    """`merge` makes one file, `reshard` as many as there were, `split` those that a limit needs."""
    split, merged, resharded = (tmp_path / name for name in ("split", "merged", "resharded"))
    assert call("split", model, split)[0] == f"{split / 'model.safetensors'}\n"
    call("split", model, split, "--replace", "--max-shard-size", "250")
    assert len(list(split.glob("*-of-00002.safetensors"))) == 2
    call("reshard", split, resharded)
    assert len(list(resharded.glob("*-of-00002.safetensors"))) == 2
    out, _ = call("merge", split, merged / "one.safetensors")
    assert out == f"{merged / 'one.safetensors'}\n"
    whole = (model / "model.safetensors").read_bytes()
    assert (merged / "one.safetensors").read_bytes() == whole


@pytest.mark.parametrize("option", ["--check", "--dry-run"])
def test_nothing_is_written_that_is_only_asked_about(
    call: Call, model: Path, tmp_path: Path, option: str
) -> None:
    """With `--check` the exit code says whether there is work, before and after it is done."""
    target = tmp_path / "out"
    out, _ = call("split", model, target, option, code=int(option == "--check"))
    assert not target.exists()
    assert bool(out) is (option == "--dry-run")
    call("split", model, target)
    files = {path: path.stat().st_mtime_ns for path in target.iterdir()}
    out, err = call("split", model, target, option)
    assert ("up to date" in err) is (option == "--dry-run")
    assert {path: path.stat().st_mtime_ns for path in target.iterdir()} == files


def test_a_dry_run_in_a_pipe_has_rows(call: Call, model: Path, tmp_path: Path) -> None:
    """What they do not say is said on stderr, unless that is to be quiet."""
    arguments = ("split", model, tmp_path / "out", "--num-shards", "2", "--dry-run")
    out, err = call(*arguments)
    header, *rows = out.splitlines()
    assert header == "shard\tsize\ttensors"
    assert [row.split("\t")[2] for row in rows] == ["2", "2"]
    assert err
    assert call(*arguments, "--quiet") == (out, "")


def test_a_dry_run_as_json_is_a_plan(call: Call, model: Path, tmp_path: Path) -> None:
    """It can be saved and applied, and names source and target as they were given."""
    out, _ = call("split", model, tmp_path / "out", "--num-shards", "2", "--dry-run", "--json")
    plan = parse_plan_file(out.encode(), "plan.json")
    assert (plan.sources, plan.target) == ((str(model),), str(tmp_path / "out"))
    document = json.loads(out)
    assert (document["command"], document["done"]) == ("split", False)


def test_verbose_lists_files_before_the_work(call: Call, model: Path, tmp_path: Path) -> None:
    """Read, written and copied; quiet is quiet all the same."""
    _, err = call("split", model, tmp_path / "out", "--verbose", "--progress", "none")
    words = [line.split()[0] for line in err.splitlines()]
    assert words == ["reads", "writes", "copies", "wrote"]
    assert call("split", model, tmp_path / "two", "--verbose", "--quiet")[1] == ""


def test_without_a_record_nothing_is_kept_of_a_run(call: Call, model: Path, tmp_path: Path) -> None:
    """The next run compares the result, and says so."""
    target = tmp_path / "out"
    call("split", model, target, "--no-record")
    assert "compared with the source" in call("split", model, target)[1]
    call("split", model, tmp_path / "other")
    assert call("split", model, tmp_path / "other")[1] == "up to date\n"


def test_several_files_are_joined(call: Call, model: Path, tmp_path: Path) -> None:
    """All before TARGET are read."""
    path = tmp_path / "more.safetensors"
    path.write_bytes(weights({"more": b"1"}))
    call("merge", model / "model.safetensors", path, tmp_path / "joined.safetensors")
    out, _ = call("inspect", tmp_path / "joined.safetensors")
    assert len(out.splitlines()) == 6


def test_only_a_check_compares(call: Call, model: Path, tmp_path: Path) -> None:
    """A plan takes no time for that: without a record what is there is in the way."""
    target = tmp_path / "out"
    call("split", model, target, "--no-record")
    call("split", model, target, "--check", "--no-record")
    assert "already" in call("split", model, target, "--dry-run", "--no-record", code=4)[1]
