"""Lay out a torch zip as torch 2.13's own writer does, so that torch may compute every offset.

Source: `_save` in torch/serialization.py and caffe2/serialize/inline_container.cc of torch 2.13,
checked on its files. Each record is a local header without sizes, an extra field that pads to 64
bytes, the data, and a descriptor with CRC and sizes; then the central directory and both end
records.

In a file that shares blocks (of `block` bytes) large records are padded further, until their data
has the same offset as in its source, modulo a block. The two records that allow torch to compute
offsets instead of reading them are then left out.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shardctl.errors import UsageError
from shardctl.formats.limits import MAX_SIZE
from shardctl.formats.strict_json import is_unicode
from shardctl.formats.torch.pickler import View, pickle_state_dict
from shardctl.formats.torch.types import STORAGE_OF, TORCH_NAME_OF, torch_packing
from shardctl.formats.torch.zip.structure import (
    CENTRAL,
    CENTRAL_BYTES,
    DESCRIPTOR,
    END,
    END64,
    END64_BYTES,
    END_BYTES,
    HAS_DESCRIPTOR,
    IN_ZIP64,
    IN_ZIP64_COUNT,
    LOCAL,
    LOCAL_BYTES,
    LOCATOR64,
    LOCATOR_BYTES,
    UTF8,
)
from shardctl.layout import Copy, Layout, LayoutBuilder
from shardctl.model import Extent, Tensor, contiguous_strides
from shardctl.storages import used_extent
from shardctl.text import escape

TOP = "archive"
ALIGNMENT = 64
#: From so many bytes on a record's blocks are worth sharing: padding costs half a block of zeros on
#: average.
_WORTH_SHARING = 64 * 1024
_CRC_BYTES = 4
#: Appends a record's CRC-32, as often as it is called.
_PutCrc = Callable[[], None]


class TorchZipWriter:
    """Lays out torch's zip files."""

    def measure(
        self,
        tensors: Sequence[Tensor],
        metadata: Mapping[str, str],  # noqa: ARG002 - metadata has no place here
        block: int | None = None,
    ) -> int:
        """Exact bytes of the file that `lay_out` gives; raises what it raises."""
        return measure(records_of(tensors, block), block)

    def lay_out(
        self,
        tensors: Sequence[Tensor],
        metadata: Mapping[str, str],  # noqa: ARG002 - metadata has no place here
        block: int | None = None,
    ) -> Layout:
        """The file: as torch writes it, or shareable in blocks.

        Raises UsageError for a dtype that torch lacks.
        """
        return lay_out(records_of(tensors, block), block)


@dataclass(frozen=True, slots=True)
class Record:
    """One entry: a name below the top directory, and its bytes.

    They are known ones, or an extent of a source. Where no checksum is known, `tensor` is one whose
    storage the bytes are a part of.
    """

    name: bytes
    data: bytes | Extent
    crc32: int | None
    tensor: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the record's data."""
        return self.data.length if isinstance(self.data, Extent) else len(self.data)


def records_of(tensors: Sequence[Tensor], block: int | None = None) -> list[Record]:
    """The records of a file that holds these tensors, in torch's order.

    `block` is that of a shareable file.
    """
    views, storages = _views_and_storages(tensors)
    computable = [
        _known(".format_version", b"1"),
        _known(".storage_alignment", str(ALIGNMENT).encode()),
    ]
    return [
        _known("data.pkl", pickle_state_dict(views)),
        *(computable if block is None else ()),
        _known("byteorder", b"little"),
        *storages,
        _known("version", b"3\n"),
    ]


def _known(name: str, data: bytes) -> Record:
    return Record(f"{TOP}/{name}".encode(), data, zlib.crc32(data))


def _views_and_storages(tensors: Sequence[Tensor]) -> tuple[Iterator[View], list[Record]]:
    groups: dict[tuple[str, str], list[Tensor]] = {}
    for tensor in tensors:
        _check(tensor)
        groups.setdefault(tensor.storage.identity, []).append(tensor)
    places: dict[tuple[str, str], tuple[str, Extent, bool]] = {}
    records: list[Record] = []
    for number, (identity, group) in enumerate(groups.items()):
        whole, used = group[0].storage.extent, used_extent(group)
        crc32 = group[0].storage.crc32 if used == whole else None
        records.append(
            Record(
                f"{TOP}/data/{number}".encode(),
                used,
                0 if used.length == 0 else crc32,
                next((tensor for tensor in group if tensor.elements), None),
            )
        )
        places[identity] = (str(number), used, len(group) > 1)
    return (_view(tensor, *places[tensor.storage.identity]) for tensor in tensors), records


def _view(tensor: Tensor, key: str, used: Extent, shared: bool) -> View:
    skipped = 8 * (used.offset - tensor.storage.extent.offset) // tensor.dtype.bits
    packed = torch_packing(tensor.dtype)
    shape = (*tensor.shape[:-1], tensor.shape[-1] // packed) if packed > 1 else tensor.shape
    return View(
        name=tensor.name,
        key=key,
        dtype=tensor.dtype,
        storage_bytes=used.length,
        offset=(tensor.offset - skipped) // packed if tensor.elements else 0,
        shape=shape,
        strides=contiguous_strides(shape) if tensor.strides is None else tensor.strides,
        shared=shared,
    )


def _check(tensor: Tensor) -> None:
    if tensor.dtype.name not in STORAGE_OF and tensor.dtype.name not in TORCH_NAME_OF:
        raise UsageError(
            f"tensor '{escape(tensor.name)}' has dtype {tensor.dtype.name}, which torch's files do "
            "not have",
            hint="keep this checkpoint in safetensors",
            tensor=tensor.name,
        )
    packed = torch_packing(tensor.dtype)
    if packed > 1 and (tensor.strides is not None or not tensor.shape or tensor.shape[-1] % packed):
        raise UsageError(
            f"tensor '{escape(tensor.name)}' does not fill whole elements of "
            f"torch.{TORCH_NAME_OF[tensor.dtype.name]}",
            hint="keep this checkpoint in safetensors",
            tensor=tensor.name,
        )
    # Torch counts elements, also those of an empty tensor's strides, in signed 64 bits.
    if math.prod(filter(None, tensor.shape)) > MAX_SIZE:
        raise UsageError(
            f"tensor '{escape(tensor.name)}' has a shape that torch cannot count",
            hint="keep this checkpoint in safetensors",
            tensor=tensor.name,
        )
    if not is_unicode(tensor.name):
        raise UsageError(
            f"tensor '{escape(tensor.name)}' has a name that is not valid Unicode",
            hint="rename it where the checkpoint is made",
            tensor=tensor.name,
        )


def measure(records: Iterable[Record], block: int | None = None) -> int:
    """Exact bytes of the file that `lay_out` would give."""
    at = central = 0
    for record in records:
        begin = at
        at += len(_local_header(record, begin, block)) + record.nbytes
        if record.nbytes:
            at += len(DESCRIPTOR) + _CRC_BYTES + len(_descriptor_sizes(record.nbytes, begin))
        extra = _zip64_extra(record.nbytes, record.nbytes, begin)
        central += CENTRAL_BYTES + len(record.name) + len(extra)
    return at + central + END64_BYTES + LOCATOR_BYTES + END_BYTES


def lay_out(records: Sequence[Record], block: int | None = None) -> Layout:
    """The file: records, central directory, end.

    It is shareable in blocks of so many bytes, or compact.
    """
    builder = LayoutBuilder()
    placed: list[tuple[Record, int, _PutCrc]] = []
    for record in records:
        at = builder.nbytes
        builder.literal(_local_header(record, at, block))
        put_crc = _append_data(builder, record)
        if record.nbytes:
            builder.literal(DESCRIPTOR)
            put_crc()
            builder.literal(_descriptor_sizes(record.nbytes, at))
        placed.append((record, at, put_crc))
    begin = builder.nbytes
    for record, at, put_crc in placed:
        _append_central(builder, record, at, put_crc)
    builder.literal(_end(len(records), begin, builder.nbytes - begin))
    return builder.build()


def _append_data(builder: LayoutBuilder, record: Record) -> _PutCrc:
    """Append a record's data.

    Returns what appends its CRC: known, carried over, or still to be computed.
    """
    if isinstance(record.data, bytes):
        builder.literal(record.data)
    elif record.nbytes:
        index = builder.record(Copy(record.data, record.crc32))
        if record.crc32 is None:
            if record.tensor is not None:
                builder.check(record.tensor)
            return lambda: builder.crc(index)
    known = struct.pack("<I", record.crc32 or 0)
    return lambda: builder.literal(known)


def _local_header(record: Record, at: int, block: int | None) -> bytes:
    zip64 = _zip64_extra(record.nbytes, 0, at)  # torch leaves the compressed size at 0 here
    fixed = LOCAL_BYTES + len(record.name) + len(zip64) + 4
    modulus, remainder = _place(record, block)
    padding = (remainder - at - fixed) % modulus
    extra = zip64 + b"FB" + struct.pack("<H", padding) + b"Z" * padding
    head = struct.pack(
        "<HHHHHIIIHH", 0, _flags(record), 0, 0, 0, 0, 0, 0, len(record.name), len(extra)
    )
    return LOCAL + head + record.name + extra


def _place(record: Record, block: int | None) -> tuple[int, int]:
    """The modulus and remainder of the offset at which a record's data must begin."""
    if block is not None and isinstance(record.data, Extent) and record.nbytes >= _WORTH_SHARING:
        return block, record.data.offset % block
    return ALIGNMENT, 0


def _flags(record: Record) -> int:
    return UTF8 | (HAS_DESCRIPTOR if record.nbytes else 0)


def _zip64_extra(nbytes: int, packed: int, at: int) -> bytes:
    """The zip64 field: the two sizes of a large record, and an offset past 4 GiB; or nothing."""
    fields = b""
    if nbytes >= IN_ZIP64:
        fields += struct.pack("<QQ", nbytes, packed)
    if at >= IN_ZIP64:
        fields += struct.pack("<Q", at)
    return struct.pack("<HH", 1, len(fields)) + fields if fields else b""


def _descriptor_sizes(nbytes: int, at: int) -> bytes:
    """The sizes in a descriptor.

    They are 64 bits wide where the local header has a zip64 field, for whatever reason.
    """
    return struct.pack("<QQ" if nbytes >= IN_ZIP64 or at >= IN_ZIP64 else "<II", nbytes, nbytes)


def _append_central(builder: LayoutBuilder, record: Record, at: int, put_crc: _PutCrc) -> None:
    nbytes = record.nbytes
    extra = _zip64_extra(nbytes, nbytes, at)
    size = min(nbytes, IN_ZIP64)
    builder.literal(CENTRAL + struct.pack("<HHHHHH", 0, 0, _flags(record), 0, 0, 0))
    put_crc()
    builder.literal(
        struct.pack(
            "<IIHHHHHII", size, size, len(record.name), len(extra), 0, 0, 0, 0, min(at, IN_ZIP64)
        )
    )
    builder.literal(record.name + extra)


def _end(count: int, begin: int, nbytes: int) -> bytes:
    at = begin + nbytes
    end64 = END64 + struct.pack(
        "<QHHIIQQQQ", END64_BYTES - 12, 0x031E, 45, 0, 0, count, count, nbytes, begin
    )
    locator = LOCATOR64 + struct.pack("<IQI", 0, at, 1)
    few, small, near = min(count, IN_ZIP64_COUNT), min(nbytes, IN_ZIP64), min(begin, IN_ZIP64)
    return end64 + locator + END + struct.pack("<HHHHIIH", 0, 0, few, few, small, near, 0)
