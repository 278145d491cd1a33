"""A terminal to run the documentation's examples in, with checkpoints in its directory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import reference
from tests.docs.pages import Shell
from tests.docs.program import served
from tests.support.safetensors_files import write_floats
from tests.support.state_dicts import save, write_torch
from tests.support.zero_files import Trained, step

#: The stand-in for a language model: eleven tensors of two sizes, 4 bytes an element.
SMALL, LARGE = 4_000, 40_000


@pytest.fixture(scope="session")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for the PATH with `shardctl` in it."""
    with served(tmp_path_factory.mktemp("program")) as directory:
        yield directory


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model`: a safetensors file with a config and a tokenizer; `several`: a language model beside
    a vision tower; `mixture`: two experts of a layer; `bert-base-cased`: the reference case, scaled
    down; `last.ckpt`: what a trainer saved; `checkpoint-500`: what two ranks of one saved.
    """
    directory = tmp_path_factory.mktemp("checkpoints")
    sizes = {"model.embed_tokens.weight": LARGE}
    for layer in range(3):
        sizes |= {
            f"model.layers.{layer}.mlp.weight": LARGE,
            f"model.layers.{layer}.attention.weight": LARGE,
        }
        sizes |= {f"model.layers.{layer}.norm.weight": SMALL}
    sizes |= {"lm_head.weight": LARGE}
    write_floats(directory / "model" / "model.safetensors", sizes, fill=1)
    (directory / "model" / "config.json").write_text(json.dumps({"model_type": "small"}))
    (directory / "model" / "tokenizer.json").write_text("{}")
    several = {
        **{f"language_model.{name}": SMALL for name in sizes},
        **{f"vision_tower.blocks.{block}.weight": SMALL for block in range(2)},
    }
    write_floats(directory / "several" / "model.safetensors", several)
    (directory / "several" / "config.json").write_text(json.dumps({"model_type": "several"}))
    mixture = {
        f"model.layers.0.mlp.experts.{expert}.{part}_proj.weight": torch.ones(shape)
        for expert in range(2)
        for part, shape in (("gate", (2, 4)), ("up", (2, 4)), ("down", (4, 2)))
    }
    mixture["model.layers.0.mlp.gate.weight"] = torch.ones(2, 4)
    save(mixture, directory / "mixture" / "model.safetensors")
    trained = {
        **{f"model.{name}": torch.ones(4) for name in ("embed.weight", "head.weight", "head.bias")},
        "criterion.weight": torch.ones(2),
    }
    write_torch(
        directory / "last.ckpt",
        {"epoch": 3, "state_dict": trained, "optimizer_states": [{"state": {}}]},
    )
    embedding, mlp = torch.ones(11, 5), torch.ones(7, 5)
    divided = Trained(
        ({"embed.weight": embedding, "mlp.weight": mlp},), shared={"head.weight": "embed.weight"}
    )
    for name, value in step(divided, 2, 2).items():
        write_torch(directory / "checkpoint-500" / "global_step500" / name, value)
    (directory / "checkpoint-500" / "latest").write_text("global_step500\n")
    (directory / "checkpoint-500" / "config.json").write_text(json.dumps({"model_type": "small"}))
    with pytest.MonkeyPatch.context() as patch:
        scale_down(patch)
        reference.make(str(directory / "bert-base-cased"))
    return directory


def scale_down(patch: pytest.MonkeyPatch, by: int = 16) -> None:
    """Make the reference checkpoint's script make one of the same names with all dimensions
    divided.
    """
    for name in ("VOCABULARY", "POSITIONS", "HIDDEN", "INTERMEDIATE"):
        patch.setattr(reference, name, getattr(reference, name) // by)
    total = sum(tensor.nbytes for tensor in reference.tensors_in("weights.raw"))
    patch.setattr(reference, "TOTAL_BYTES", total)


@pytest.fixture
def shell(binaries: Path, checkpoints: Path, tmp_path: Path) -> Shell:
    """A shell in a fresh directory that holds the checkpoints."""
    directory = tmp_path / "work"
    shutil.copytree(checkpoints, directory)
    return Shell(directory, binaries)
