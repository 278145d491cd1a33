"""`apply`: a saved plan is written whole, by parts, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.pipelines import written_pipeline
from tests.support.program import Call


@pytest.fixture
def plan(call: Call, model: Path, tmp_path: Path) -> Path:
    """A plan for two shards into `out`."""
    path = tmp_path / "plan.json"
    path.write_text(
        call("split", model, tmp_path / "out", "--num-shards", "2", "--dry-run", "--json")[0]
    )
    return path


def test_parts_and_a_commit(call: Call, plan: Path, tmp_path: Path) -> None:
    """Each part prints the state of every shard; the commit prints the path, and again."""
    out, err = call("apply", plan, "--part", "1/2")
    header, *rows = out.splitlines()
    assert header == "shard\tsize\tstate"
    assert [row.split("\t")[2] for row in rows] == ["written", "missing"]
    assert "part 1/2: wrote 1 shard" in err
    assert "1 of 2 shards are done" in call("apply", plan, "--commit", code=4)[1]
    document = json.loads(call("apply", plan, "--part", "2/2", "--json", "--quiet")[0])
    assert document["command"] == "apply"
    index = tmp_path / "out" / "model.safetensors.index.json"
    assert not index.exists()
    assert call("apply", plan, "--commit")[0] == f"{index}\n"
    for again in ((), ("--commit",), ("--part", "1/2")):
        out, err = call("apply", plan, *again)
        assert out == f"{index}\n"
        assert err.splitlines()[-1] == "up to date"


def test_a_part_is_not_a_commit(call: Call, tmp_path: Path) -> None:
    """Both together are a usage error, before the plan is read."""
    _, err = call("apply", tmp_path / "none.json", "--part", "1/1", "--commit", code=2)
    assert "cannot be used together" in err


@pytest.mark.parametrize("option", [("--part", "1/1"), ("--commit",)])
def test_a_pipeline_is_not_written_by_parts(
    call: Call, tmp_path: Path, option: tuple[str, ...]
) -> None:
    """It is refused, and nothing is written."""
    source, plan = written_pipeline(tmp_path / "p"), tmp_path / "plan.json"
    plan.write_text(call("split", source, tmp_path / "out", "--dry-run", "--json")[0])
    assert "cannot be written by parts" in call("apply", plan, *option, code=2)[1]
    assert not (tmp_path / "out").exists()
    assert call("apply", plan)[0] == f"{tmp_path / 'out'}\n"


def test_another_source_and_target(call: Call, plan: Path, model: Path, tmp_path: Path) -> None:
    """They are named in place of those of the plan, which need not be there any more."""
    moved = model.rename(tmp_path / "moved")
    _, err = call("apply", plan, code=3)
    assert str(model) in err
    out, _ = call("apply", plan, "--source", moved, "--target", tmp_path / "there")
    assert out == f"{tmp_path / 'there' / 'model.safetensors.index.json'}\n"
    assert not (tmp_path / "out").exists()


def test_what_may_be_replaced_is_said_when_it_is_applied(
    call: Call, plan: Path, tmp_path: Path, model: Path
) -> None:
    """Another set in the target is refused, replaced, or all that is there is."""
    target = tmp_path / "out"
    call("merge", model, target)
    call("apply", plan, code=4)
    call("apply", plan, "--replace")
    assert not (target / "model.safetensors").exists()
    call("reshard", model, target, "--to", "bin", "--replace-all")
    call("apply", plan, "--replace", code=4)
    call("apply", plan, "--replace-all")
    assert not (target / "pytorch_model.bin").exists()


def test_a_report_of_a_part_is_one_of_the_plan(call: Call, plan: Path, tmp_path: Path) -> None:
    """It is written once the part is."""
    call("apply", plan, "--part", "1/2", "--report", tmp_path / "report.svg")
    assert "<svg" in (tmp_path / "report.svg").read_text()


def test_notes_and_details_are_said_before_the_work(
    call: Call, plan: Path, model: Path, tmp_path: Path
) -> None:
    """Unless it is to be quiet."""
    target = tmp_path / "out"
    call("merge", model, target)
    _, err = call("apply", plan, "--replace", "--verbose", "--progress", "none")
    words = [line.split()[0] for line in err.splitlines()]
    assert words == ["note:", "reads", "writes", "writes", "replaces", "wrote"]
    call("merge", model, target, "--replace")
    assert call("apply", plan, "--replace", "--verbose", "--quiet")[1] == ""


def test_a_part_starts_over_where_it_is_asked_to(
    call: Call, plan: Path, model: Path, tmp_path: Path
) -> None:
    """A run of another plan is in the way without."""
    call("apply", plan, "--part", "1/2")
    other = tmp_path / "other.json"
    other.write_text(
        call("split", model, tmp_path / "out", "--num-shards", "3", "--dry-run", "--json")[0]
    )
    call("apply", other, "--part", "1/2", code=4)
    call("apply", other, "--part", "1/2", "--restart")
    out, _ = call("apply", other, "--restart")
    assert out.endswith(".index.json\n")
