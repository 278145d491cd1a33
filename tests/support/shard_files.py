"""Checkpoints of two small shards on the disk, with their index."""

from __future__ import annotations

import json
from pathlib import Path

from shardctl.testing.builders import safetensors_bytes

A, B = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


def put(directory: Path, name: str, *tensors: str, **metadata: str) -> Path:
    """Write a safetensors file with small tensors of those names, and return its path."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    held = {tensor: ("F32", [2], bytes(8)) for tensor in tensors}
    path.write_bytes(safetensors_bytes(held, metadata or None))
    return path


def put_index(
    directory: Path, weight_map: dict[str, str], name: str = INDEX, **metadata: object
) -> Path:
    """Write an index file, and return its path."""
    path = directory / name
    path.write_text(
        json.dumps({"metadata": {"total_size": 8, **metadata}, "weight_map": weight_map})
    )
    return path


def put_sharded(directory: Path) -> Path:
    """Write a sound checkpoint of two shards into a directory, and return that."""
    put(directory, A, "a")
    put(directory, B, "b")
    put_index(directory, {"a": A, "b": B})
    return directory
