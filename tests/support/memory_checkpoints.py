"""Small checkpoints in a store in memory, made with shardctl's own writer: no torch, no disk."""

from __future__ import annotations

from collections.abc import Mapping

from shardctl.formats.registry import writer_of
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.stores.base import Store
from shardctl.testing.builders import materialise
from shardctl.testing.memory import MemoryStore


def put(store: Store, path: str, data: bytes) -> None:
    """Give a file this content, whatever was there."""
    directory, _ = store.split(path)
    if directory:
        store.make_directory(directory)
    store.remove(path)
    with store.create(path, len(data)) as writer:
        writer.write(0, data)
        writer.sync()


def get(store: Store, path: str) -> bytes:
    """All bytes of a file."""
    with store.open(path) as reader:
        return reader.read(0, reader.version.size)


def weights(
    tensors: Mapping[str, bytes],
    format_name: str = "safetensors",
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """A weights file of byte tensors, one dimension each."""
    sources = dict(tensors)
    laid = [
        Tensor(name, DTYPES["U8"], (len(data),), Storage(Extent(name, 0, len(data)), name))
        for name, data in tensors.items()
    ]
    meta = {"format": "pt"} if metadata is None else metadata
    return materialise(writer_of(format_name).lay_out(laid, meta), sources)


def sample(
    store: MemoryStore, directory: str = "m", count: int = 6, nbytes: int = 100
) -> dict[str, bytes]:
    """Put a single-file checkpoint of `count` tensors of `nbytes` bytes into a directory; returns
    its tensors.
    """
    tensors = {f"layer.{number}": bytes([number + 1]) * nbytes for number in range(count)}
    put(store, store.join(directory, "model.safetensors"), weights(tensors))
    put(store, store.join(directory, "config.json"), b"{}")
    return tensors
