"""The pickle of a distributed checkpoint's `.metadata`: which tensors there are, and where.

Source: `torch/distributed/checkpoint/metadata.py` and `filesystem.py` of torch 2.13, and what
`pickle.dump` makes of a `Metadata`. What is the same for every tensor is shared by the memo.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from shardctl.formats.dcp.metadata import Chunk, SavedTensor
from shardctl.formats.pickle.writer import (
    APPEND,
    BATCH,
    BUILD,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    FALSE,
    MARK,
    NEWOBJ,
    NONE,
    PROTO,
    REDUCE,
    SETITEMS,
    STOP,
    TUPLE,
    TUPLE1,
    PickleWriter,
)
from shardctl.formats.torch.calls.types import TORCH_NAME_OF

_METADATA = "torch.distributed.checkpoint.metadata"
_FILES = "torch.distributed.checkpoint.filesystem"
#: What torch 2.13 calls the form of its metadata.
_VERSION = "1.0.0"

_T = TypeVar("_T")


def pickle_metadata(tensors: Sequence[SavedTensor]) -> bytes:
    """Return the bytes of a `.metadata`; every chunk has its place."""
    writer = _Writer()
    writer.metadata(tensors)
    return bytes(writer.made)


class _Writer(PickleWriter):
    def metadata(self, tensors: Sequence[SavedTensor]) -> None:
        self.made += PROTO
        self._object(_METADATA, "Metadata")
        self.made += EMPTY_DICT + MARK
        self.text("state_dict_metadata")
        self._dict(iter(tensors), self._tensor)
        self.text("planner_data")
        self._dict(iter(tensors), self._path)
        self.text("storage_data")
        chunks = ((each, number) for each in tensors for number in range(len(each.chunks)))
        self._dict(chunks, self._place)
        self.text("storage_meta")
        self.made += NONE
        self.text("version")
        self.text(_VERSION)
        self.made += SETITEMS + BUILD + STOP

    def _dict(self, items: Iterator[_T], item: Callable[[_T], None]) -> None:
        """Push a dict; `item` pushes the key and the value of each item."""
        self.made += EMPTY_DICT
        while some := list(itertools.islice(items, BATCH)):
            self.made += MARK
            for each in some:
                item(each)
            self.made += SETITEMS

    def _tensor(self, tensor: SavedTensor) -> None:
        self.text(tensor.name)
        self._object(_METADATA, "TensorStorageMetadata")
        self.made += EMPTY_DICT + MARK
        self.text("properties")
        self._properties(TORCH_NAME_OF[tensor.dtype.name])
        self.text("size")
        self._size(tensor.shape)
        self.text("chunks")
        self.made += EMPTY_LIST
        for chunk in tensor.chunks:
            self._chunk(chunk)
            self.made += APPEND
        self.made += SETITEMS + BUILD

    def _properties(self, dtype: str) -> None:
        """Push a `TensorProperties`, whose state is a tuple; all but the type are the defaults."""
        self._object(_METADATA, "TensorProperties")
        self.made += MARK
        self.imported("torch", dtype)
        self._made_of(("torch.serialization", "_get_layout"), lambda: self.text("torch.strided"))
        self.made += FALSE  # requires_grad
        self._made_of((_METADATA, "_MEM_FORMAT_ENCODING"), lambda: self.number(0))
        self.made += FALSE + TUPLE + BUILD  # pin_memory

    def _made_of(self, called: tuple[str, str], argument: Callable[[], None]) -> None:
        """Push what a call with one argument gives, which is the same in every tensor."""
        identity = ("call", *called)
        if not self.recalled(identity):
            self.imported(*called)
            argument()
            self.made += TUPLE1 + REDUCE
            self.remember(identity)

    def _chunk(self, chunk: Chunk) -> None:
        self._object(_METADATA, "ChunkStorageMetadata")
        self.made += EMPTY_DICT + MARK
        self.text("offsets")
        self._size(chunk.start)
        self.text("sizes")
        self._size(chunk.shape)
        self.made += SETITEMS + BUILD

    def _path(self, tensor: SavedTensor) -> None:
        self.text(tensor.name)
        self.made += MARK
        for key in tensor.path:
            self.text(key)
        self.made += TUPLE

    def _place(self, item: tuple[SavedTensor, int]) -> None:
        tensor, number = item
        chunk = tensor.chunks[number]
        place = chunk.place
        if place is None:
            raise ValueError(f"a slice of '{tensor.name}' has no place")
        self._object(_METADATA, "MetadataIndex")
        self.made += EMPTY_DICT + MARK
        self.text("fqn")
        self.text(tensor.name)
        self.text("offset")
        self._size(chunk.start)
        self.text("index")
        self.number(number)
        self.made += SETITEMS + BUILD
        self._object(_FILES, "_StorageInfo")
        self.made += EMPTY_DICT + MARK
        self.text("relative_path")
        self.text(place.filename)
        self.text("offset")
        self.number(place.offset)
        self.text("length")
        self.number(place.length)
        self.made += SETITEMS + BUILD

    def _object(self, module: str, name: str) -> None:
        """Push a new object of a class, whose state follows."""
        self.imported(module, name)
        self.made += EMPTY_TUPLE + NEWOBJ

    def _size(self, sizes: tuple[int, ...]) -> None:
        self.imported("torch", "Size")
        self.numbers(sizes)
        self.made += TUPLE1 + REDUCE
