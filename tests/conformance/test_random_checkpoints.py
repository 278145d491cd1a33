"""Checkpoints of everything that may be in one, sent on random routes and compared with upstream's
own loaders.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.program import call_cli
from tests.support.state_dicts import assert_equal, load, random_state_dict, result, save

if TYPE_CHECKING:
    import torch

SEEDS = range(6)


def storages(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[int, int]]:
    """Where each non-empty tensor begins: its storage and its offset."""
    return {
        name: (tensor.untyped_storage().data_ptr(), tensor.storage_offset())
        for name, tensor in tensors.items()
        if tensor.numel()
    }


def ties(tensors: dict[str, torch.Tensor]) -> set[frozenset[str]]:
    """The sets of names that share a storage."""
    groups: dict[int, set[str]] = {}
    for name, (pointer, _) in storages(tensors).items():
        groups.setdefault(pointer, set()).add(name)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("first", ["safetensors", "bin"])
def test_any_route_keeps_every_bit(tmp_path: Path, seed: int, first: str) -> None:
    """Through three formats and numbers of shards, every tensor keeps its name, type, shape and
    bits.
    """
    expected = random_state_dict(seed)
    draw = random.Random(f"{seed} {first}")
    at = save(expected, tmp_path / "0" / f"model.{first}")
    for step in range(1, 4):
        directory = tmp_path / str(step)
        size: list[object] = draw.choice(
            [
                ["--single"],
                ["--num-shards", draw.randint(2, 6)],
                ["--max-shard-size", draw.choice([64, 300])],
            ]
        )
        tied = draw.choice(["share", "expand"])
        call_cli(
            "reshard",
            at.parent,
            directory,
            "--to",
            draw.choice(["safetensors", "bin"]),
            "--tied",
            tied,
            *size,
            "-q",
        )
        at = result(directory)
        assert_equal(load(at), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_bin_to_bin_keeps_ties_and_strides(tmp_path: Path, seed: int) -> None:
    """Split and merged again, a `.bin` has the shared storages and the strides of the one that
    torch wrote.
    """
    expected = random_state_dict(seed)
    save(expected, tmp_path / "a" / "pytorch_model.bin")
    call_cli("split", tmp_path / "a", tmp_path / "b", "--num-shards", 4, "-q")
    call_cli("merge", tmp_path / "b", tmp_path / "c" / "pytorch_model.bin", "-q")
    found = load(tmp_path / "c" / "pytorch_model.bin")
    assert_equal(found, expected)
    assert ties(found) == ties(expected)
    assert {name: t.stride() for name, t in found.items()} == {
        name: t.stride() for name, t in expected.items()
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_safetensors_merges_to_the_very_same_file(tmp_path: Path, seed: int) -> None:
    """A safetensors file that was split and merged is the file that safetensors wrote, byte for
    byte.
    """
    source = save(random_state_dict(seed), tmp_path / "a" / "model.safetensors")
    call_cli("split", tmp_path / "a", tmp_path / "b", "--num-shards", 5, "-q")
    call_cli("merge", tmp_path / "b", tmp_path / "c.safetensors", "-q")
    assert (tmp_path / "c.safetensors").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plan_determines_the_bytes(tmp_path: Path, seed: int) -> None:
    """One worker or four, a first run or a second: the files are the same, and the source is
    untouched.
    """
    source = save(random_state_dict(seed), tmp_path / "a" / "pytorch_model.bin")
    before = source.read_bytes()
    files = []
    for jobs in (1, 4):
        target = tmp_path / f"jobs{jobs}"
        call_cli(
            "split", tmp_path / "a", target, "--num-shards", 6, "--jobs", jobs, "--no-record", "-q"
        )
        files.append(
            {path.name: path.read_bytes() for path in sorted(target.iterdir()) if path.is_file()}
        )
    assert files[0] == files[1]
    assert source.read_bytes() == before


@pytest.mark.filterwarnings("ignore:ComplexHalf support")
def test_types_of_torch_alone_stay_in_bin(tmp_path: Path) -> None:
    """Complex numbers of 32 and 128 bits go from `.bin` to `.bin`."""
    import torch

    expected = {
        "a": torch.tensor([1 + 2j], dtype=torch.complex128),
        "b": torch.tensor([3 + 4j]).to(torch.complex32),
    }
    save(expected, tmp_path / "a" / "pytorch_model.bin")
    call_cli("split", tmp_path / "a", tmp_path / "b", "--num-shards", 2, "-q")
    found = load(result(tmp_path / "b"))
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in found.items()} == {
        name: (tensor.dtype, tensor.shape) for name, tensor in expected.items()
    }
    assert torch.equal(torch.view_as_real(found["a"]), torch.view_as_real(expected["a"]))


@pytest.mark.filterwarnings("ignore:ComplexHalf support")
@pytest.mark.parametrize("name", ["complex128", "complex32"])
def test_types_of_torch_alone_are_refused_for_safetensors(tmp_path: Path, name: str) -> None:
    """A type that safetensors does not have is an error that names the tensor, and nothing is
    written.
    """
    import torch

    from tests.support.program import run_cli

    save(
        {"weight.x": torch.zeros(2, dtype=getattr(torch, name))},
        tmp_path / "a" / "pytorch_model.bin",
    )
    done = run_cli("reshard", tmp_path / "a", tmp_path / "b", "--to", "safetensors", code=2)
    assert "weight.x" in done.stderr
    assert name in done.stderr
    assert not (tmp_path / "b").exists()
