"""Distributed checkpoints that shardctl wrote: torch loads them, in one process and in several."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from shardctl.torch import save_sharded
from tests.support.dcp_files import load_dcp
from tests.support.processes import run_processes
from tests.support.program import RunCli, call_cli
from tests.support.state_dicts import assert_equal, load, random_state_dict, result, save


@pytest.mark.parametrize("source_format", ["safetensors", "bin"])
@pytest.mark.parametrize("size", [(), ("--max-shard-size", "500"), ("--num-shards", "3")])
def test_torch_loads_what_was_written(
    tmp_path: Path, source_format: str, size: tuple[str, ...]
) -> None:
    """Every name, type and shape of a checkpoint is in the result, tied ones and views as well, for
    `dcp.load` and for `dcp_to_torch_save`; it is sound, proved, and the way back is equal.
    """
    state = random_state_dict(len(size))
    source = save(state, tmp_path / "source" / f"model.{source_format}")
    out = tmp_path / "out"
    call_cli("reshard", source, out, "--to", "dcp", "--verify", "-q", *size)
    assert_equal(load_dcp(out), state)
    dcp_to_torch_save(out, tmp_path / "torch.pt")
    assert_equal(torch.load(tmp_path / "torch.pt", weights_only=True), state)
    call_cli("verify", out, "--deep", "--against", source, "-q")
    assert len(list(out.glob("*.distcp"))) > 1 or not size
    call_cli("reshard", out, tmp_path / "back", "--to", source_format, "--single", "-q")
    assert_equal(load(result(tmp_path / "back")), state)


def test_names_that_were_only_recorded_are_written(tmp_path: Path) -> None:
    """A tie that safetensors records gets its bytes: a model that is loaded asks for every name."""
    weight = torch.randn(3, 2)
    save({"embed.weight": weight, "head.weight": weight}, tmp_path / "m" / "model.bin")
    call_cli("reshard", tmp_path / "m", tmp_path / "s", "--to", "safetensors", "-q")
    assert set(torch.load(tmp_path / "m" / "model.bin")) == {"embed.weight", "head.weight"}
    call_cli("reshard", tmp_path / "s", tmp_path / "out", "--to", "dcp", "-q")
    expected = {"embed.weight": weight, "head.weight": weight}
    assert_equal(load_dcp(tmp_path / "out"), expected)


def test_several_processes_load_their_slices(tmp_path: Path) -> None:
    """A model of which each of two processes has a part gets its weights from a plain checkpoint,
    under the key that the training program saves it with.
    """
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 1))
    torch.save(layers.state_dict(), tmp_path / "whole.pt")
    options = ("--to", "dcp", "--num-shards", "2", "--add-prefix", "model.", "-q")
    call_cli("reshard", tmp_path / "whole.pt", tmp_path / "dcp", *options)
    run_processes("tests.support.distributed_loading", 2, tmp_path)


def test_a_state_dict_in_memory_is_saved(tmp_path: Path) -> None:
    """A program saves its tensors in this format as in any other."""
    state = {"a": torch.randn(4, 3), "b": torch.arange(5)}
    save_sharded(state, tmp_path / "out", format="dcp", num_shards=2)
    assert_equal(load_dcp(tmp_path / "out"), state)


def test_what_else_a_writer_does(tmp_path: Path, run_cli: RunCli) -> None:
    """Tensors are converted and chosen on the way; the result is up to date, is not overwritten,
    and is replaced by name and in place; the path that is printed is the directory.
    """
    state = {"x.a": torch.randn(4, 3), "x.b": torch.randn(5), "y": torch.randn(2)}
    source = save(state, tmp_path / "source" / "model.safetensors")
    out = tmp_path / "out"
    options = ("--to", "dcp", "--dtype", "bf16", "--exclude", "y", "--strip-prefix", "x.")
    assert run_cli("reshard", source, out, *options).stdout == f"{out}\n"
    expected = {"a": state["x.a"].bfloat16(), "b": state["x.b"].bfloat16()}
    assert_equal(load_dcp(out), expected)
    assert "up to date" in run_cli("reshard", source, out, *options).stderr
    error = run_cli("reshard", source, out, "--to", "dcp", code=4).stderr
    assert "already holds a checkpoint: .metadata (1 file)" in error
    run_cli("reshard", source, out, "--to", "dcp", "--num-shards", "3", "--replace")
    assert_equal(load_dcp(out), state)
    run_cli("reshard", out, out, "--to", "dcp", "--num-shards", "2", "--replace")
    assert sorted(path.name for path in out.iterdir()) == [
        ".metadata", "__0_0.distcp", "__1_0.distcp",
    ]  # fmt: skip
    assert_equal(load_dcp(out), state)
    run_cli("merge", out, out, "--replace")
    assert [path.name for path in out.iterdir()] == ["model.safetensors"]


def test_what_a_distributed_checkpoint_cannot_be(tmp_path: Path, run_cli: RunCli) -> None:
    """It has no names to choose, and no loader of a pipeline reads it; without
    `--to`, what is read in pieces becomes safetensors.
    """
    source = save({"a": torch.randn(2)}, tmp_path / "source" / "model.safetensors")
    out = tmp_path / "out"
    for setting in ("--name", "--variant"):
        error = run_cli("reshard", source, out, "--to", "dcp", setting, "x", code=2).stderr
        assert f"{setting} 'x' is of no use" in error
    run_cli("reshard", source, out, "--to", "dcp")
    run_cli("reshard", out, tmp_path / "plain")
    assert (tmp_path / "plain" / "model.safetensors").is_file()
    run_cli("merge", out, tmp_path / "again", "--to", "dcp")
    assert len(list((tmp_path / "again").glob("*.distcp"))) == 1
    (tmp_path / "pipe" / "unet").mkdir(parents=True)
    (tmp_path / "pipe" / "model_index.json").write_text('{"_class_name": "X", "unet": ["a", "b"]}')
    save({"a": torch.randn(2)}, tmp_path / "pipe" / "unet" / "diffusion_pytorch_model.safetensors")
    error = run_cli("reshard", tmp_path / "pipe", tmp_path / "p", "--to", "dcp", code=2).stderr
    assert "no loader of a pipeline reads" in error
