"""The `.metadata` of distributed checkpoints: what torch writes is read, all else is refused."""

from __future__ import annotations

import pickle
import sys
import time
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from shardctl.formats import limits
from shardctl.formats.dcp.metadata import (
    Chunk,
    DcpFaultError,
    Place,
    SavedTensor,
    SavedValue,
    read_metadata,
)
from shardctl.formats.dcp.pickler import pickle_metadata
from shardctl.formats.pickle.values import PickleFaultError
from shardctl.model import DTYPES


def chunk(start: tuple[int, ...], shape: tuple[int, ...]) -> ChunkStorageMetadata:
    """A slice, as torch describes it."""
    return ChunkStorageMetadata(torch.Size(start), torch.Size(shape))


def tensor(*chunks: ChunkStorageMetadata, shape: tuple[int, ...] = (4, 2)) -> Any:
    """A tensor, as torch describes it."""
    return TensorStorageMetadata(TensorProperties(torch.bfloat16), torch.Size(shape), list(chunks))


X: Any = "x"
HALVES = (chunk((0, 0), (2, 2)), chunk((2, 0), (2, 2)))


def places(name: str = "a", *, file: str = "__0_0.distcp") -> dict[MetadataIndex, _StorageInfo]:
    """The places of the two halves."""
    return {
        MetadataIndex(name, (0, 0)): _StorageInfo(file, 0, 10),
        MetadataIndex(name, (2, 0)): _StorageInfo("__1_0.distcp", 5, 10),
    }


def placed(index: Any, place: _StorageInfo) -> Metadata:
    """Metadata with one place."""
    return Metadata({"a": tensor()}, None, {index: place})


def test_what_torch_writes_is_read() -> None:
    """Slices have their places, names the keys that lead to them, and other values are named."""
    entries = {"model.a": tensor(*HALVES), "lr": BytesStorageMetadata()}
    planned = {"model.a": ("model", "a"), "lr": ("lr",)}
    stored = places("model.a") | {MetadataIndex("lr"): _StorageInfo("__0_0.distcp", 10, 20)}
    metadata = Metadata(entries, planned, stored)
    saved = read_metadata(pickle.dumps(metadata))
    assert saved.entries == (
        SavedTensor(
            "model.a",
            ("model", "a"),
            DTYPES["BF16"],
            (4, 2),
            (
                Chunk((0, 0), (2, 2), Place("__0_0.distcp", 0, 10)),
                Chunk((2, 0), (2, 2), Place("__1_0.distcp", 5, 10)),
            ),
        ),
        SavedValue("lr", ("lr",), Place("__0_0.distcp", 10, 20)),
    )
    assert not saved.unsafe_globals


@pytest.mark.parametrize("protocol", range(2, 6))
def test_every_protocol_is_read(protocol: int) -> None:
    """Torch leaves the protocol of the pickle to Python."""
    saved = read_metadata(pickle.dumps(Metadata({"a": tensor(*HALVES)}, None, places()), protocol))
    assert [(entry.name, entry.path) for entry in saved.entries] == [("a", ("a",))]


@pytest.fixture
def old_modules(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The classes under the names of torch 1.13, with the fields that they had."""
    package = "torch.distributed._shard.checkpoint"
    metadata, files = (
        types.ModuleType(f"{package}.metadata"),
        types.ModuleType(f"{package}.filesystem"),
    )

    @dataclass
    class OldMetadata:
        state_dict_metadata: Mapping[str, object]
        planner_data: object = None
        storage_data: object = field(default=None)

    @dataclass
    class OldInfo:
        relative_path: str
        offset: int
        length: int

    for module, name, kind in (
        (metadata, "Metadata", OldMetadata),
        (metadata, "TensorStorageMetadata", TensorStorageMetadata),
        (metadata, "ChunkStorageMetadata", ChunkStorageMetadata),
        (metadata, "MetadataIndex", MetadataIndex),
        (files, "_StorageInfo", OldInfo),
    ):
        copied = type(name, (kind,), {"__module__": module.__name__})
        setattr(module, name, copied)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    metadata.__dict__["_StorageInfo"] = files.__dict__["_StorageInfo"]
    return metadata


def test_the_layout_of_torch_1_13_is_read(old_modules: types.ModuleType) -> None:
    """The package had another name, and places had no transformations."""
    of = old_modules.__dict__
    whole = of["ChunkStorageMetadata"](torch.Size((0,)), torch.Size((3,)))
    described = of["TensorStorageMetadata"](
        TensorProperties(torch.float32), torch.Size((3,)), [whole]
    )
    index = of["MetadataIndex"]("a", (0,))
    metadata = of["Metadata"]({"a": described}, None, {index: of["_StorageInfo"]("x", 1, 2)})
    saved = read_metadata(pickle.dumps(metadata))
    assert not saved.unsafe_globals
    (entry,) = saved.entries
    assert isinstance(entry, SavedTensor)
    assert entry.chunks == (Chunk((0,), (3,), Place("x", 1, 2)),)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"a": 1}, "something else where a Metadata should be"),
        (Metadata({}, None, None), "does not say where the slices are"),
        (Metadata([], None, {}), "lists no state dict"),
        (Metadata({1: tensor()}, None, {}), "a name is not text"),
        (Metadata({"a": 1}, None, {}), "neither a tensor nor bytes"),
        (Metadata({"a": tensor(chunk((3, 0), (2, 2)))}, None, {}), "reaches beyond"),
        (Metadata({"a": tensor(chunk((0,), (4,)))}, None, {}), "other dimensions"),
        (Metadata({"a": tensor(shape=(2**62, 4))}, None, {}), "more elements"),
        (Metadata({"a": tensor(shape=(1,) * 65)}, None, {}), "not a tuple of sizes"),
        (Metadata({"a": tensor(*[HALVES[0]] * 2000)}, None, {}), "more than there are places"),
        (
            Metadata(
                {"a": tensor()}, None, {MetadataIndex("a"): _StorageInfo("x", 0, 1, ["zstd"])}
            ),
            "compressed or changed",
        ),
        (
            placed(MetadataIndex("a"), _StorageInfo("x", -1, 1)),
            "not a range of bytes",
        ),
        (
            Metadata({"a": tensor()}, None, {MetadataIndex("a", None, X): _StorageInfo("x", 0, 1)}),
            "not a number",
        ),
    ],
)
def test_what_is_not_such_metadata_is_refused(metadata: object, message: str) -> None:
    """Whatever does not describe a checkpoint is an error that says what it is."""
    with pytest.raises(DcpFaultError, match=message):
        read_metadata(pickle.dumps(metadata))


@pytest.mark.parametrize(
    "file", ["../x", "/etc/passwd", "a/../../x", "C:/x", "a\\b", "", "a\0b", "x" * 300, "a//b"]
)
def test_files_lie_in_the_directory(file: str) -> None:
    """A slice in a file that leads out of the directory is an error of its tensor."""
    with pytest.raises(DcpFaultError, match="the name of its file cannot be used") as caught:
        read_metadata(pickle.dumps(Metadata({"a": tensor(*HALVES)}, None, places(file=file))))
    assert caught.value.tensor == "a"


@pytest.mark.parametrize("processes", [1, 64])
def test_many_slices_are_no_attack(processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metadata is all small objects, and is read however many there are: what torch pickles, and
    what is written here, which is shorter.
    """
    # A few slices are used in place of tens of thousands.
    monkeypatch.setattr(limits, "MIN_WEIGHT", 1_000)
    names = [f"w.{number}" for number in range(640 // processes)]
    starts = [(16 * rank, 0) for rank in range(processes)]
    listed = {
        name: tensor(*(chunk(start, (16, 3)) for start in starts), shape=(16 * processes, 3))
        for name in names
    }
    places = {
        MetadataIndex(name, start, rank): _StorageInfo(f"__{rank}_0.distcp", 10**9, 10**8)
        for name in names
        for rank, start in enumerate(starts)
    }
    data = pickle.dumps(Metadata(listed, {name: (name,) for name in names}, places))
    saved = read_metadata(data)
    tensors = [each for each in saved.entries if isinstance(each, SavedTensor)]
    assert sum(len(each.chunks) for each in tensors) == 640
    assert read_metadata(pickle_metadata(tensors)).entries == saved.entries


def test_an_unknown_type_is_named() -> None:
    """A type that shardctl does not know is named, whatever is in its place."""
    described = tensor()
    described.properties = TensorProperties(torch.quint8)
    with pytest.raises(DcpFaultError, match=r"its type is not known \(torch\.quint8\)"):
        read_metadata(pickle.dumps(Metadata({"a": described}, None, {})))


def test_values_that_hold_themselves_end() -> None:
    """A cycle, or one list for many tensors, takes no more time than the pickle is long."""
    chunks: list[Any] = [*HALVES]
    chunks.append(chunks)
    described = tensor()
    described.chunks = chunks
    with pytest.raises(DcpFaultError, match="something else where a ChunkStorageMetadata"):
        read_metadata(pickle.dumps(Metadata({"a": described}, None, {})))
    described = tensor(*[HALVES[0]] * 500)
    many = {f"a{number}": described for number in range(5000)}
    begin = time.process_time()
    with pytest.raises(DcpFaultError, match="more than there are places"):
        read_metadata(pickle.dumps(Metadata(many, None, {})))
    assert time.process_time() - begin < 20


def test_a_path_of_keys_has_an_end() -> None:
    """Keys that nest deeper than any state dict, or are not keys, are not followed."""
    for path in (("x",) * 10_000, (), (1.5,), "a.b"):
        metadata = Metadata({"a": tensor(*HALVES)}, {"a": path}, places())
        assert read_metadata(pickle.dumps(metadata)).entries[0].path == ("a",)
    metadata = Metadata({"a": tensor(*HALVES)}, {"a": ("layers", 0, "w")}, places())
    assert read_metadata(pickle.dumps(metadata)).entries[0].path == ("layers", "0", "w")


@pytest.mark.parametrize("length", [0, 1, 20, 200])
def test_a_pickle_that_ends_too_soon_is_a_fault(length: int) -> None:
    """A part of the metadata is not taken for the whole."""
    data = pickle.dumps(Metadata({"a": tensor(*HALVES)}, None, places()))
    with pytest.raises(PickleFaultError):
        read_metadata(data[:length])
    with pytest.raises(DcpFaultError, match="bytes follow"):
        read_metadata(data + b"\0")
