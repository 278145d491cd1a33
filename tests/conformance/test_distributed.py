"""Checkpoints that several processes saved are read as torch puts them together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from tests.support.distributed import save_distributed
from tests.support.program import RunCli, call_cli
from tests.support.state_dicts import assert_equal, load, result


@pytest.fixture(scope="module", params=[2, 4])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two, or four, processes saved: see `save_distributed`."""
    directory = tmp_path_factory.mktemp(f"processes-{request.param}")
    save_distributed(directory, request.param)
    return directory


@pytest.mark.parametrize("target_format", ["safetensors", "bin"])
@pytest.mark.parametrize(
    ("name", "options"), [("dcp", ("--key", "model")), ("slices", ())], ids=["torch", "safetensors"]
)
def test_a_distributed_checkpoint_is_one_of_whole_tensors(
    saved: Path, tmp_path: Path, name: str, options: tuple[str, ...], target_format: str
) -> None:
    """Slices along rows, columns and both, uneven and empty ones, replicated tensors and scalars
    become what was divided, in either serialisation; the same options prove it.
    """
    out = tmp_path / "out"
    call_cli(
        "reshard", saved / name, out, "--to", target_format, "--num-shards", "2", "-q", *options
    )
    assert_equal(load(result(out)), torch.load(saved / "whole.pt"))
    call_cli("verify", saved / name, "--deep", "-q", *options)


def test_experts_that_several_processes_hold_are_split(saved: Path, tmp_path: Path) -> None:
    """Stacked experts of which each process has some, or a part of each, become single ones."""
    options = ("--key", "model", "--include", "*.experts.*", "--experts", "split", "-q")
    call_cli("reshard", saved / "dcp", tmp_path / "out", *options, "--to", "safetensors")
    found = load(result(tmp_path / "out"))
    whole = torch.load(saved / "whole.pt")
    module = "layers.0.mlp.experts"
    assert_equal(
        found,
        {
            f"{module}.{number}.{part}_proj.weight": tensor
            for number in range(4)
            for part, tensor in (
                ("gate", whole[f"{module}.gate_up_proj"][number, :6]),
                ("up", whole[f"{module}.gate_up_proj"][number, 6:]),
                ("down", whole[f"{module}.down_proj"][number]),
            )
        },
    )


def test_torch_puts_the_same_together(saved: Path, tmp_path: Path) -> None:
    """Torch's own conversion of the checkpoint has the same tensors."""
    dcp_to_torch_save(saved / "dcp", tmp_path / "torch.pt")
    theirs = torch.load(tmp_path / "torch.pt")["model"]
    call_cli("merge", saved / "dcp", tmp_path / "ours.safetensors", "--key", "model", "-q")
    assert_equal(load(tmp_path / "ours.safetensors"), theirs)


def test_a_missing_rank_is_named(saved: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """Without the file of one process, what it held is an error before anything is written."""
    shutil.copytree(saved / "dcp", tmp_path / "part")
    (tmp_path / "part" / "__1_0.distcp").unlink()
    messages = run_cli(
        "merge", tmp_path / "part", tmp_path / "out", "--key", "model", code=3
    ).stderr
    assert "__1_0.distcp" in messages
    assert "slices" in messages
    assert not (tmp_path / "out").exists()


def test_a_truncated_file_is_named(saved: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """A data file that ends too soon is an error that names it."""
    shutil.copytree(saved / "dcp", tmp_path / "part")
    data = (tmp_path / "part" / "__0_0.distcp").read_bytes()
    (tmp_path / "part" / "__0_0.distcp").write_bytes(data[:-100])
    found = run_cli("verify", tmp_path / "part", code=1).stdout
    assert "__0_0.distcp" in found
