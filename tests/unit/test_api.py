"""The functions for programs: what they return, and that they do what the commands do."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

import shardctl
from shardctl.planning.keywords import WriteKeywords, options_from
from shardctl.planning.request import Selection, WriteOptions
from tests.support.observers import Counting
from tests.support.pipelines import written_pipeline
from tests.support.safetensors_files import read_tensors, write_floats, write_safetensors
from tests.support.typed import said_of

TENSORS = {f"layer.{number}.weight": bytes([number]) * 400 for number in range(6)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory of one safetensors file and a config."""
    directory = tmp_path / "model"
    write_safetensors(directory / "model.safetensors", TENSORS)
    (directory / "config.json").write_text("{}")
    return directory


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


def test_anything_else_is_one_component(source: Path) -> None:
    """So that a program can go through whatever it is given."""
    assert shardctl.components(source) == {"": str(source)}
    assert shardctl.components(source / "model.safetensors") == {
        "": str(source / "model.safetensors")
    }


def test_a_refused_target_says_what_a_program_can_do(source: Path, tmp_path: Path) -> None:
    """The hint of an error names the setting as a program spells it."""
    shardctl.write(source, tmp_path / "target", num_shards=2, record=False)
    with pytest.raises(shardctl.TargetExistsError) as caught:
        shardctl.write(source, tmp_path / "target", num_shards=3, record=False)
    assert '`replace="same"`' in caught.value.hint
    shardctl.write(source, tmp_path / "target", num_shards=3, record=False, replace="same")
    assert read_tensors(tmp_path / "target") == TENSORS


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


def test_every_option_has_a_keyword() -> None:
    """What a command can be asked for, a program can ask for."""
    limits = {"max_shard_size", "num_shards", "single", "strict_size"}
    parts = {field.name for field in fields(Selection)} | {"dtype", "keep_dtype"}
    options = {field.name for field in fields(WriteOptions)}
    keywords = set(get_type_hints(WriteKeywords))
    assert keywords >= limits | parts | {"name"}
    # Only a plan file says the block of a reflink layout: no user chooses it.
    whole = {"limits", "stem", "selection", "conversion", "block"}
    assert keywords - limits - parts - {"name"} == options - whole
    assert options_from({}) == WriteOptions(limits=None)


def test_a_function_keeps_its_name(source: Path) -> None:
    """`shardctl.verify` is the function, also after modules of the subpackage were imported."""
    import shardctl.verify.run

    assert callable(shardctl.verify)
    assert shardctl.verify(source).ok
    with pytest.raises(AttributeError, match="no attribute 'unknown'"):
        shardctl.unknown  # type: ignore[attr-defined] # noqa: B018 - which is what is tested
    assert set(shardctl.__all__) <= set(dir(shardctl))


PROGRAM = """
from pathlib import Path

import shardctl


class Bar(shardctl.Silent):
    def advance(self, filename: str, nbytes: int) -> None:
        print(filename, nbytes)


def split(source: Path) -> str:
    written = shardctl.write(source, "target", max_shard_size="2GB", tied="share", observer=Bar())
    reveal_type(written)
    reveal_type(shardctl.verify(source).ok)
    return written.path


shardctl.write("a", "b", tied="wrong")
"""


REFUSED = (
    """error: Argument "tied" to "write" has incompatible type "Literal['wrong']"; """
    """expected "Literal['share', 'expand']\""""
)


def test_programs_are_typed(tmp_path: Path) -> None:
    """The type checker knows the functions, their settings and their results."""
    assert said_of(PROGRAM, tmp_path, "--strict", "--config-file=") == [
        'note: Revealed type is "shardctl.api.writing.Written"',
        'note: Revealed type is "bool"',
        REFUSED,
    ]


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
