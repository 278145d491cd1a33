"""`apply`: a plan that was saved gives the bytes of the command that made it, or an error."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.dcp_files import save_sliced
from tests.support.pipelines import written_pipeline
from tests.support.program import Call
from tests.support.safetensors_files import read_tensors, write_floats
from tests.support.state_dicts import write_torch

#: Bytes of each tensor of the source; more than a page, so that the contents can be sampled.
NBYTES = 6000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkpoint of nine tensors in two layers and more, with a config."""
    names = [f"model.layers.{number}.w" for number in range(8)]
    directory = tmp_path / "model"
    write_floats(directory / "model.safetensors", dict.fromkeys([*names, "head"], NBYTES))
    (directory / "config.json").write_text('{"dtype": "float32"}')
    return directory


@pytest.fixture
def saved(call: Call, tmp_path: Path) -> Callable[..., Path]:
    """`saved(command, ...)` is the file of the plan that the command prints."""

    def saved(*arguments: object) -> Path:
        path = tmp_path / "plan.json"
        path.write_text(call(*arguments, "--dry-run", "--json")[0])
        return path

    return saved


Saved = Callable[..., Path]


def files(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, by its name from there on."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


COMMANDS: dict[str, tuple[str, ...]] = {
    "split": ("split", "--max-shard-size", "20KB"),
    "whole files": ("split", "--max-shard-size", "20KB", "--strict-size"),
    "merge": ("merge",),
    "to bin": ("reshard", "--to", "bin", "--num-shards", "3", "--order", "natural"),
    "as many": ("reshard",),
    "groups": ("reshard", "--group-by", "layer"),
    "renamed": ("split", "--num-shards", "2", "--include", "model.*", "--strip-prefix", "model."),
    "rules": ("split", "--num-shards", "2", "--rename", "layers=blocks", "--add-prefix", "x."),
    "converted": ("split", "--num-shards", "2", "--dtype", "bf16", "--keep-dtype", "head"),
    "named": ("split", "--num-shards", "2", "--name", "other", "--variant", "fp16"),
    "reflink": ("split", "--num-shards", "2", "--layout", "reflink"),
    "checked": ("split", "--num-shards", "2", "--checksums", "--verify", "--no-companions"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_plan_gives_the_same_bytes(
    call: Call, saved: Saved, source: Path, tmp_path: Path, name: str
) -> None:
    """Whatever the command was asked for, its plan writes the same files elsewhere, from a copy of
    the source.
    """
    command, *options = COMMANDS[name]
    call(command, source, tmp_path / "expected", *options)
    plan = saved(command, source, tmp_path / "target", *options)
    copied = shutil.copytree(source, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    moved = source.rename(tmp_path / "gone")
    out, _ = call("apply", plan, "--source", copied, "--target", tmp_path / "there")
    assert Path(out.strip()).parent == tmp_path / "there"
    assert files(tmp_path / "there") == files(tmp_path / "expected")
    moved.rename(source)
    call("apply", plan)
    assert files(tmp_path / "target") == files(tmp_path / "expected")
    assert "up to date" in call("apply", plan)[1]


def test_a_plan_for_what_processes_saved(call: Call, saved: Saved, tmp_path: Path) -> None:
    """A plan whose source is a distributed checkpoint gives the same bytes, whole and by parts, and
    refuses one with another data file.
    """
    state = {f"layers.{number}.w": torch.randn(3, 4) for number in range(4)}
    source = save_sliced(state, tmp_path / "dcp", random.Random(0))
    options = ("--to", "safetensors", "--num-shards", "2")
    call("reshard", source, tmp_path / "expected", *options)
    plan = saved("reshard", source, tmp_path / "target", *options)
    call("apply", plan)
    assert files(tmp_path / "target") == files(tmp_path / "expected")
    for part in (("--part", "1/2"), ("--part", "2/2"), ("--commit",)):
        call("apply", plan, "--target", tmp_path / "parts", *part)
    assert files(tmp_path / "parts") == files(tmp_path / "expected")
    path = max(source.glob("*.distcp"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    _, err = call("apply", plan, "--target", tmp_path / "other", code=3)
    assert f"'{path.name}' has other contents" in err


def test_a_file_for_a_target(call: Call, saved: Saved, source: Path, tmp_path: Path) -> None:
    """A plan for one file is applied to a file of that name, in any directory, and no other."""
    plan = saved("merge", source, tmp_path / "one.safetensors")
    call("apply", plan, "--target", tmp_path / "there" / "one.safetensors")
    assert read_tensors(tmp_path / "there") == read_tensors(source)
    for other in ("two.safetensors", "directory"):
        _, err = call("apply", plan, "--target", tmp_path / other, code=2)
        assert "file name was one.safetensors" in err
    assert not (tmp_path / "directory").exists()


def test_several_sources(call: Call, saved: Saved, tmp_path: Path) -> None:
    """A plan that joins files needs all of them, in their order, where others are named."""
    paths = [
        write_floats(tmp_path / directory / f"{name}.safetensors", {name: NBYTES}, fill=number)
        for directory in ("here", "there")
        for number, name in enumerate("ab")
    ]
    plan = saved("merge", *paths[:2], tmp_path / "out")
    call("apply", plan, "--source", paths[2], "--source", paths[3])
    assert read_tensors(tmp_path / "out").keys() == {"a", "b"}
    for wrong in (paths[2:3], paths[:1:-1]):
        sources = [part for path in wrong for part in ("--source", path)]
        call("apply", plan, *sources, "--target", tmp_path / "other", code=3)


def test_a_nested_state_dict(call: Call, saved: Saved, tmp_path: Path) -> None:
    """A key, and leave to drop what is not a tensor, are in the plan."""
    import torch

    nested = {"ema": {"w": torch.ones(300)}, "step": 3, "other": {"w": torch.zeros(300)}}
    path = write_torch(tmp_path / "nested" / "nested.pt", nested)
    options = ("--key", "ema", "--drop-non-tensors", "--single")
    plan = saved("reshard", path, tmp_path / "out", *options)
    call("reshard", path, tmp_path / "expected", *options)
    call("apply", plan)
    assert files(tmp_path / "out") == files(tmp_path / "expected")


def other_header(source: Path) -> None:
    """Rename a tensor, with the same number of bytes."""
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b"head", b"tail", 1))


def other_bytes(source: Path) -> None:
    """Write other numbers under the same header, with the times of before."""
    path = source / "model.safetensors"
    status, data = path.stat(), path.read_bytes()
    path.write_bytes(data[: -9 * NBYTES] + bytes(value ^ 1 for value in data[-9 * NBYTES :]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "header": (other_header, "has another header"),
    "bytes": (other_bytes, "has other contents"),
    "size": (
        lambda source: write_floats(source / "model.safetensors", {"a": 8}),
        "bytes, and had",
    ),
    "config": (
        lambda source: (source / "config.json").write_text('{"dtype": "float64"}'),
        "'config.json' has other contents",
    ),
    "one more": (
        lambda source: (source / "tokenizer.json").write_text("{}"),
        "'tokenizer.json' is not in the plan",
    ),
    "one less": (
        lambda source: (source / "config.json").unlink(),
        "'config.json' is in the plan, and is not",
    ),
    "other name": (
        lambda source: (source / "model.safetensors").rename(source / "x.safetensors"),
        "is in the plan, and is not read now",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_source_that_changed_is_refused(
    call: Call, saved: Saved, source: Path, tmp_path: Path, name: str
) -> None:
    """Other headers, bytes, sizes or files than the plan's are an error that names the file, and
    nothing is written.
    """
    plan = saved("split", source, tmp_path / "out", "--num-shards", "2")
    change, said = CHANGES[name]
    change(source)
    _, err = call("apply", plan, "--json", code=3)
    error = json.loads(err)
    assert error["error"] == "source-changed"
    assert said in error["message"]
    assert not (tmp_path / "out").exists()


def test_times_do_not_count(call: Call, saved: Saved, source: Path, tmp_path: Path) -> None:
    """Another machine sees other times and inodes: a file is known by its contents."""
    plan = saved("split", source, tmp_path / "out", "--num-shards", "2")
    for path in source.iterdir():
        fresh = path.with_suffix(".fresh")
        fresh.write_bytes(path.read_bytes())
        os.utime(fresh, (1, 1))
        fresh.replace(path)
    call("apply", plan)
    assert read_tensors(tmp_path / "out") == read_tensors(source)


def test_what_is_replaced_is_asked_for_again(
    call: Call, saved: Saved, source: Path, tmp_path: Path
) -> None:
    """A plan that was made to replace a set replaces nothing without --replace."""
    target = tmp_path / "out"
    call("split", source, target, "--num-shards", "3")
    before = files(target)
    plan = saved("split", source, target, "--num-shards", "2", "--replace")
    assert json.loads(plan.read_text())["superseded"]
    _, err = call("apply", plan, code=4)
    assert "--replace" in err
    assert files(target) == before
    call("apply", plan, "--replace")
    call("split", source, tmp_path / "expected", "--num-shards", "2")
    assert files(target) == files(tmp_path / "expected")


def test_in_place(call: Call, saved: Saved, source: Path) -> None:
    """A plan replaces its own source, once."""
    tensors = read_tensors(source)
    plan = saved("split", source, source, "--num-shards", "2", "--replace")
    call("apply", plan, code=4)
    call("apply", plan, "--replace")
    assert read_tensors(source) == tensors
    assert not (source / "model.safetensors").exists()
    assert "is not the one" in call("apply", plan, "--replace", code=3)[1]


def test_a_pipeline(call: Call, saved: Saved, tmp_path: Path) -> None:
    """A plan of a pipeline is applied whole, each component with its own plan; a component more or
    less is another source.
    """
    source = written_pipeline(tmp_path / "p")
    plan = saved("split", source, tmp_path / "out", "--max-shard-size", "200")
    call("split", source, tmp_path / "expected", "--max-shard-size", "200")
    call("apply", plan)
    assert files(tmp_path / "out") == files(tmp_path / "expected")
    found = json.loads(call("apply", plan, "--json")[0])
    assert (found["command"], found["up_to_date"]) == ("apply", True)
    shutil.copytree(source / "vae", source / "vae_2")
    assert "'vae_2' is not in the plan" in call("apply", plan, code=3)[1]
    shutil.rmtree(source / "vae_2")
    shutil.rmtree(source / "vae")
    assert "'vae' is in the plan, and not" in call("apply", plan, code=3)[1]


@pytest.mark.parametrize("name", ["model_index.json", "scheduler/scheduler_config.json"])
def test_a_file_of_a_pipeline_that_changed(
    call: Call, saved: Saved, tmp_path: Path, name: str
) -> None:
    """What a pipeline has outside of its components is compared as well, and no file is written."""
    source = written_pipeline(tmp_path / "p")
    plan = saved("split", source, tmp_path / "out", "--max-shard-size", "200")
    data = (source / name).read_text()
    (source / name).write_text(data.replace("}", ' , "more": 1}', 1))
    assert f"'{name}' has" in call("apply", plan, code=3)[1]
    (source / name).write_text(data[:-1] + (" " if data[-1] != " " else "\n"))
    assert f"'{name}' has other contents" in call("apply", plan, code=3)[1]
    assert not (tmp_path / "out").exists()


def test_what_is_no_plan(call: Call, source: Path, tmp_path: Path) -> None:
    """A file that is missing, a directory, other JSON and a file of terabytes are errors of the
    input, at once.
    """
    assert "does not exist" in call("apply", tmp_path / "none.json", code=3)[1]
    call("apply", source, code=3)
    assert "no version" in call("apply", source / "config.json", code=3)[1]
    call("apply", source / "model.safetensors", code=3)
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(2**42)
    assert "more than any plan" in call("apply", huge, code=3)[1]


def test_paths_are_options(call: Call, saved: Saved, source: Path, tmp_path: Path) -> None:
    """A source or a target after the plan is a usage error that says how they are given."""
    plan = saved("split", source, tmp_path / "out")
    _, err = call("apply", plan, source, tmp_path / "out", code=2)
    assert "--source and --target" in err


def test_a_plan_that_was_changed_by_hand(
    call: Call, saved: Saved, source: Path, tmp_path: Path
) -> None:
    """Settings that give other files than the id is for are refused, with what differs."""
    plan = saved("split", source, tmp_path / "out", "--num-shards", "2")
    document = json.loads(plan.read_text())
    document["plan"]["settings"]["num_shards"] = 3
    plan.write_text(json.dumps(document))
    _, err = call("apply", plan, code=2)
    assert "`num_shards` was 2, is 3" in err or "--num-shards was 2, is 3" in err
    document["plan"]["options"] = {"num_shards": 3}
    plan.write_text(json.dumps(document))
    call("apply", plan, code=2)
    document["plan"]["settings"] |= {"num_shards": 2, "name": "../../evil"}
    plan.write_text(json.dumps(document))
    assert "cannot be part of a file's name" in call("apply", plan, code=2)[1]
    assert not (tmp_path / "out").exists()
