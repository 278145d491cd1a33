"""Which file of a directory each upstream loader takes."""

from __future__ import annotations

import pytest

from shardctl.source.directory.candidates import Candidate, candidates
from shardctl.source.directory.loaders import loader_choices


def directory(*names: str) -> list[Candidate]:
    """The checkpoints of a directory with these names, every index unread."""
    return candidates(names, lambda _: None)


@pytest.mark.parametrize(
    ("names", "transformers", "hub", "accelerate"),
    [
        (
            ("model.safetensors", "pytorch_model.bin"),
            "model.safetensors",
            "model.safetensors",
            "pytorch_model.bin",
        ),
        (
            ("model.safetensors", "model.safetensors.index.json"),
            "model.safetensors",
            "model.safetensors.index.json",
            "model.safetensors",
        ),
        (
            ("pytorch_model.bin", "pytorch_model.bin.index.json"),
            "pytorch_model.bin",
            "pytorch_model.bin.index.json",
            "pytorch_model.bin",
        ),
        (
            ("model.safetensors", "pytorch_model.bin.index.json"),
            "model.safetensors",
            "pytorch_model.bin.index.json",
            "model.safetensors",
        ),
        (
            ("model.safetensors.index.json", "pytorch_model.bin.index.json"),
            "model.safetensors.index.json",
            "model.safetensors.index.json",
            "none",
        ),
        (("model.fp16.safetensors", "consolidated.safetensors"), "none", "none", "none"),
        (("model.fp16.safetensors",), "none", "model.fp16.safetensors", "none"),
        (
            ("weight_map.index.json", "x.bin", "y.bin"),
            "none",
            "none",
            "weight_map.index.json",
        ),
    ],
)
def test_loader_choices(
    names: tuple[str, ...], transformers: str, hub: str, accelerate: str
) -> None:
    """Each loader's own order of names decides; a variant is taken by none of them unasked,
    but by the hub's if it is the only file.
    """
    wanted = {"transformers": transformers, "huggingface_hub": hub, "accelerate": accelerate}
    assert loader_choices(directory(*names)) == wanted
