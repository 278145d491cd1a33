"""Which of several checkpoints in a directory is meant."""

from __future__ import annotations

import pytest

from shardctl.source.directory.candidates import candidates
from shardctl.source.directory.choice import choose

INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
DIFFUSERS = "diffusion_pytorch_model"


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("pytorch_model.bin", "model.safetensors"), "model.safetensors"),
        (("pytorch_model.bin", INDEX, *SHARDS), INDEX),
        (("model.safetensors", INDEX, *SHARDS), "model.safetensors"),
        (("model.fp16.safetensors", "model.safetensors"), "model.safetensors"),
        (("model.fp16.safetensors", "pytorch_model.bin"), "pytorch_model.bin"),
        (("consolidated.safetensors", "model.safetensors"), "model.safetensors"),
        (("consolidated.safetensors", *SHARDS), SHARDS[0]),
        (("consolidated.safetensors",), "consolidated.safetensors"),
        (("pytorch_model.bin", *SHARDS), "pytorch_model.bin"),
        (("custom.safetensors.index.json", "model.safetensors"), "model.safetensors"),
        (("model.pt", "model.safetensors"), "model.safetensors"),
        (("adapter_model.bin", "adapter_model.safetensors"), "adapter_model.safetensors"),
        (
            (f"{DIFFUSERS}.safetensors", f"{DIFFUSERS}.safetensors.index.json"),
            f"{DIFFUSERS}.safetensors.index.json",
        ),
        (("model.safetensors", "adapter_model.safetensors"), None),
        (("model.safetensors", f"{DIFFUSERS}.safetensors"), None),
        (("model.fp16.safetensors", "model.bf16.safetensors"), None),
        (("model.pt", "model.ckpt"), None),
        (("a.safetensors", "b.safetensors"), None),
        ((*SHARDS, "model-00001-of-00003.safetensors"), None),
    ],
)
def test_the_choice_is_that_of_the_models_loader(names: tuple[str, ...], taken: str | None) -> None:
    """Safetensors before torch, single before index, no variant; nothing decides between kinds, or
    where no loader takes any.
    """
    choice = choose(candidates(names, lambda _: set(SHARDS)))
    assert (choice.taken and choice.taken.choice) == taken


def test_a_variant_is_chosen_among_its_own() -> None:
    """With a variant its safetensors file is taken, and the rest is named in a note."""
    names = ("model.safetensors", "model.fp16.safetensors", "pytorch_model.fp16.bin")
    choice = choose(candidates(names, lambda _: None), "fp16")
    assert choice.taken is not None
    assert choice.taken.choice == "model.fp16.safetensors"
    assert "model.safetensors, pytorch_model.fp16.bin" in (choice.note("m") or "")


def test_no_note_without_others() -> None:
    """The only checkpoint needs no note."""
    assert choose(candidates(("model.safetensors",), lambda _: None)).note("m") is None
