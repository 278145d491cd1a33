"""Distributed checkpoints as torch writes them, or not quite, in a store in memory or on disk."""

from __future__ import annotations

import io
import pickle
import random
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
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


def dcp_of(tensors: Mapping[str, Whole]) -> tuple[dict[int, bytes], Metadata]:
    """The data file of each rank, and the metadata that lists what is in them."""
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
    return data, Metadata(entries, {name: (name,) for name in entries}, places)


def put_dcp(
    store: Store, directory: str, tensors: Mapping[str, Whole], without: Iterable[int] = ()
) -> Metadata:
    """Write data files and metadata; the ranks of `without` have no file. Return the metadata."""
    assert isinstance(store, MemoryStore)
    data, metadata = dcp_of(tensors)
    for rank, content in data.items():
        if rank not in without:
            put(store, f"{directory}/__{rank}_0.distcp", content)
    put(store, f"{directory}/.metadata", pickle.dumps(metadata))
    return metadata


def save_sliced(state: Mapping[str, torch.Tensor], directory: Path, chance: random.Random) -> Path:
    """Save tensors as some ranks would that have a slice of each, of any size, along any axis."""
    tensors = {name: Whole(tuple(t.shape), _cut(t, chance), t.dtype) for name, t in state.items()}
    data, metadata = dcp_of(tensors)
    directory.mkdir(parents=True)
    for rank, content in data.items():
        (directory / f"__{rank}_0.distcp").write_bytes(content)
    (directory / ".metadata").write_bytes(pickle.dumps(metadata))
    return directory


def _cut(tensor: torch.Tensor, chance: random.Random) -> tuple[Slice, ...]:
    """The slices of up to three ranks."""
    axis = chance.randrange(max(tensor.dim(), 1))
    size = tensor.shape[axis] if tensor.dim() else 0
    places = sorted({0, *(chance.randrange(size) for _ in range(chance.randrange(3)) if size)})
    if not tensor.dim():
        return (Slice((), tensor.clone(), chance.randrange(3)),)
    return tuple(
        Slice(
            tuple(begin if each == axis else 0 for each in range(tensor.dim())),
            tensor.narrow(axis, begin, end - begin).contiguous().clone(),
            chance.randrange(3),
        )
        for begin, end in pairwise((*places, size))
    )


def load_dcp(directory: Path) -> dict[str, torch.Tensor]:
    """Everything in a flat distributed checkpoint, as torch loads it."""
    with open(directory / ".metadata", "rb") as file:
        listed = pickle.load(file).state_dict_metadata
    found = {
        name: torch.zeros(each.size, dtype=each.properties.dtype) for name, each in listed.items()
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # which is meant
        dcp.load(found, checkpoint_id=directory)
    return found
