"""The reference case: BERT base in shards of 200 MB, as known from `save_pretrained`, through the
real program.
"""

from __future__ import annotations

import filecmp
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.program import ROOT, run_cli
from tests.support.state_dicts import load

if TYPE_CHECKING:
    import torch

TOTAL_SIZE = 433_245_184
SHARDS = [f"pytorch_model-0000{number}-of-00003.bin" for number in (1, 2, 3)]
POSITIONS = "embeddings.position_ids"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of the unsharded checkpoint: `config.json` and `pytorch_model.bin`."""
    directory = tmp_path_factory.mktemp("reference") / "whole"
    subprocess.run(
        [sys.executable, "benchmarks/reference.py", directory],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    yield directory
    remove(directory)


@pytest.fixture(scope="module")
def sharded(whole: Path) -> Iterator[Path]:
    """The directory that the split wrote."""
    directory = whole.parent / "sharded"
    done = run_cli("split", whole, directory, "--max-shard-size", "200MB")
    assert done.stdout == f"{directory / 'pytorch_model.bin.index.json'}\n"
    yield directory
    remove(directory)


@pytest.fixture(scope="module")
def safe(whole: Path) -> Iterator[Path]:
    """The directory of the same shards in safetensors."""
    directory = whole.parent / "safe"
    run_cli("reshard", whole, directory, "--to", "safetensors", "--max-shard-size", "200MB")
    yield directory
    remove(directory)


@pytest.fixture(scope="module")
def weights(whole: Path) -> dict[str, torch.Tensor]:
    """The unsharded checkpoint as torch loads it."""
    import torch

    loaded: dict[str, torch.Tensor] = torch.load(
        whole / "pytorch_model.bin", weights_only=True, mmap=True
    )
    return loaded


def remove(directory: Path) -> None:
    """Free the space of a directory of files at once; pytest would keep it for three sessions."""
    for path in directory.rglob("*"):
        if path.is_file():
            path.unlink()


def index_of(directory: Path, name: str) -> dict[str, dict[str, object]]:
    """The index of a directory."""
    document: dict[str, dict[str, object]] = json.loads((directory / name).read_text())
    return document


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """The same names with equal tensors."""
    import torch

    assert set(found) == set(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def empty_model() -> torch.nn.Module:
    """BERT base with the weights of chance."""
    import torch
    from transformers import BertConfig, BertModel

    with torch.device("meta"):
        model = BertModel(BertConfig(vocab_size=28996))
    empty: torch.nn.Module = model.to_empty(device="cpu")
    return empty


def test_the_source_is_the_models_own_state_dict(weights: dict[str, torch.Tensor]) -> None:
    """The reference checkpoint has BERT's names, shapes and order, after the buffer of positions:
    200 tensors.
    """
    shapes = {name: tensor.shape for name, tensor in empty_model().state_dict().items()}
    assert next(iter(weights)) == POSITIONS
    assert list(weights)[1:] == list(shapes)
    assert {name: tensor.shape for name, tensor in weights.items() if name != POSITIONS} == shapes
    assert weights[POSITIONS].flatten().tolist() == list(range(512))
    assert sum(tensor.nbytes for tensor in weights.values()) == TOTAL_SIZE


def test_the_files_have_the_names_that_loaders_know(sharded: Path) -> None:
    """The directory holds the configuration, three numbered shards and their index, and shardctl's
    record.
    """
    names = {path.name for path in sharded.iterdir()}
    assert names == {"config.json", *SHARDS, "pytorch_model.bin.index.json"}


def test_the_index_is_the_one_that_is_known(sharded: Path) -> None:
    """66, 112 and 22 tensors; `metadata` has the total size alone; written as transformers writes
    it.
    """
    index = index_of(sharded, "pytorch_model.bin.index.json")
    shards = list(index["weight_map"].values())
    assert [shards.count(name) for name in SHARDS] == [66, 112, 22]
    assert index["metadata"] == {"total_size": TOTAL_SIZE}
    assert list(index) == ["metadata", "weight_map"]
    for part in ("bias", "weight"):
        assert index["weight_map"][f"embeddings.LayerNorm.{part}"] == SHARDS[0]
    text = json.dumps(index, indent=2, sort_keys=True) + "\n"
    assert (sharded / "pytorch_model.bin.index.json").read_text() == text


@pytest.mark.parametrize(
    ("directory", "pattern"),
    [("sharded", "pytorch_model{suffix}.bin"), ("safe", "model{suffix}.safetensors")],
)
def test_the_index_equals_the_hubs(
    directory: str, pattern: str, weights: dict[str, torch.Tensor], request: pytest.FixtureRequest
) -> None:
    """In both formats the shards are those that huggingface_hub plans for the same state dict."""
    from huggingface_hub import split_torch_state_dict_into_shards

    # Memory-mapped tensors share one storage; the hub's planner is shown each with a storage of its
    # own.
    own = {name: tensor.clone() for name, tensor in weights.items()}
    plan = split_torch_state_dict_into_shards(own, filename_pattern=pattern, max_shard_size="200MB")
    index = index_of(request.getfixturevalue(directory), pattern.format(suffix="") + ".index.json")
    assert index == {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}


def test_every_shard_holds_what_the_index_says(
    sharded: Path, weights: dict[str, torch.Tensor]
) -> None:
    """Each shard is loaded by torch, and together they are the state dict."""
    assert_same(load(sharded / "pytorch_model.bin.index.json"), weights)


@pytest.mark.parametrize("directory", ["sharded", "safe"])
def test_from_pretrained_loads_it(
    directory: str, weights: dict[str, torch.Tensor], request: pytest.FixtureRequest
) -> None:
    """The directory is loaded by transformers with nothing missing, and every parameter equal."""
    from transformers import BertModel

    path = request.getfixturevalue(directory)
    model, loading = BertModel.from_pretrained(
        path, output_loading_info=True, use_safetensors=directory == "safe"
    )
    assert not loading["missing_keys"]
    assert not loading["mismatched_keys"]
    assert_same(
        model.state_dict(), {name: tensor for name, tensor in weights.items() if name != POSITIONS}
    )


@pytest.mark.parametrize("directory", ["sharded", "safe"])
def test_load_sharded_checkpoint_loads_it(
    directory: str, weights: dict[str, torch.Tensor], request: pytest.FixtureRequest
) -> None:
    """The loader of transformers that takes one shard after another finds every key."""
    from transformers.trainer_utils import load_sharded_checkpoint

    model = empty_model()
    result = load_sharded_checkpoint(model, str(request.getfixturevalue(directory)), strict=False)
    assert not result.missing_keys
    assert list(result.unexpected_keys) == [POSITIONS]
    assert_same(
        model.state_dict(), {name: tensor for name, tensor in weights.items() if name != POSITIONS}
    )


@pytest.mark.parametrize("directory", ["sharded", "safe"])
def test_accelerate_loads_it(
    directory: str, weights: dict[str, torch.Tensor], request: pytest.FixtureRequest
) -> None:
    """The loader of accelerate for little memory reads the same directory."""
    from accelerate import load_checkpoint_in_model

    model = empty_model()
    load_checkpoint_in_model(model, str(request.getfixturevalue(directory)))
    assert_same(
        model.state_dict(), {name: tensor for name, tensor in weights.items() if name != POSITIONS}
    )


def test_merging_gives_the_first_file_back(sharded: Path, whole: Path) -> None:
    """The shards merge to the unsharded file, byte for byte."""
    merged = whole.parent / "merged" / "pytorch_model.bin"
    done = run_cli("merge", sharded, merged)
    assert done.stdout == f"{merged}\n"
    assert filecmp.cmp(merged, whole / "pytorch_model.bin", shallow=False)
    remove(merged.parent)


def test_safetensors_merge_back_to_equal_tensors(
    safe: Path, whole: Path, weights: dict[str, torch.Tensor]
) -> None:
    """The shards in safetensors merge to a `.bin` with the same tensors."""
    merged = whole.parent / "back" / "pytorch_model.bin"
    run_cli("merge", safe, merged)
    assert_same(load(merged), weights)
    remove(merged.parent)


@pytest.mark.parametrize("directory", ["whole", "sharded", "safe"])
def test_it_verifies(directory: str, request: pytest.FixtureRequest) -> None:
    """All bytes of what was made and written are found sound; only of safetensors, which record no
    checksums, it is noted that nothing vouches for them.
    """
    done = run_cli("verify", request.getfixturevalue(directory), "--deep", "--strict", "--json")
    document = json.loads(done.stdout)
    assert document["ok"]
    wanted = ["content-unchecked"] if directory == "safe" else []
    assert [finding["code"] for finding in document["findings"]] == wanted
    assert document["checked"]["tensors"] == 200


def test_both_formats_hold_the_same(sharded: Path, safe: Path) -> None:
    """Compared byte by byte across formats, the shards are equal."""
    run_cli("verify", safe, "--against", sharded, "--deep")


def test_inspect_counts_it(sharded: Path) -> None:
    """The sums of the whole: 108,310,784 parameters in 433,245,184 bytes."""
    document = json.loads(run_cli("inspect", sharded, "--json").stdout)
    assert document["total_size"] == TOTAL_SIZE
    assert document["total_parameters"] == 108_310_784
    assert [(file["name"], file["tensors"]) for file in document["files"]] == list(
        zip(SHARDS, (66, 112, 22), strict=True)
    )


def test_a_second_run_has_nothing_to_do(sharded: Path, whole: Path) -> None:
    """The same command again writes nothing, says so, and prints the same path."""
    before = {path: path.stat().st_mtime_ns for path in sharded.rglob("*")}
    done = run_cli("split", whole, sharded, "--max-shard-size", "200MB")
    assert "up to date" in done.stderr
    assert done.stdout == f"{sharded / 'pytorch_model.bin.index.json'}\n"
    assert {path: path.stat().st_mtime_ns for path in sharded.rglob("*")} == before
    assert run_cli("split", whole, sharded, "--max-shard-size", "200MB", "--check").stdout == ""
