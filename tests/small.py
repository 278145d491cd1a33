"""Small checkpoints in memory, made with shardctl's own writer: no torch, no disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shardctl.formats.registry import writer_of
from shardctl.model import DTYPES, Checkpoint, Extent, File, Storage, Tensor, Version
from shardctl.testing.builders import materialise
from shardctl.testing.memory import MemoryStore

#: The type of the floats below.
F32 = DTYPES["F32"]


def floats(name: str, elements: int, offset: int = 0, storage: Storage | None = None) -> Tensor:
    """A flat tensor of floats, in a storage of its own unless one is given."""
    own = storage or Storage(Extent("folder/f", offset, 4 * elements), name)
    return Tensor(name, F32, (elements,), own)


def checkpoint_of(*tensors: Tensor, container: str = "bin", **fields: Any) -> Checkpoint:
    """A checkpoint of one file with those tensors."""
    tree = {tensor.name: tensor for tensor in tensors}
    file = File("folder/f", container, Version(1000, "mark"), {**tree}, header_sha256="00")
    return Checkpoint(container, (file,), tensors, **fields)


def put(store: MemoryStore, path: str, data: bytes) -> None:
    """Give a file this content, whatever was there."""
    directory, _ = store.split(path)
    if directory:
        store.make_directory(directory)
    store.remove(path)
    with store.create(path, len(data)) as writer:
        writer.write(0, data)
        writer.sync()


def get(store: MemoryStore, path: str) -> bytes:
    """All bytes of a file."""
    with store.open(path) as reader:
        return reader.read(0, reader.version.size)


def weights(
    tensors: Mapping[str, bytes],
    container: str = "safetensors",
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """A weights file of byte tensors, one dimension each."""
    sources = dict(tensors)
    laid = [
        Tensor(name, DTYPES["U8"], (len(data),), Storage(Extent(name, 0, len(data)), name))
        for name, data in tensors.items()
    ]
    meta = {"format": "pt"} if metadata is None else metadata
    return materialise(writer_of(container).lay_out(laid, meta), sources)


def sample(
    store: MemoryStore, directory: str = "m", count: int = 6, nbytes: int = 100
) -> dict[str, bytes]:
    """Put a single-file checkpoint of `count` tensors of `nbytes` bytes into a folder; returns its
    tensors.
    """
    tensors = {f"layer.{number}": bytes([number + 1]) * nbytes for number in range(count)}
    put(store, store.join(directory, "model.safetensors"), weights(tensors))
    put(store, store.join(directory, "config.json"), b"{}")
    return tensors
