"""Plans that a program saves, and carries out whole or by parts."""

from __future__ import annotations

from pathlib import Path

import pytest

import shardctl
from tests.support.observers import Counting
from tests.support.pipelines import written_pipeline
from tests.support.safetensors_files import read_tensors
from tests.unit.api.conftest import TENSORS


def test_a_plan_is_saved_and_applied(source: Path, tmp_path: Path) -> None:
    """A saved plan gives the files of `write`, whole and by parts, and asks again what to
    replace.
    """
    expected = shardctl.write(source, tmp_path / "expected", num_shards=3, record=False)
    saved = tmp_path / "plan.json"
    found = shardctl.plan(source, tmp_path / "target", num_shards=3, save=saved)
    assert found.id == expected.plan.id
    written = shardctl.apply(saved, record=False)
    assert not written.up_to_date
    assert read_tensors(tmp_path / "target") == read_tensors(tmp_path / "expected")
    assert shardctl.apply(saved, record=False).up_to_date
    parts = tmp_path / "parts"
    with pytest.raises(shardctl.TargetError, match="missing"):
        shardctl.apply(saved, target=parts, commit=True)
    missing = [len(shardctl.apply_part(saved, n, 3, target=parts).missing) for n in (1, 2, 3)]
    assert missing == [2, 1, 0]
    assert len(shardctl.apply_part(saved, 1, 1, target=parts).kept) == 3
    assert shardctl.apply(saved, target=parts, commit=True).path.startswith(str(parts))
    assert shardctl.apply_part(saved, 1, 1, target=parts).missing == ()
    shardctl.write(source, tmp_path / "other", num_shards=2, record=False)
    with pytest.raises(shardctl.TargetExistsError):
        shardctl.apply(saved, target=tmp_path / "other")
    shardctl.apply(saved, source=source, target=tmp_path / "other", replace="same")
    assert read_tensors(tmp_path / "other") == read_tensors(tmp_path / "expected")
    for number, count in ((0, 1), (2, 1)):
        with pytest.raises(shardctl.UsageError):
            shardctl.apply_part(saved, number, count)


@pytest.fixture
def saved(source: Path, tmp_path: Path) -> Path:
    """A plan for three shards into `target`."""
    shardctl.plan(source, tmp_path / "target", num_shards=3, save=tmp_path / "plan.json")
    return tmp_path / "plan.json"


def test_a_part_has_a_number(saved: Path, tmp_path: Path) -> None:
    """From 1 to the count; any other is refused before the plan is read."""
    for number, count in ((0, 2), (3, 2), (-1, 2), (1, 0), (0, 0)):
        with pytest.raises(shardctl.UsageError, match="there is no part"):
            shardctl.apply_part(tmp_path / "none.json", number, count)
    assert len(shardctl.apply_part(saved, 2, 2).written) >= 1


def test_a_part_says_what_it_did(saved: Path) -> None:
    """What it wrote, what was there, and what is missing; once all is done nothing is left."""
    first = shardctl.apply_part(saved, 1, 3, jobs=1)
    assert [len(each) for each in (first.written, first.kept, first.missing)] == [1, 0, 2]
    again = shardctl.apply_part(saved, 1, 3)
    assert [len(each) for each in (again.written, again.kept, again.missing)] == [0, 1, 2]
    written = shardctl.apply(saved, record=False)
    assert {each.filename for each in written.files} >= {each.filename for each in first.written}
    done = shardctl.apply_part(saved, 1, 3)
    assert (done.written, done.missing) == ((), ())
    assert {each.filename for each in done.kept} == {each.filename for each in written.files}


def test_progress_is_reported(saved: Path, tmp_path: Path) -> None:
    """Of a part, and of all that is left, each file once."""
    parts, rest = Counting(), Counting()
    shardctl.apply_part(saved, 1, 3, observer=parts)
    assert len(parts.done) == 1
    shardctl.apply(saved, observer=rest, record=False)
    assert set(rest.done) | set(rest.kept) == {
        path.name for path in (tmp_path / "target").iterdir()
    }
    assert set(parts.done) <= set(rest.kept)


def test_the_plan_of_a_pipeline_is_refused(tmp_path: Path) -> None:
    """Whole and by parts, with the file of the plan; nothing is written."""
    pipe, plan = written_pipeline(tmp_path / "pipe"), tmp_path / "plan.json"
    shardctl.plan(pipe, tmp_path / "out", save=plan)
    for apply in (shardctl.apply, lambda path: shardctl.apply_part(path, 1, 1)):
        with pytest.raises(shardctl.UsageError, match="is one of a pipeline") as caught:
            apply(plan)
        assert caught.value.file == str(plan)
    assert not (tmp_path / "out").exists()


def test_what_may_be_replaced_is_said_again(saved: Path, source: Path, tmp_path: Path) -> None:
    """The set in the target, and companions that differ."""
    target = tmp_path / "target"
    shardctl.write(source, target, num_shards=2, record=False)
    (target / "config.json").write_text("[]")
    for apply in (shardctl.apply, lambda plan: shardctl.apply_part(plan, 1, 1)):
        with pytest.raises(shardctl.TargetExistsError):
            apply(saved)
    written = shardctl.apply(saved, replace="same", record=False)
    assert any("kept in the target" in note for note in written.plan.notes)
    assert (target / "config.json").read_text() == "[]"
    shardctl.write(source, target, num_shards=2, record=False, replace="same")
    shardctl.apply(saved, replace="same", replace_companions=True, record=False)
    assert (target / "config.json").read_text() == "{}"
    assert read_tensors(target) == TENSORS


def test_starting_over_discards_a_run_of_another_plan(
    saved: Path, source: Path, tmp_path: Path
) -> None:
    """Else it is in the way."""
    shardctl.apply_part(saved, 1, 3)
    other = tmp_path / "other.json"
    shardctl.plan(source, tmp_path / "target", num_shards=2, save=other)
    for apply in (shardctl.apply, lambda plan: shardctl.apply_part(plan, 1, 1)):
        with pytest.raises(shardctl.TargetExistsError, match="unfinished run"):
            apply(other)
    assert shardctl.apply_part(other, 1, 2, restart=True).missing
    assert shardctl.apply(other, restart=True, record=False).path.endswith(".index.json")
    assert read_tensors(tmp_path / "target") == TENSORS


def test_a_record_is_kept_unless_it_is_not_to_be(saved: Path, source: Path, tmp_path: Path) -> None:
    """With it the result is known to be there without a comparison."""
    shardctl.apply(saved, record=False)
    assert "compared with the source" in shardctl.apply(saved, record=False).plan.notes[0]
    shardctl.apply(saved, target=tmp_path / "two")
    again = shardctl.apply(saved, target=tmp_path / "two")
    assert (again.up_to_date, again.plan.notes) == (True, ())
    assert shardctl.write(source, tmp_path / "two", num_shards=3).up_to_date
