"""The `.metadata` of a distributed checkpoint, read as data: which slices there are, and where.

Source: `torch/distributed/checkpoint/metadata.py` and `filesystem.py` of torch 2.13, compared with
those of 1.13 (then in `torch/distributed/_shard/checkpoint`) to 2.12: a pickle of `Metadata`, with
the slices of each tensor (`state_dict_metadata`), the place of each slice in a file
(`storage_data`), and the path of each name in the nested state dict that was saved
(`planner_data`). Nothing is imported or called.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

from shardctl.formats.limits import (
    BYTES_PER_WEIGHT_OF_SLICES,
    MAX_DEPTH,
    MAX_DIMS,
    MAX_SIZE,
)
from shardctl.formats.pickle.objects import kind_of
from shardctl.formats.pickle.values import (
    Global,
    Mapping,
    Opaque,
    Sequence,
)
from shardctl.formats.torch.calls.types import TORCH_DTYPES, torch_packing
from shardctl.formats.torch.unpickle import unpickle
from shardctl.formats.torch.weights_only import unsafe
from shardctl.model import Dtype
from shardctl.naming import check_shard_name
from shardctl.text import escape

_MODULES = ("torch.distributed.checkpoint.", "torch.distributed._shard.checkpoint.")
_METADATA = "metadata.Metadata"
_TENSOR = "metadata.TensorStorageMetadata"
_BYTES = "metadata.BytesStorageMetadata"
_CHUNK = "metadata.ChunkStorageMetadata"
_INDEX = "metadata.MetadataIndex"
_PLACE = "filesystem._StorageInfo"
_SHARDED = "torch.distributed._shard.sharded_tensor.metadata"
#: What the pickle of a checkpoint that torch saved imports, beside what any of torch's may.
_IMPORTED = frozenset(
    {
        *(f"{module}{name}" for module in _MODULES for name in (
            _METADATA, _TENSOR, _BYTES, _CHUNK, _INDEX, _PLACE)),
        *(f"{_MODULES[0]}metadata.{name}" for name in (
            "TensorProperties", "StorageMeta", "_MEM_FORMAT_ENCODING")),
        *(f"{_SHARDED}.{name}" for name in ("TensorProperties", "MEM_FORMAT_ENCODING")),
        *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in (
            "Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")),
    }
)  # fmt: skip
#: Slices that need no place: a pickle can list one slice as often as it likes.
_MOST_UNPLACED = 1_000


#: The places of slices by name and offsets (or number), of values by name and None.
_Places: TypeAlias = "dict[tuple[str, object], Place]"


class DcpFaultError(Exception):
    """What is wrong with the metadata, and of which tensor, where it is of one."""

    def __init__(self, message: str, tensor: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.tensor = tensor


@dataclass(frozen=True, slots=True)
class Place:
    """Where a slice was saved: `length` bytes from `offset` of a file of the directory."""

    filename: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """One slice: where it begins in the tensor, and its shape, in elements.

    `place` is None where the metadata does not say where it is.
    """

    start: tuple[int, ...]
    shape: tuple[int, ...]
    place: Place | None


@dataclass(frozen=True, slots=True)
class SavedTensor:
    """A tensor, and its slices. `path` are the keys that lead to it in what was saved."""

    name: str
    path: tuple[str, ...]
    dtype: Dtype
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class SavedValue:
    """What is not a tensor, such as a learning rate, and where it was saved with torch.save."""

    name: str
    path: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Saved:
    """A distributed checkpoint, in the order in which its metadata lists it.

    `unsafe_globals` are the names that unpickling the metadata would import and that no checkpoint
    needs, `allocations` the bytes that calls in it would take by a number, by the name that is
    called.
    """

    entries: tuple[SavedTensor | SavedValue, ...]
    unsafe_globals: tuple[str, ...]
    allocations: tuple[tuple[str, int], ...] = ()


def unexpected(names: Iterable[str]) -> tuple[str, ...]:
    """Return those names that the metadata of no checkpoint imports.

    They are compared whole: `torch.serialization.os.system` is one of torch's by its beginning.
    """
    return tuple(name for name in unsafe(names) if name not in _IMPORTED)


def read_metadata(data: bytes) -> Saved:
    """Return what the bytes of a `.metadata` say.

    Raises PickleFaultError for what is not a pickle that can be read, and DcpFaultError for what is
    not such metadata, or asks for what is not known here.
    """
    unpickled = unpickle(data, bytes_per_weight=BYTES_PER_WEIGHT_OF_SLICES)
    if unpickled.end != len(data):
        raise DcpFaultError("bytes follow after the pickle")
    root = _fields(unpickled.root, _METADATA)
    places = dict(_places(root.get("storage_data")))
    paths = root.get("planner_data")
    nested = paths.items if isinstance(paths, Mapping) else {}
    listed = root.get("state_dict_metadata")
    if not isinstance(listed, Mapping):
        raise DcpFaultError("it lists no state dict")
    entries: list[SavedTensor | SavedValue] = []
    chunks_left = len(places) + _MOST_UNPLACED
    for name, value in listed.items.items():
        entry = _entry(name, value, nested.get(name), places, chunks_left)
        chunks_left -= len(entry.chunks) if isinstance(entry, SavedTensor) else 0
        entries.append(entry)
    _check_all_listed(entries, places)
    return Saved(tuple(entries), unexpected(unpickled.globals), unpickled.allocations)


def _check_all_listed(entries: Iterable[SavedTensor | SavedValue], places: _Places) -> None:
    """Refuse metadata that says where something was saved, and not what it is."""
    listed = {
        (entry.name, place)
        for entry in entries
        for place in (
            [chunk.place for chunk in entry.chunks]
            if isinstance(entry, SavedTensor)
            else [entry.place]
        )
    }
    for (name, _), place in places.items():
        if (name, place) not in listed:
            where = escape(place.filename)
            raise DcpFaultError(f"it lists no slice for what is in '{where}'", name)


def _entry(
    name: object, value: object, path: object, places: _Places, most_chunks: int
) -> SavedTensor | SavedValue:
    if not isinstance(name, str):
        raise DcpFaultError("a name is not text")
    keys = _path(name, path)
    if _is(value, _BYTES):
        place = places.get((name, None))
        if place is None:
            raise DcpFaultError("it does not say where the entry is", name)
        return SavedValue(name, keys, place)
    if not _is(value, _TENSOR):
        raise DcpFaultError("an entry is neither a tensor nor bytes", name)
    fields = _fields(value, _TENSOR)
    dtype = _dtype(fields.get("properties"), name)
    shape = _sizes(fields.get("size"), name)
    chunks = fields.get("chunks")
    if not isinstance(chunks, Sequence) or len(chunks.items) > most_chunks:
        raise DcpFaultError("its slices are not a list, or are more than there are places", name)
    return SavedTensor(
        name,
        keys,
        dtype,
        _unpacked(shape, dtype),
        tuple(
            _chunk(name, number, chunk, shape, dtype, places)
            for number, chunk in enumerate(chunks.items)
        ),
    )


def _unpacked(sizes: tuple[int, ...], dtype: Dtype) -> tuple[int, ...]:
    """Return a shape or position in elements, of which torch counts those of F4 in pairs."""
    return (*sizes[:-1], sizes[-1] * torch_packing(dtype)) if sizes else sizes


def _path(name: str, path: object) -> tuple[str, ...]:
    """Return the keys that lead to an entry; its name alone where they are not recorded."""
    if isinstance(path, tuple) and 0 < len(path) <= MAX_DEPTH:
        keys = tuple(str(part) for part in path if type(part) in (str, int))
        if len(keys) == len(path):
            return keys
    return (name,)


def _chunk(
    name: str,
    number: int,
    chunk: object,
    shape: tuple[int, ...],
    dtype: Dtype,
    places: _Places,
) -> Chunk:
    """Return a slice of a tensor; `shape` is the tensor's, as torch counts its elements."""
    fields = _fields(chunk, _CHUNK)
    start, size = _sizes(fields.get("offsets"), name), _sizes(fields.get("sizes"), name)
    ends = [begin + length for begin, length in zip(start, size, strict=False)]
    if len(start) != len(shape) or len(size) != len(shape):
        raise DcpFaultError("a slice has other dimensions than the tensor", name)
    if math.prod(size) and any(end > most for end, most in zip(ends, shape, strict=True)):
        raise DcpFaultError("a slice reaches beyond the tensor", name)
    place = places.get((name, start)) or places.get((name, number))
    return Chunk(_unpacked(start, dtype), _unpacked(size, dtype), place)


def _places(listed: object) -> Iterator[tuple[tuple[str, object], Place]]:
    """Yield the places by name and offsets, or by name and number where there are no offsets."""
    if not isinstance(listed, Mapping):
        raise DcpFaultError("it does not say where the slices are")
    for index, info in listed.items.items():
        key, fields = _fields(index, _INDEX), _fields(info, _PLACE)
        name = key.get("fqn")
        if not isinstance(name, str):
            raise DcpFaultError("a slice has no name")
        transforms = fields.get("transform_descriptors")
        if transforms not in (None, ()) and not (
            isinstance(transforms, Sequence) and not transforms.items
        ):
            raise DcpFaultError("it was compressed or changed when it was saved", name)
        offset, number = key.get("offset"), key.get("index")
        place = _place(fields, name)
        if offset is not None:
            yield (name, _sizes(offset, name)), place
        elif number is None or _is_size(number):
            yield (name, number), place
        else:
            raise DcpFaultError("the number of a slice is not a number", name)


def _place(fields: dict[object, object], name: str) -> Place:
    filename, offset, length = (fields.get(key) for key in ("relative_path", "offset", "length"))
    unsafe = check_shard_name(filename) if isinstance(filename, str) else "it is not text"
    if not isinstance(filename, str) or unsafe is not None:
        raise DcpFaultError(f"the name of its file cannot be used: {unsafe}", name)
    if not _is_size(offset) or not _is_size(length):
        raise DcpFaultError("its place in the file is not a range of bytes", name)
    return Place(filename, offset, length)


def _dtype(properties: object, name: str) -> Dtype:
    """Return the type in `TensorProperties`: it is the first of its state, or has that name."""
    state = properties.parts[-1] if isinstance(properties, Opaque) and properties.parts else None
    if isinstance(state, Mapping):
        state = (state.items.get("dtype"),)
    found = state[0] if isinstance(state, tuple) and state else None
    module, _, short = found.path.rpartition(".") if isinstance(found, Global) else ("", "", "")
    dtype = TORCH_DTYPES.get(short) if module == "torch" else None
    if dtype is None:
        raise DcpFaultError(f"its type is not known ({escape(_named(found))})", name)
    return dtype


def _named(value: object) -> str:
    return value.path if isinstance(value, Global) else kind_of(value)


def _is(value: object, kind: str) -> TypeGuard[Opaque]:
    return isinstance(value, Opaque) and value.kind in {f"{module}{kind}" for module in _MODULES}


def _fields(value: object, kind: str) -> dict[object, object]:
    """Return the attributes of an object of a class."""
    if _is(value, kind):
        states = [part for part in value.parts if isinstance(part, Mapping)]
        if len(states) == 1:
            return states[0].items
    raise DcpFaultError(f"it holds something else where a {kind.rpartition('.')[2]} should be")


def _sizes(value: object, name: str) -> tuple[int, ...]:
    if not isinstance(value, tuple) or len(value) > MAX_DIMS or not all(map(_is_size, value)):
        raise DcpFaultError("a shape is not a tuple of sizes", name)
    if math.prod(filter(None, value)) > MAX_SIZE:
        raise DcpFaultError("a shape has more elements than can be counted", name)
    return value


def _is_size(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MAX_SIZE
