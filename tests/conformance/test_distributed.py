"""Checkpoints that several processes saved are read as torch puts them together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint._consolidate_hf_safetensors import consolidate_safetensors_files
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
    ("name", "options"),
    [("dcp", ("--key", "model")), ("slices", ()), ("hub", ()), ("ranks", ())],
    ids=["torch", "safetensors", "hub", "ranks"],
)
def test_a_distributed_checkpoint_is_one_of_whole_tensors(
    saved: Path, tmp_path: Path, name: str, options: tuple[str, ...], target_format: str
) -> None:
    """Slices along rows, columns and both, uneven and empty ones, replicated tensors and scalars
    become what was divided, however they were saved; the same options prove it.
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


def test_torch_consolidates_the_same(saved: Path, tmp_path: Path) -> None:
    """Torch's own consolidation of files of slices has the same tensors.

    It fails for integers, and does not write the value of a tensor without dimensions.
    """
    names = [name for name in torch.load(saved / "whole.pt") if name not in ("steps", "scale")]
    consolidate_safetensors_files(str(saved / "hub"), str(tmp_path), dict.fromkeys(names, 1))
    (theirs,) = tmp_path.glob("model-*.safetensors")
    ours = tmp_path / "ours.safetensors"
    call_cli("merge", saved / "hub", ours, "--exclude", "s*", "-q")
    assert_equal(load(ours), load(theirs))


def test_files_of_slices_are_read_together(saved: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """One of them means all when writing; alone it is an error, and so is a missing number."""
    first, second, *_ = sorted((saved / "hub").iterdir())
    note = run_cli("merge", second, tmp_path / "out").stderr
    assert "all of them are read" in note
    assert_equal(load(result(tmp_path / "out")), torch.load(saved / "whole.pt"))
    for each in (first, second):
        assert "tensor-slices" in run_cli("verify", each, code=1).stdout
    (tmp_path / "alone").mkdir()
    shutil.copy(first, tmp_path / "alone")
    error = run_cli("merge", tmp_path / "alone", tmp_path / "no", code=3).stderr
    assert "slices of tensors, and not a model" in error
    assert "shard-00001-model-" in error
    shutil.copytree(saved / "hub", tmp_path / "gap")
    (tmp_path / "gap" / first.name).unlink()
    left = len(list((tmp_path / "gap").iterdir()))
    found = run_cli("verify", tmp_path / "gap", code=1 if left > 1 else 3)
    assert ("rank 1" in found.stdout) if left > 1 else ("not a model" in found.stderr)


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


def test_a_copy_is_compared_with_what_it_was_made_of(
    saved: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """A key counts for the one of two checkpoints that is nested, in either order."""
    out = tmp_path / "out"
    call_cli("merge", saved / "dcp", out, "--key", "model", "-q")
    for a, b in ((out, saved / "dcp"), (saved / "dcp", out)):
        call_cli("verify", a, "--against", b, "--key", "model", "--deep", "-q")
        assert "10 tensors equal" in run_cli("diff", a, b, "--key", "model").stderr
    error = run_cli("verify", out, "--against", out, "--key", "model", code=3).stderr
    assert "has no state dict at 'model'" in error


def test_ranks_and_slices_are_shown(saved: Path, run_cli: RunCli) -> None:
    """Inspecting says in how many slices and files the tensors are, and checking covers them."""
    processes = len(list((saved / "dcp").glob("*.distcp")))
    slices = {2: 16, 4: 28}[processes]
    shown = run_cli("inspect", saved / "dcp", "--json")
    assert f"10 tensors in {slices} slices in {processes} files" in shown.stderr
    found = json.loads(shown.stdout)
    assert sum(each["tensors"] for each in found["files"]) == slices
    assert sum(each["data_size"] for each in found["files"]) == found["total_size"]
    assert "the cover of 10 tensors by" in run_cli("verify", saved / "slices").stderr


def test_what_is_no_tensor_and_what_is_a_piece(
    saved: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """Entries beside the model are named, and no piece of the checkpoint is copied as a file."""
    shutil.copytree(saved / "dcp", tmp_path / "dcp")
    (tmp_path / "dcp" / "__7_0.distcp").write_bytes(b"left over")
    (tmp_path / "dcp" / "config.json").write_text("{}")
    options = ("--key", "model", "--companions", "all", "--json")
    found = json.loads(run_cli("merge", tmp_path / "dcp", tmp_path / "out", *options).stdout)
    left = {each["name"]: each["reason"] for each in found["not_carried"]}
    assert left == {
        "__7_0.distcp": "a piece of a distributed checkpoint",
        "optimizer": "beside the chosen key",
        "epoch": "beside the chosen key",
    }
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "config.json",
        "model.safetensors",
    }


def test_shares_that_do_not_follow_one_another(saved: Path, tmp_path: Path) -> None:
    """A tensor that is divided twice along one dimension, in any order, or in strides, is whole;
    what has one storage in every rank is tied.
    """
    call_cli("reshard", saved / "shares", tmp_path, "--key", "module", "--to", "bin", "-q")
    found = load(result(tmp_path))
    assert_equal(found, torch.load(saved / "shares.pt")["module"])
    assert found["tied.weight"].data_ptr() == found["twice.weight"].data_ptr()


@pytest.mark.parametrize("target_format", ["safetensors", "bin"])
def test_shards_of_fsdp1_are_whole(
    saved: Path, tmp_path: Path, run_cli: RunCli, target_format: str
) -> None:
    """Shards of ranks, of which some have none, and a buffer that all have are the model's; what
    torch would import for them is said.
    """
    call_cli("reshard", saved / "fsdp1", tmp_path, "--to", target_format, "-q")
    assert_equal(load(result(tmp_path)), torch.load(saved / "fsdp1.pt"))
    found = run_cli("verify", saved / "fsdp1", "--deep", "--json", code=1).stdout
    findings = json.loads(found)["findings"]
    assert {each["code"] for each in findings} == {"pickle-unsafe"}
    assert all("import __builtin__.getattr:" in each["message"] for each in findings)


def test_parts_of_a_sum_are_refused(saved: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """A tensor that is the sum of what ranks have is not put together."""
    messages = run_cli("merge", saved / "sums", tmp_path / "out", code=3).stderr
    assert "its placement is Partial" in messages
    assert "a.weight" in messages


def test_a_rank_without_a_file_is_named(saved: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """The names say how many ranks there are, so a missing one is known by its number; what is left
    of two is refused for what it holds.
    """
    shutil.copytree(saved / "ranks", tmp_path / "part")
    first, second, *others = sorted((tmp_path / "part").iterdir())
    second.unlink()
    messages = run_cli("merge", tmp_path / "part", tmp_path / "out", code=3).stderr
    assert ("rank 1" if others else "DTensor") in messages
    found = run_cli("verify", tmp_path / "part", code=1).stdout
    assert "shard-set-incomplete" in found
    assert "embed.weight" in found
    assert "DTensor" in run_cli("verify", first, code=1).stdout


@pytest.mark.parametrize("name", ["dcp", "hub", "ranks"])
def test_slices_get_no_index(saved: Path, run_cli: RunCli, name: str) -> None:
    """An index of slices would make loaders take them for whole tensors."""
    assert "slices of tensors" in run_cli("index", saved / name, code=2).stderr
    assert not list((saved / name).glob("*.json"))
