"""The values that describe a checkpoint on disk.

Nothing here reads a file. A tensor is a dtype, a shape and a range of bytes of a file; a million of
them must stay under 1 KB each, so every class is slotted and shares what it can. What is made for
each tensor has `Final` fields and not a frozen class: the type checker keeps them constant all the
same, and making one takes a fifth of the time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Dtype:
    """An element type: its name, and its width in bits.

    The name is that in safetensors, or torch's own where only torch has the type. `rank` is the
    place in safetensors' order of data types, by which upstream sorts a file's tensors
    (descending); None for a type that safetensors does not have.
    """

    name: str
    bits: int
    rank: int | None = None

    @property
    def itemsize(self) -> int:
        """Bytes of one element. Sub-byte types have no such number and raise ValueError."""
        if self.bits % 8:
            raise ValueError(f"{self.name} elements are not whole bytes")
        return self.bits // 8

    def nbytes(self, elements: int) -> int:
        """Bytes of that many elements; raises ValueError where they do not fill whole bytes."""
        bits = self.bits * elements
        if bits % 8:
            raise ValueError(f"{elements} elements of {self.name} do not fill whole bytes")
        return bits // 8


# In the order of safetensors' `Dtype` enum (safetensors/src/tensor.rs), which is what its writer
# sorts by.
_SAFETENSORS = (
    ("BOOL", 8), ("F4", 4), ("F6_E2M3", 6), ("F6_E3M2", 6), ("U8", 8), ("I8", 8),
    ("F8_E5M2", 8), ("F8_E4M3", 8), ("F8_E8M0", 8), ("F8_E4M3FNUZ", 8), ("F8_E5M2FNUZ", 8),
    ("I16", 16), ("U16", 16), ("F16", 16), ("BF16", 16),
    ("I32", 32), ("U32", 32), ("F32", 32), ("C64", 64), ("F64", 64), ("I64", 64), ("U64", 64),
)  # fmt: skip

#: Every element type by name.
DTYPES: Mapping[str, Dtype] = {
    **{name: Dtype(name, bits, rank) for rank, (name, bits) in enumerate(_SAFETENSORS)},
    "complex32": Dtype("complex32", 32),
    "complex128": Dtype("complex128", 128),
}


@dataclass(slots=True, unsafe_hash=True)
class Extent:
    """A range of bytes of one file: `length` bytes from `offset`."""

    path: Final[str]
    offset: Final[int]
    length: Final[int]

    @property
    def end(self) -> int:
        """The offset just past the last byte."""
        return self.offset + self.length

    def part(self, offset: int, length: int) -> Extent:
        """Return `length` bytes from `offset`, which counts from this extent's start.

        Raises ValueError where they are not within the extent.
        """
        if offset < 0 or length < 0 or offset + length > self.length:
            raise ValueError(f"part {offset}+{length} is outside an extent of {self.length} bytes")
        return Extent(self.path, self.offset + offset, length)


@dataclass(slots=True, unsafe_hash=True)
class Storage:
    """A buffer as the source holds it (torch's word); in safetensors there is one for each tensor.

    `key` tells the storages of one file apart; `crc32` is what the format records for the
    buffer's bytes, None where it records none. `cut_from` is the storage of the source that this
    one is only a part of; its checksum covers these bytes too.

    A buffer that no file holds as it is has `made`: what its bytes are made from. Its extent then
    says how many bytes it has, and only where the first of its sources begins. One tensor views it
    whole, or several that are tied.
    """

    extent: Final[Extent]
    key: Final[str]
    crc32: Final[int | None] = None
    cut_from: Final[Storage | None] = None
    made: Final[Assembled | Cast | None] = None

    @property
    def recorded(self) -> Storage:
        """The storage as the source holds it, with the checksum recorded for it."""
        return self.cut_from or self

    @property
    def identity(self) -> tuple[str, str]:
        """What two tensors have in common when they share this buffer: file and key."""
        return (self.extent.path, self.key)


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the row-major strides, in elements, of a tensor of that shape."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


@dataclass(slots=True, unsafe_hash=True)
class Tensor:
    """A named view of a storage.

    `offset` and `strides` are in elements; `strides` None means contiguous.
    """

    name: Final[str]
    dtype: Final[Dtype]
    shape: Final[tuple[int, ...]]
    storage: Final[Storage]
    offset: Final[int] = 0
    strides: Final[tuple[int, ...] | None] = None

    @property
    def elements(self) -> int:
        """The number of elements; 1 for a 0-dimensional tensor."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor's own elements, written one after another.

        Raises ValueError where they do not fill whole bytes.
        """
        bits = self.dtype.bits * math.prod(self.shape)
        return bits // 8 if bits % 8 == 0 else self.dtype.nbytes(self.elements)

    @property
    def begin(self) -> int:
        """The offset of the tensor's first element in its file, in bytes."""
        return self.span.offset if self.offset else self.storage.extent.offset

    @property
    def span(self) -> Extent:
        """The range of its file's bytes from the tensor's first element to its last."""
        if self.strides is None:
            whole, nbytes = self.storage.extent, self.nbytes
            if nbytes == whole.length and self.offset == 0:
                return whole
            return whole.part(self.dtype.nbytes(self.offset), nbytes)
        if self.elements == 0:
            return self.storage.extent.part(0, 0)
        reach = sum((size - 1) * step for size, step in zip(self.shape, self.strides, strict=True))
        size = self.dtype.itemsize
        return self.storage.extent.part(self.offset * size, (reach + 1) * size)

    @property
    def identity(self) -> tuple[object, ...] | None:
        """Equal for tied tensors; None for an empty tensor, which is tied to nothing."""
        if self.elements == 0:
            return None
        return (self.storage.identity, self.offset, self.dtype.name, self.shape, self.strides)


@dataclass(slots=True, unsafe_hash=True)
class Box:
    """A part of an assembled buffer: `tensor` fills the box of its shape that begins at `start`.

    `start` has a position, in elements, for each dimension of the grid. The tensor's name is of no
    meaning.
    """

    start: Final[tuple[int, ...]]
    tensor: Final[Tensor]


@dataclass(slots=True, unsafe_hash=True)
class Assembled:
    """A buffer put together from parts of one dtype, such as the slices that several ranks saved.

    `grid` is the shape in which the boxes lie, row-major: that of the tensor, or any other with as
    many elements. The boxes cover it exactly once; `planning.coverage` checks it.
    """

    grid: Final[tuple[int, ...]]
    boxes: Final[tuple[Box, ...]]


@dataclass(slots=True, unsafe_hash=True)
class Cast:
    """A buffer with the elements of a tensor, row-major, as numbers of another dtype."""

    tensor: Final[Tensor]


def made_tensor(
    name: str, dtype: Dtype, shape: tuple[int, ...], made: Assembled | Cast, key: str
) -> Tensor:
    """Return a tensor that no file holds as it is; `key` is that of its storage.

    What is assembled has at least one box.
    """
    first = (made.tensor if isinstance(made, Cast) else made.boxes[0].tensor).span
    extent = Extent(first.path, first.offset, dtype.nbytes(math.prod(shape)))
    return Tensor(name, dtype, shape, Storage(extent, key, made=made))


class MadeName(str):
    """The text of a dictionary's key that is not a string, such as a number.

    It can be shown, and must not be written.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class NonTensor:
    """An entry of a torch checkpoint that is not a tensor.

    `name` is its dotted path (`a.b`), `kind` its type (`builtins.int`). `unread`: it is, or holds,
    tensors of a kind that shardctl does not read. `storages` is how many storages it has, and
    `nbytes` their bytes together.
    """

    name: str
    kind: str
    unread: bool = False
    storages: int = 0
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class Slice(NonTensor):
    """The part of a tensor that one of several processes saved: read only together with the rest.

    `boxes` are what it fills of the tensor, whose shape is `shape`; `dtype` is its type. `wrong`
    says why it cannot be placed; empty where it can.
    """

    shape: tuple[int, ...] = ()
    dtype: Dtype | None = None
    boxes: tuple[Box, ...] = ()
    wrong: str = ""


#: Tensors and opaque values in nested dictionaries.
Tree = dict[str, "Tensor | NonTensor | Tree"]
#: What a file holds: a tree, or tensors on one level (`columns.OneLevel`).
Root = Mapping[str, "Tensor | NonTensor | Tree"]


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a file: its size in bytes, and the store's own mark (mtime and inode)."""

    size: int
    mark: str


@dataclass(frozen=True, slots=True)
class File:
    """A weights file whose header was read.

    `format` is the name of its format, as the registry has it; `tree` is what it holds. `metadata`
    is safetensors' `__metadata__` (empty for torch files). `header_sha256` covers the header's
    bytes; `data_offset` is where tensor bytes begin. `unsafe_globals` are the names that a pickle
    would import and torch's `weights_only` does not allow; `refused` is what else in it
    `weights_only` does not allow, and `allocations` the bytes that calls in it would take by a
    number, by the name that is called. `records` are all the records of a zip, tensors' and
    others', with the checksums that are recorded for them. `beside` are entries that are not
    in the tree, since they are not weights.
    """

    path: str
    format: str
    version: Version
    tree: Root
    metadata: Mapping[str, str] = field(default_factory=dict)
    header_sha256: str = ""
    data_offset: int = 0
    unsafe_globals: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    allocations: tuple[tuple[str, int], ...] = ()
    records: Sequence[Storage] = ()
    beside: tuple[NonTensor, ...] = ()


@dataclass(frozen=True, slots=True)
class Index:
    """An index file: the shard of each tensor, and metadata, for example `total_size` in bytes.

    `unusable` are the names that it lists in shards whose names cannot be used.
    """

    path: str
    metadata: Mapping[str, object]
    weight_map: Mapping[str, str]
    unusable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint, lazily: nothing but headers was read.

    `format` is the name of the files' format; empty where no file could be read and their names
    promise none. `tensors` are in source order (file after file, each in its own order).
    `metadata` are the files' own string pairs, without aliases; `tensor_metadata` has those of its
    keys whose values are JSON objects with a member for each tensor: the member's JSON text by key
    and tensor. `aliases` maps each tied name that is only recorded to the name whose bytes it has.
    `beside` is what lies beside the state dict that a key chose. `incomplete` are the paths of
    files that are missing, or of which errors were found while their headers were read: not all
    their tensors may be here.
    """

    format: str
    files: tuple[File, ...]
    tensors: Sequence[Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    tensor_metadata: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    index: Index | None = None
    non_tensors: tuple[NonTensor, ...] = ()
    beside: tuple[NonTensor, ...] = ()
    incomplete: frozenset[str] = frozenset()

    @property
    def versions(self) -> dict[str, Version]:
        """The versions of the files whose headers were read, by path."""
        return {file.path: file.version for file in self.files}


def whole_blocks(offset: int, extent: Extent, block: int) -> tuple[int, int]:
    """Return the whole blocks of an extent that a file with it at `offset` can share.

    `block` is their size. Returns where the part begins, counted from the extent's start, and its
    length; (0, 0) where there is none. All are bytes.
    """
    if (offset - extent.offset) % block:
        return 0, 0
    begin = -offset % block
    length = (extent.length - begin) // block * block
    return (begin, length) if length > 0 else (0, 0)
