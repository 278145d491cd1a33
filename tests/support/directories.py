"""Directories of checkpoints as people have them, made of tiny weights.

The model has three tensors, `a`, `b` and `c`. All elements of a file are its generation, so that
what was loaded says from which file it came.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

NAMES = "abc"
#: Fills a part of a directory.
Step = Callable[[Path], object]
INDEX = "model.safetensors.index.json"
BIN_INDEX = "pytorch_model.bin.index.json"


def weights(name: str, generation: int = 1, tensors: Iterable[str] = NAMES) -> Step:
    """A weights file whose tensors are all of one generation."""
    return mixed(name, dict.fromkeys(tensors, generation))


def mixed(name: str, generations: Mapping[str, int]) -> Step:
    """A weights file: safetensors by its suffix, else as `torch.save` writes it."""

    def step(directory: Path) -> None:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        held = {each: torch.full((4,), float(value)) for each, value in generations.items()}
        if name.endswith(".safetensors"):
            save_file(held, path, {"format": "pt"})
        else:
            torch.save(held, path)

    return step


def names_of(form: str, count: int = 3, first: int = 1) -> list[str]:
    """File names by a form with `i` and `n`, for example `model-{i:05d}-of-{n:05d}.bin`."""
    return [form.format(i=number, n=count) for number in range(first, first + count)]


SHARDS = names_of("model-{i:05d}-of-{n:05d}.safetensors")
BIN_SHARDS = names_of("pytorch_model-{i:05d}-of-{n:05d}.bin")
FP16 = names_of("model.fp16-{i:05d}-of-{n:05d}.safetensors")
DIFFUSION = names_of("diffusion_pytorch_model-{i:05d}-of-{n:05d}.safetensors")
SIX = names_of("model-{i:05d}-of-{n:06d}.safetensors")
ZERO = names_of("model-{i:05d}-of-{n:05d}.safetensors", first=0)
RANKED = names_of("hf_model_{i:04d}_0.pt")
PAIR = names_of("model-{i:05d}-of-{n:05d}.safetensors", 2)
FREE = names_of("part{i}.safetensors")


def shards(names: Iterable[str], generation: int = 1) -> Step:
    """Three files, each with one of the tensors."""
    files = list(zip(names, NAMES, strict=True))
    return _all(*(weights(name, generation, [tensor]) for name, tensor in files))


def index(name: str, files: Iterable[str] | Mapping[str, str], *, flat: bool = False) -> Step:
    """An index that places the tensors in these files, in their order."""
    listed = files if isinstance(files, Mapping) else zip(NAMES, files, strict=True)
    weight_map = dict(listed)
    document = {"metadata": {"total_size": 48}, "weight_map": weight_map}
    data = json.dumps(weight_map if flat else document, indent=2, sort_keys=True) + "\n"
    return text(name, data)


def remove(name: str) -> Step:
    """A file less."""
    return lambda directory: (directory / name).unlink()


def text(name: str, data: str = "") -> Step:
    """Any other file."""

    def step(directory: Path) -> None:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data, encoding="utf-8")

    return step


def sharded(generation: int = 1) -> Step:
    """A safetensors set of three with its index."""
    return _all(shards(SHARDS, generation), index(INDEX, SHARDS))


def bin_sharded(generation: int = 1) -> Step:
    """A torch set of three with its index."""
    return _all(shards(BIN_SHARDS, generation), index(BIN_INDEX, BIN_SHARDS))


def _all(*steps: Step) -> Step:
    def step(directory: Path) -> None:
        for each in steps:
            each(directory)

    return step
