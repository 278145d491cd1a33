"""The pickle of a distributed checkpoint's metadata: torch and our own reader understand it."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from shardctl.formats.dcp.metadata import Chunk, Place, SavedTensor, read_metadata
from shardctl.formats.dcp.pickler import pickle_metadata
from shardctl.formats.torch.calls.types import TORCH_NAME_OF
from shardctl.model import DTYPES


def whole(name: str, dtype: str, shape: tuple[int, ...], place: Place) -> SavedTensor:
    """A tensor in one slice."""
    chunk = Chunk((0,) * len(shape), shape, place)
    return SavedTensor(name, (name,), DTYPES[dtype], shape, (chunk,))


def as_torch(tensors: list[SavedTensor]) -> Metadata:
    """The same as torch has it in memory."""
    entries = {
        each.name: TensorStorageMetadata(
            TensorProperties(getattr(torch, TORCH_NAME_OF[each.dtype.name])),
            torch.Size(each.shape),
            [
                ChunkStorageMetadata(torch.Size(chunk.start), torch.Size(chunk.shape))
                for chunk in each.chunks
            ],
        )
        for each in tensors
    }
    places = {
        MetadataIndex(each.name, chunk.start, number): _StorageInfo(
            chunk.place.filename, chunk.place.offset, chunk.place.length
        )
        for each in tensors
        for number, chunk in enumerate(each.chunks)
        if chunk.place is not None
    }
    return Metadata(entries, {each.name: each.path for each in tensors}, places, version="1.0.0")


_TWO = SavedTensor(
    "m.w",
    ("m", "w"),
    DTYPES["BF16"],
    (7, 2),
    (
        Chunk((0, 0), (4, 2), Place("__0_0.distcp", 0, 1500)),
        Chunk((4, 0), (3, 2), Place("__1_0.distcp", 3, 1400)),
    ),
)


@pytest.mark.parametrize(
    "tensors",
    [
        [],
        [whole("a", "F32", (2, 3), Place("__0_0.distcp", 0, 1577))],
        [_TWO, whole("s", "I64", (), Place("__0_0.distcp", 1500, 2**40))],
        [whole("ü.[x]\t/..", "F8_E4M3", (1, 2, 3, 4, 300), Place("__300_0.distcp", 2**33, 70_000))],
        [whole(f"t.{n}", "F32", (n,), Place("__0_0.distcp", n, 2)) for n in range(2_500)],
    ],
    ids=["none", "one", "slices", "large", "many"],
)
def test_torch_and_our_reader_understand_it(tensors: list[SavedTensor]) -> None:
    """Unpickled it is torch's metadata, and read as data it is what was written; nothing is
    imported but what torch's own metadata needs.
    """
    data = pickle_metadata(tensors)
    found = pickle.loads(data)
    expected = as_torch(tensors)
    assert found == expected
    assert [index.index for index in found.storage_data] == [
        index.index for index in expected.storage_data
    ]
    assert list(found.state_dict_metadata) == [each.name for each in tensors]
    for each in found.state_dict_metadata.values():
        assert (each.properties.layout, each.properties.requires_grad) == (torch.strided, False)
    saved = read_metadata(data)
    assert list(saved.entries) == tensors
    assert (saved.unsafe_globals, saved.allocations) == ((), ())


@pytest.mark.parametrize("name", sorted(TORCH_NAME_OF))
def test_every_type_of_torch_has_its_name(name: str) -> None:
    """The type is torch's own object."""
    shape = (4,)
    found = pickle.loads(pickle_metadata([whole("t", name, shape, Place("f", 0, 1))]))
    dtype = found.state_dict_metadata["t"].properties.dtype
    assert dtype is getattr(torch, TORCH_NAME_OF[name])


def test_a_slice_needs_a_place() -> None:
    """What was saved nowhere cannot be listed."""
    nowhere = SavedTensor("w", ("w",), DTYPES["F32"], (1,), (Chunk((0,), (1,), None),))
    with pytest.raises(ValueError, match="'w' has no place"):
        pickle_metadata([nowhere])
