"""ZeRO checkpoints are read as DeepSpeed puts them together."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from tests.support.processes import run_processes
from tests.support.program import RunCli, call_cli
from tests.support.state_dicts import assert_equal, load, result
from tests.support.zero_files import Trained, optimizer_file, sample, step

#: Options of ZeRO, with what each is about: the order of parameters in a vector, padding that is
#: left out, padding between parameters, several vectors of a rank for one group.
RUNS = [
    {"stage": 1, "round_robin_gradients": True},
    {"stage": 2, "elastic_checkpoint": True},
    {"stage": 2, "parameter_alignment": True},
    {"stage": 3, "sub_group_size": 40, "stage3_param_persistence_threshold": 0},
    {"stage": 3},
    {"stage": 1, "precision": "fp16"},
    {"stage": 3, "precision": "fp16"},
]


def write(directory: Path, model: Trained, stage: int, ranks: int) -> Path:
    """Write a step as the latest one of a directory; return that directory."""
    (directory / "global_step2").mkdir(parents=True)
    for name, value in step(model, stage, ranks).items():
        torch.save(value, directory / "global_step2" / name)
    (directory / "latest").write_text("global_step2")
    (directory / "config.json").write_text("{}")
    (directory / "zero_to_fp32.py").write_text("raise SystemExit\n")
    return directory


@pytest.mark.parametrize("target_format", ["safetensors", "bin"])
@pytest.mark.parametrize(("stage", "ranks"), [(1, 2), (2, 3), (3, 2), (3, 5)])
def test_what_was_trained_is_written(
    tmp_path: Path, run_cli: RunCli, stage: int, ranks: int, target_format: str
) -> None:
    """Several shards have the trained parameters, ties, frozen ones and buffers, and are proved;
    what is left out is named, and the configuration comes along.
    """
    model = sample()
    source, out = write(tmp_path / "run", model, stage, ranks), tmp_path / "out"
    options = ("--to", target_format, "--num-shards", "2", "--json")
    found = json.loads(run_cli("reshard", source, out, *options).stdout)
    assert_equal(load(result(out)), model.whole())
    left = {each["name"]: (each["reason"], each["size"]) for each in found["not_carried"]}
    moments = "optimizer_state_dict.base_optimizer_state"
    assert left[moments] == ("training state", ranks * 32)
    assert left["latest"][0] == left["zero_to_fp32.py"][0] == "training state"
    copied = {path.name for path in out.iterdir() if "model" not in path.name}
    assert copied == {"config.json"}
    assert "the cover of 8 tensors by" in run_cli("verify", source, "--deep").stderr
    call_cli("verify", out, "--against", source, "--deep", "-q")


def test_parameters_across_ranks_are_cast_and_arranged(tmp_path: Path) -> None:
    """What lies across several files is converted, and experts are stacked and split again."""
    torch.manual_seed(0)
    prefix = "model.layers.0.mlp.experts"
    parts = ("gate_proj", "up_proj", "down_proj")
    experts = {
        f"{prefix}.{number}.{part}.weight": torch.randn((5, 3) if part != "down_proj" else (3, 5))
        for number in range(3)
        for part in parts
    }
    source = write(tmp_path / "run", Trained((experts,)), 1, 4)
    call_cli("merge", source, tmp_path / "cast", "--dtype", "bf16", "--to", "safetensors", "-q")
    assert_equal(
        load(result(tmp_path / "cast")),
        {name: value.bfloat16() for name, value in experts.items()},
    )
    call_cli("merge", source, tmp_path / "stacked.safetensors", "--experts", "stack", "-q")
    stacked = load(tmp_path / "stacked.safetensors")
    assert {name: tuple(value.shape) for name, value in stacked.items()} == {
        f"{prefix}.gate_up_proj": (3, 10, 3),
        f"{prefix}.down_proj": (3, 3, 5),
    }
    again = write(tmp_path / "again", Trained((stacked,)), 3, 4)
    call_cli("merge", again, tmp_path / "split.safetensors", "--experts", "split", "-q")
    assert_equal(load(tmp_path / "split.safetensors"), experts)


def test_a_rank_without_a_file_is_named(tmp_path: Path, run_cli: RunCli) -> None:
    """A missing rank is an error before anything is written, and a finding with the others."""
    source = write(tmp_path / "run", sample(), 2, 3)
    (source / "global_step2" / optimizer_file(1)).unlink()
    assert "rank 1" in run_cli("merge", source, tmp_path / "out", code=3).stderr
    assert not (tmp_path / "out").exists()
    found = run_cli("verify", source, code=1).stdout
    assert "shard-set-incomplete" in found
    assert "rank 1" in found


def test_vectors_get_no_index(tmp_path: Path, run_cli: RunCli) -> None:
    """An index would name files that hold no tensors of these names."""
    source = write(tmp_path / "run", sample(), 2, 2)
    assert "slices of tensors" in run_cli("index", source, code=2).stderr


def test_a_damaged_vector_is_found(tmp_path: Path, run_cli: RunCli) -> None:
    """The checksum of a vector is compared once, though its parameters go to several shards."""
    source = write(tmp_path / "run", sample(), 2, 2)
    path = source / "global_step2" / optimizer_file(1)
    data = bytearray(path.read_bytes())
    vector = sample().parameters["a.weight"].reshape(-1)[-4:].numpy().tobytes()
    data[data.index(vector)] ^= 1
    path.write_bytes(data)
    assert "zip-crc-mismatch" in run_cli("verify", source, "--deep", code=1).stdout
    shards = ("--num-shards", "3", "--to", "safetensors")
    error = run_cli("reshard", source, tmp_path / "out", *shards, code=3).stderr
    assert "does not match its CRC-32" in error


@pytest.mark.slow
@pytest.mark.parametrize("options", RUNS, ids=lambda run: "-".join(map(str, run)))
@pytest.mark.parametrize("processes", [2, 3])
def test_deepspeed_puts_the_same_together(
    tmp_path: Path, run_cli: RunCli, options: dict[str, object], processes: int
) -> None:
    """DeepSpeed's own script makes the same of what it saved, but for frozen parameters of stage 1:
    it leaves those out, and they are taken from the module.
    """
    if importlib.util.find_spec("deepspeed") is None:
        pytest.skip("needs deepspeed, of the group `training`")
    program = "tests.support.deepspeed_run"
    run_processes(program, processes, "train", tmp_path / "run", json.dumps(options))
    run_processes(program, 1, "consolidate", tmp_path / "run", tmp_path / "theirs.pt")
    call_cli("merge", tmp_path / "run", tmp_path / "ours.bin", "-q")
    ours, theirs = load(tmp_path / "ours.bin"), torch.load(tmp_path / "theirs.pt")
    kept = {name for name in ours if name in theirs or not name.startswith("frozen.")}
    assert_equal({name: ours[name] for name in kept}, theirs)
    assert {"frozen.weight", "frozen.bias"} < ours.keys()
    assert ours["head.weight"].data_ptr() == ours["embed.weight"].data_ptr()
    assert "no problems found" in run_cli("verify", tmp_path / "run", "--deep").stderr
