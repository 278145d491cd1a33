"""Writing from a program: what is returned, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import shardctl
from tests.support.observers import Counting
from tests.support.pipelines import written_pipeline
from tests.support.safetensors_files import read_tensors
from tests.unit.api.conftest import TENSORS

WEIGHTS = "diffusion_pytorch_model.safetensors"


def test_write_splits_and_reports_progress(source: Path, tmp_path: Path) -> None:
    """The result says what to load from, and the observer got all the bytes of every file."""
    target, observer = tmp_path / "sharded", Counting()
    written = shardctl.write(source, target, max_shard_size=800, observer=observer, record=False)
    assert written.path == str(target / "model.safetensors.index.json")
    assert (len(written.plan.shards), written.up_to_date) == (3, False)
    assert {file.filename for file in written.files} == set(observer.done)
    assert dict(observer.advanced) == dict(observer.sizes)
    assert read_tensors(target) == TENSORS


def test_a_second_write_finds_the_target_up_to_date(source: Path, tmp_path: Path) -> None:
    """Nothing is written where the result is there already."""
    for expected in (False, True):
        written = shardctl.write(source, tmp_path / "sharded", num_shards=2, record=False)
        assert written.up_to_date is expected


def test_plan_writes_nothing(source: Path, tmp_path: Path) -> None:
    """A plan has the files with their exact sizes, and leaves no trace."""
    target = tmp_path / "sharded"
    planned = shardctl.plan(source, target, max_shard_size="800B")
    assert not target.exists()
    written = shardctl.write(source, target, max_shard_size="800B", record=False)
    sizes = {path.name: path.stat().st_size for path in target.glob("*.safetensors")}
    assert {shard.filename: shard.size for shard in planned.shards} == sizes
    assert planned.id == written.plan.id


@pytest.mark.parametrize(
    "options",
    [
        {"max_shard_size": "5 gigabits"},
        {"max_shard_size": 0},
        {"num_shards": 0},
        {"num_shards": 2, "single": True},
        {"replace": True},
        {"tied": "copy"},
        {"order": "sorted"},
        {"layout": "wide"},
        {"format": "gguf5"},
        {"experts": "join"},
        {"companions": True},
        {"jobs": 0},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_usage_errors(
    options: dict[str, object], source: Path, tmp_path: Path
) -> None:
    """A wrong value is an error before anything is written, and names no option."""
    with pytest.raises(shardctl.UsageError) as caught:
        shardctl.write(source, tmp_path / "target", record=False, **options)  # type: ignore[arg-type] # which is what is tested
    assert "--" not in f"{caught.value.message} {caught.value.hint}"
    assert not (tmp_path / "target").exists()


def test_an_argument_that_does_not_exist_is_a_type_error(source: Path, tmp_path: Path) -> None:
    """A misspelled setting is refused like that of any function."""
    with pytest.raises(TypeError, match="max_shards"):
        shardctl.plan(source, tmp_path / "target", max_shards=3)  # type: ignore[call-arg] # (the same)


def test_one_value_has_all_that_is_asked_for(source: Path, tmp_path: Path) -> None:
    """Keyword arguments and a `WriteOptions` say the same, and not both at once."""
    request = shardctl.WriteOptions(shardctl.Limits(max_shard_bytes=800), format="bin")
    asked = shardctl.plan(source, tmp_path / "a", max_shard_size=800, format="bin")
    assert shardctl.plan(source, tmp_path / "a", request).id == asked.id
    written = shardctl.write(source, tmp_path / "a", request, record=False)
    assert written.plan.id == asked.id
    with pytest.raises(shardctl.UsageError, match="`request` and `single` cannot"):
        shardctl.write(source, tmp_path / "b", request, single=True)
    with pytest.raises(TypeError, match=r"third argument of plan\(\) is a WriteOptions"):
        shardctl.plan(source, tmp_path / "b", "5GB")  # type: ignore[arg-type] # which is what is tested


def test_one_pattern_is_a_pattern(source: Path, tmp_path: Path) -> None:
    """A text in the place of a list is not taken apart into letters, nor one in that of a pair."""
    planned = shardctl.plan(source, tmp_path / "a", include="*.1.*", rename={"weight": "w"})
    assert [tensor.name for shard in planned.shards for tensor in shard.tensors] == ["layer.1.w"]
    with pytest.raises(shardctl.UsageError, match="`rename` cannot be 'ab'"):
        shardctl.plan(source, tmp_path / "a", rename=["ab"])  # type: ignore[list-item] # which is what is tested


def test_a_pipeline_is_written_and_verified(tmp_path: Path) -> None:
    """All components and the tree around them, with one result and a part of it for each."""
    pipe, target = written_pipeline(tmp_path / "pipe"), tmp_path / "out"
    names = ["text_encoder", "unet", "vae"]
    assert shardctl.components(pipe) == {name: str(pipe / name) for name in names}
    planned = shardctl.plan(pipe, target, max_shard_size=150)
    assert not target.exists()
    observer = Counting()
    written = shardctl.write(pipe, target, max_shard_size=150, observer=observer, record=False)
    assert written.path == str(target)
    assert [name for name, _ in written.components] == names
    assert written.plan.id == planned.id
    assert [shard.filename for shard in written.plan.shards] == [
        "text_encoder/model.safetensors",
        *(f"unet/diffusion_pytorch_model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)),
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert written.plan.total_size == 460
    files = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert {receipt.filename for receipt in written.files} == files
    assert files > {"model_index.json", "tokenizer/vocab.json"}
    verdict = shardctl.verify(target, deep=True, against=pipe)
    assert verdict.ok
    assert [name for name, _ in verdict.components] == names
    again = shardctl.write(pipe, target, max_shard_size=150, record=False)
    assert again.up_to_date
    assert all(each.up_to_date for _, each in again.components)


def test_a_refused_target_says_what_a_program_can_do(source: Path, tmp_path: Path) -> None:
    """The hint of an error names the setting as a program spells it."""
    shardctl.write(source, tmp_path / "target", num_shards=2, record=False)
    with pytest.raises(shardctl.TargetExistsError) as caught:
        shardctl.write(source, tmp_path / "target", num_shards=3, record=False)
    assert '`replace="same"`' in caught.value.hint
    shardctl.write(source, tmp_path / "target", num_shards=3, record=False, replace="same")
    assert read_tensors(tmp_path / "target") == TENSORS


def test_a_file_is_a_target_of_one_file(source: Path, tmp_path: Path) -> None:
    """Its path is what a loader takes, as it was named."""
    target = tmp_path / "new" / "one.bin"
    written = shardctl.write(source, target, single=True, record=False)
    assert (written.path, written.components) == (str(target), ())
    assert read_tensors(source).keys() == {each.name for each in shardctl.inspect(target).tensors}


def test_a_saved_plan_replaces_another(source: Path, tmp_path: Path) -> None:
    """The file that is there is replaced in one step, whatever it was."""
    saved = tmp_path / "plan.json"
    saved.write_text("something else")
    for shards in (2, 3):
        planned = shardctl.plan(source, tmp_path / "out", num_shards=shards, save=saved)
        assert json.loads(saved.read_text())["plan_id"] == planned.id
    assert {path.name for path in tmp_path.iterdir()} == {"model", "plan.json"}
    with pytest.raises(shardctl.StorageError):
        shardctl.plan(source, tmp_path / "out", save=tmp_path / "none" / "plan.json")


def test_notes_are_in_the_plan(source: Path, tmp_path: Path) -> None:
    """What the user should know before, and what was found on the way."""
    (source / "pytorch_model.bin").write_bytes(b"PK")
    planned = shardctl.plan(source, tmp_path / "out", num_shards=2)
    assert any("pytorch_model.bin" in note for note in planned.notes)
    written = shardctl.write(source, tmp_path / "out", num_shards=2, record=False)
    assert written.plan.notes == planned.notes


def test_a_component_that_is_missing_is_written_alone(tmp_path: Path) -> None:
    """The others are up to date, which the result says of each; the whole is not."""
    pipe, target = written_pipeline(tmp_path / "pipe"), tmp_path / "out"
    first = shardctl.write(pipe, target, single=True, record=False)
    (target / "vae" / WEIGHTS).unlink()
    again = shardctl.write(pipe, target, single=True, record=False)
    assert not again.up_to_date
    assert [name for name, each in again.components if not each.up_to_date] == ["vae"]
    assert again.plan.id == first.plan.id
    assert dict(again.components)["vae"].path == str(target / "vae" / WEIGHTS)


def test_the_plan_of_a_pipeline_has_what_its_components_have(tmp_path: Path) -> None:
    """Tensors that are too large, and what is not carried, of any component and of the tree."""
    pipe = written_pipeline(tmp_path / "pipe")
    (pipe / "notes.safetensors").write_bytes((pipe / "vae" / WEIGHTS).read_bytes())
    (pipe / "vae" / "optimizer.bin").write_bytes(b"x")
    planned = shardctl.plan(pipe, tmp_path / "out", max_shard_size=50)
    assert set(planned.oversize) == {"embed", "up.0", "up.1", "up.2"}
    assert (planned.index, planned.index_filename) == (None, None)
    said = "\n".join(planned.notes)
    assert "vae: not copied (training state): optimizer.bin" in said
    assert "\nnot copied (weights outside the set): notes.safetensors" in said
    other = shardctl.plan(pipe, tmp_path / "out", max_shard_size=60)
    assert other.id != planned.id


def test_tensors_that_are_left_out_of_a_component_are_in_the_plan(tmp_path: Path) -> None:
    """With the names that they have there."""
    pipe = written_pipeline(tmp_path / "pipe")
    planned = shardctl.plan(pipe, tmp_path / "out", include="*[dmr01]")
    assert [tensor.name for tensor in planned.left_out] == ["up.2"]


def test_an_unfinished_run_of_a_component_stops_all(tmp_path: Path) -> None:
    """Nothing is written of those before it, unless the unfinished run is discarded."""
    pipe, target = written_pipeline(tmp_path / "pipe"), tmp_path / "out"

    class Stop(shardctl.Silent):
        def finished(self, *_: object, **__: object) -> None:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        shardctl.write(pipe / "vae", target / "vae", observer=Stop(), record=False, jobs=1)
    with pytest.raises(shardctl.TargetExistsError, match="unfinished run"):
        shardctl.write(pipe, target, format="bin", record=False)
    assert {path.name for path in target.iterdir()} == {"vae"}
    shardctl.write(pipe, target, format="bin", restart=True, record=False)
    assert shardctl.verify(target, against=pipe, deep=True).ok


def test_a_plan_compares_nothing(source: Path, tmp_path: Path) -> None:
    """By the record it knows that the result is there; without one that is in the way."""
    shardctl.write(source, tmp_path / "one", num_shards=2)
    assert shardctl.plan(source, tmp_path / "one", num_shards=2).notes == ()
    assert shardctl.write(source, tmp_path / "one", num_shards=2).plan.notes == ()
    shardctl.write(source, tmp_path / "two", num_shards=2, record=False)
    with pytest.raises(shardctl.TargetExistsError):
        shardctl.plan(source, tmp_path / "two", num_shards=2)


def test_a_scheduler_has_a_known_address(source: Path, tmp_path: Path) -> None:
    """Any other is an error before anything is written."""
    with pytest.raises(shardctl.UsageError):
        shardctl.write(source, tmp_path / "out", scheduler="nowhere", record=False)
    assert not (tmp_path / "out").exists()
