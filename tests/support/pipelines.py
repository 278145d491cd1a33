"""A small pipeline, in memory or on disk: components of two libraries, and files of the tree."""

from __future__ import annotations

import json
from pathlib import Path

from shardctl.stores.base import Store
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import get, put, weights

DIFFUSION = "diffusion_pytorch_model"
#: The weights of each component, by their path in the pipeline.
WEIGHTS = {
    "text_encoder/model.safetensors": {"embed": b"\1" * 100, "norm": b"\2" * 20},
    "unet/diffusion_pytorch_model.safetensors": {f"up.{n}": bytes([n]) * 100 for n in range(3)},
    "vae/diffusion_pytorch_model.safetensors": {"decoder": b"\7" * 40},
}
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
#: The files of the tree beside the weights.
OTHERS = {
    "model_index.json": json.dumps(INDEX).encode(),
    "README.md": b"# read me",
    "scheduler/scheduler_config.json": b"{}",
    "tokenizer/vocab.json": b"{}",
    **{f"{name}/config.json": b"{}" for name in ("text_encoder", "unet", "vae")},
}


def pipeline(store: MemoryStore, directory: str = "p") -> MemoryStore:
    """Put the pipeline into a directory of a store; return the store."""
    for path, tensors in WEIGHTS.items():
        put(store, f"{directory}/{path}", weights(tensors))
    for path, data in OTHERS.items():
        put(store, f"{directory}/{path}", data)
    return store


def written_pipeline(directory: Path) -> Path:
    """Write the pipeline into a directory; return that."""
    every = {**{path: weights(tensors) for path, tensors in WEIGHTS.items()}, **OTHERS}
    for path, data in every.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return directory


def tree(store: Store, directory: str) -> dict[str, bytes]:
    """All files below a directory, by their names from there on."""
    found: dict[str, bytes] = {}
    for entry in store.list(directory):
        path = store.join(directory, entry.name)
        if entry.kind == "directory":
            inner = tree(store, path)
            found |= {f"{entry.name}/{name}": data for name, data in inner.items()}
        else:
            found[entry.name] = get(store, path)
    return found
