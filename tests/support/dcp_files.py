"""Distributed checkpoints in a store in memory, as torch writes them, or not quite."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from shardctl.stores.base import Store
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put


@dataclass(frozen=True)
class Slice:
    """A slice of a tensor: where it begins, what is saved of it, and by which rank.

    `claimed` is the shape that the metadata gives it, where that is another one.
    """

    start: tuple[int, ...]
    saved: object
    rank: int = 0
    claimed: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the metadata gives it."""
        if self.claimed is not None:
            return self.claimed
        return tuple(self.saved.shape) if isinstance(self.saved, torch.Tensor) else ()


@dataclass(frozen=True)
class Whole:
    """A tensor: its shape, and its slices."""

    shape: tuple[int, ...]
    slices: tuple[Slice, ...]
    dtype: torch.dtype = torch.float32


def saved(value: object) -> bytes:
    """The bytes of a file of torch.save."""
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def put_dcp(
    store: Store, directory: str, tensors: Mapping[str, Whole], without: Iterable[int] = ()
) -> Metadata:
    """Write data files and metadata; the ranks of `without` have no file. Return the metadata."""
    assert isinstance(store, MemoryStore)
    data: dict[int, bytes] = {}
    entries, places = {}, {}
    for name, tensor in tensors.items():
        chunks = []
        for each in tensor.slices:
            before, added = data.get(each.rank, b""), saved(each.saved)
            data[each.rank] = before + added
            chunks.append(ChunkStorageMetadata(torch.Size(each.start), torch.Size(each.shape)))
            places[MetadataIndex(name, each.start)] = _StorageInfo(
                f"__{each.rank}_0.distcp", len(before), len(added)
            )
        entries[name] = TensorStorageMetadata(
            TensorProperties(tensor.dtype), torch.Size(tensor.shape), chunks
        )
    metadata = Metadata(entries, {name: (name,) for name in entries}, places)
    for rank, content in data.items():
        if rank not in without:
            put(store, f"{directory}/__{rank}_0.distcp", content)
    put(store, f"{directory}/.metadata", pickle.dumps(metadata))
    return metadata
