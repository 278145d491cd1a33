"""Looking at checkpoints from a program: what it gets is what the commands print."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import shardctl
from tests.support.observers import Counting
from tests.support.pipelines import written_pipeline
from tests.support.safetensors_files import write_floats, write_safetensors
from tests.support.state_dicts import write_torch
from tests.unit.api.conftest import TENSORS


def test_inspect_verify_and_reindex(source: Path, tmp_path: Path) -> None:
    """The functions that read return what the commands print."""
    target = tmp_path / "sharded"
    shardctl.write(source, target, num_shards=2, record=False)
    assert shardctl.inspect(target).total_size == 2400
    assert len(shardctl.inspect(target, pattern="*.1.*").tensors) == 1
    verdict = shardctl.verify(target, deep=True, against=source)
    assert verdict.ok
    assert set(verdict.digests) == set(TENSORS)
    (target / "model.safetensors.index.json").unlink()
    assert shardctl.reindex(target, check=True).changes == ("the index is missing",)
    assert shardctl.reindex(target).path == str(target / "model.safetensors.index.json")
    assert shardctl.verify(target).ok


def test_variants_are_chosen(source: Path, tmp_path: Path) -> None:
    """Each function takes one of several checkpoints in a directory."""
    one = write_safetensors(tmp_path / "other.safetensors", {"a": b"\1" * 4, "b": b"\2" * 4})
    shardctl.write(one, source, variant="x", num_shards=2, record=False)
    assert [tensor.name for tensor in shardctl.inspect(source, variant="x").tensors] == ["a", "b"]
    assert len(shardctl.inspect(source, variant="").tensors) == len(TENSORS)
    assert shardctl.verify(source, variant="x").tensors == 2
    assert shardctl.reindex(source, variant="x", check=True).changes == ()


def test_verify_compares_a_part_with_other_names(source: Path, tmp_path: Path) -> None:
    """What a writer left out and renamed is proved by the same selection."""
    part = {"exclude": ["*.0.*"], "strip_prefix": "layer."}
    written = shardctl.write(source, tmp_path / "part", record=False, **part)  # type: ignore[arg-type] # a mapping's values
    assert shardctl.verify(written.path, against=source, **part).ok  # type: ignore[arg-type] # (the same)
    assert not shardctl.verify(written.path, against=source).ok
    with pytest.raises(TypeError, match="includ"):
        shardctl.verify(source, includ=["*"])  # type: ignore[call-arg] # does not exist


def test_anything_else_is_one_component(source: Path) -> None:
    """So that a program can go through whatever it is given."""
    assert shardctl.components(source) == {"": str(source)}
    assert shardctl.components(source / "model.safetensors") == {
        "": str(source / "model.safetensors")
    }


def test_statistics_of_tensors(tmp_path: Path) -> None:
    """With `stats` an inspection has the numbers of the tensors that it shows, and no others."""
    source, observer = write_floats(tmp_path / "model.safetensors", {"a": 4, "b": 8}), Counting()
    found = shardctl.inspect(source, pattern="a", stats=True, observer=observer)
    assert found.statistics is not None
    assert isinstance(found.statistics["a"], shardctl.Statistics)
    assert dict(observer.advanced) == {str(source): 4}
    assert shardctl.inspect(source).statistics is None


def test_diff_is_that_of_the_command(tmp_path: Path) -> None:
    """What differs is listed, with `stats` how far apart it is; a selection is of the second."""
    one = write_floats(tmp_path / "a.safetensors", {"a": 4, "b": 8})
    other = tmp_path / "b.safetensors"
    other.write_bytes(one.read_bytes()[:-4] + b"\0\0\x80\x3f")
    found = shardctl.diff(one, other, stats=True)
    assert [(change.name, change.what) for change in found.changes] == [("b", "bytes")]
    assert isinstance(found.changes[0].distance, shardctl.Distance)
    assert (found.same, found.equal) == (False, 1)
    assert shardctl.diff(one, other, exclude=["b"]).left_out == 1
    with pytest.raises(TypeError, match="includ"):
        shardctl.diff(one, other, includ=["*"])  # type: ignore[call-arg] # does not exist


def test_a_converted_copy_is_proved(tmp_path: Path) -> None:
    """`verify` and `diff` take what `write` took, for what the copy was made from."""
    source = write_floats(tmp_path / "a.safetensors", {"a": 4, "b": 8})
    shardctl.write(source, tmp_path / "copy", dtype="f16", exclude=["b"], record=False)
    copy = tmp_path / "copy"
    assert shardctl.verify(copy, deep=True, against=source, dtype="f16", exclude=["b"]).ok
    assert shardctl.diff(copy, source, dtype="f16", exclude=["b"]).same
    assert not shardctl.verify(copy, against=source).ok
    with pytest.raises(TypeError, match="includ"):
        shardctl.verify(source, includ=["*"])  # type: ignore[call-arg] # does not exist


def test_components_of_a_pipeline(tmp_path: Path) -> None:
    """By its directory, or the file in it; a component by itself is a checkpoint."""
    pipe = written_pipeline(tmp_path / "pipe")
    expected = {name: str(pipe / name) for name in ("text_encoder", "unet", "vae")}
    assert shardctl.components(pipe) == shardctl.components(str(pipe)) == expected
    assert shardctl.components(pipe / "model_index.json") == expected
    assert shardctl.components(pipe / "vae") == {"": str(pipe / "vae")}
    assert all(shardctl.inspect(path).tensors for path in expected.values())


def test_a_pipeline_is_several_checkpoints(tmp_path: Path) -> None:
    """`inspect` takes one of them."""
    with pytest.raises(shardctl.InputError):
        shardctl.inspect(written_pipeline(tmp_path / "pipe"))


def test_a_pattern_that_matches_nothing(source: Path) -> None:
    """It is an error, as for the command."""
    with pytest.raises(shardctl.MissingError):
        shardctl.inspect(source, pattern="none.*")


@pytest.mark.parametrize("jobs", [0, -1])
def test_jobs_are_checked_wherever_they_are_given(source: Path, jobs: int) -> None:
    """Before anything is compared."""
    for look in (
        lambda: shardctl.inspect(source, stats=True, jobs=jobs),
        lambda: shardctl.diff(source, source, jobs=jobs),
        lambda: shardctl.verify(source, jobs=jobs),
    ):
        with pytest.raises(shardctl.UsageError, match="`jobs`"):
            look()


def test_digests_are_those_of_a_comparison_of_all_bytes(source: Path) -> None:
    """Without bytes, or without another checkpoint, there are none."""
    assert set(shardctl.verify(source, deep=True, against=source).digests) == set(TENSORS)
    assert shardctl.verify(source, deep=True).digests == {}
    assert shardctl.verify(source, against=source).digests == {}


def test_strict_lets_warnings_count(source: Path) -> None:
    """The verdict has the same findings, and is another."""
    name = "model.safetensors"
    write_safetensors(source / name, {"a": b"", "b": b"1234"})
    plain, strict = (shardctl.verify(source, strict=each) for each in (False, True))
    assert plain.findings == strict.findings
    assert plain.ok is not strict.ok or not plain.counts["warning"]


def test_observers_get_the_bytes_that_are_read(source: Path) -> None:
    """Of a comparison, and of checksums."""
    compared, checked = Counting(), Counting()
    shardctl.diff(source, source, observer=compared)
    shardctl.verify(source, deep=True, against=source, observer=checked)
    for observer in (compared, checked):
        assert sum(observer.advanced.values()) == sum(observer.sizes.values()) > 0


def test_a_nested_state_dict_is_chosen_by_its_key(tmp_path: Path) -> None:
    """By each function that reads."""
    value = {"ema": {"w": torch.ones(2)}, "other": {"v": torch.ones(2)}}
    path = write_torch(tmp_path / "nested.pt", value)
    assert [each.name for each in shardctl.inspect(path, key="ema").tensors] == ["w"]
    assert shardctl.diff(path, path, key="ema").equal == 1
    assert shardctl.verify(path, key="ema").tensors == 1
