"""Lay out records as a zip, as torch 2.13 does, so that torch may compute every offset.

Source: caffe2/serialize/inline_container.cc of torch 2.13, checked on its files. Each record is a
local header without sizes, an extra field that pads to 64 bytes, the data, and a descriptor with
CRC and sizes; then the central directory and both end records.

In a file that shares blocks (of `block` bytes) large records are padded further, until their data
has the same offset as in its source, modulo a block. A zip may be a part of a file, of which it
begins at byte `begin`: its own offsets count from there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

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
from shardctl.layout import Copy, Crc, Elements, Layout, LayoutBuilder
from shardctl.model import Extent, Tensor

ALIGNMENT = 64
#: From so many bytes on a record's blocks are worth sharing: padding costs half a block of zeros on
#: average.
_WORTH_SHARING = 64 * 1024
_CRC_BYTES = 4


@dataclass(frozen=True, slots=True)
class Record:
    """One entry: a name below the top directory, and its bytes.

    They are known ones, or pieces with elements of tensors. Where no checksum is known, `tensor` is
    one whose storage the bytes are a part of, or that is made from others.
    """

    name: bytes
    data: bytes | tuple[Elements, ...]
    crc32: int | None
    tensor: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the record's data."""
        data = self.data
        if isinstance(data, bytes):
            return len(data)
        return data[0].nbytes if len(data) == 1 else sum(piece.nbytes for piece in data)

    @property
    def extent(self) -> Extent | None:
        """The bytes of a source that are the data as they are; None where they are not one run."""
        if isinstance(self.data, tuple) and len(self.data) == 1:
            (piece,) = self.data
            return piece.extent if isinstance(piece, Copy) else None
        return None


def measure(records: Iterable[Record], block: int | None = None, begin: int = 0) -> int:
    """Exact bytes of the zip that `lay_out` or `append` would give."""
    at = central = 0
    for record in records:
        nbytes, place = record.nbytes, at
        name = len(record.name)
        at += LOCAL_BYTES + name + len(_local_extra(record, nbytes, place, block, begin)) + nbytes
        if nbytes:
            at += len(DESCRIPTOR) + _CRC_BYTES + len(_descriptor_sizes(nbytes, place))
        central += CENTRAL_BYTES + name + len(_zip64_extra(nbytes, nbytes, place))
    return at + central + END64_BYTES + LOCATOR_BYTES + END_BYTES


def lay_out(records: Iterable[Record], block: int | None = None) -> Layout:
    """The file: records, central directory, end.

    It is shareable in blocks of so many bytes, or compact.
    """
    builder = LayoutBuilder()
    append(builder, records, block)
    return builder.build()


def append(builder: LayoutBuilder, records: Iterable[Record], block: int | None = None) -> None:
    """Append a zip to a file: records, central directory, end."""
    central = LayoutBuilder()
    first = builder.nbytes
    count = 0
    for record in records:
        nbytes, at = record.nbytes, builder.nbytes - first
        builder.literal(_local_header(record, nbytes, at, block, first))
        crc = _append_data(builder, record)
        if nbytes:
            builder.literal(DESCRIPTOR)
            _append_crc(builder, crc)
            builder.literal(_descriptor_sizes(nbytes, at))
        _append_central(central, record, nbytes, at, crc)
        count += 1
    begin = builder.nbytes - first
    builder.join(central)
    builder.literal(_end(count, begin, builder.nbytes - first - begin))


def _append_data(builder: LayoutBuilder, record: Record) -> bytes | Crc:
    """Append a record's data.

    Returns its CRC as it is written, or as it has to be computed from pieces.
    """
    if isinstance(record.data, bytes):
        builder.literal(record.data)
    elif record.nbytes:
        indexes = [builder.record(piece) for piece in record.data if piece.nbytes]
        if record.crc32 is None:
            if record.tensor is not None:
                builder.check(record.tensor)
            return Crc(indexes[0], len(indexes))
    return struct.pack("<I", record.crc32 or 0)


def _append_crc(builder: LayoutBuilder, crc: bytes | Crc) -> None:
    if isinstance(crc, Crc):
        builder.crc(crc)
    else:
        builder.literal(crc)


def _local_header(record: Record, nbytes: int, at: int, block: int | None, begin: int) -> bytes:
    extra = _local_extra(record, nbytes, at, block, begin)
    head = struct.pack(
        "<HHHHHIIIHH", 0, _flags(nbytes), 0, 0, 0, 0, 0, 0, len(record.name), len(extra)
    )
    return LOCAL + head + record.name + extra


def _local_extra(record: Record, nbytes: int, at: int, block: int | None, begin: int) -> bytes:
    """The extra fields of a local header: the zip64 field, and what pads up to the data."""
    zip64 = _zip64_extra(nbytes, 0, at)  # torch leaves the compressed size at 0 here
    fixed = LOCAL_BYTES + len(record.name) + len(zip64) + 4
    modulus, remainder = _place(record, nbytes, block, begin)
    padding = (remainder - at - fixed) % modulus
    return zip64 + b"FB" + struct.pack("<H", padding) + b"Z" * padding


def _place(record: Record, nbytes: int, block: int | None, begin: int) -> tuple[int, int]:
    """The modulus and remainder of the offset in the zip at which a record's data must begin."""
    extent = record.extent if block is not None and nbytes >= _WORTH_SHARING else None
    if block is not None and extent is not None:
        return block, (extent.offset - begin) % block
    return ALIGNMENT, 0


def _flags(nbytes: int) -> int:
    return UTF8 | (HAS_DESCRIPTOR if nbytes else 0)


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


def _append_central(
    builder: LayoutBuilder, record: Record, nbytes: int, at: int, crc: bytes | Crc
) -> None:
    extra = _zip64_extra(nbytes, nbytes, at)
    size = min(nbytes, IN_ZIP64)
    builder.literal(CENTRAL + struct.pack("<HHHHHH", 0, 0, _flags(nbytes), 0, 0, 0))
    _append_crc(builder, crc)
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
