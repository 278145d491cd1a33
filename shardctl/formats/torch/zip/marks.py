"""The small records of torch's zip that say how the others are read: versions, byte order, layout.

Source: `PyTorchStreamReader` (caffe2/serialize/inline_container.cc) and `_load` in
torch/serialization.py of torch 2.13, which finds records without regard to case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from shardctl.findings import Finding
from shardctl.formats.pickle.values import StorageRef
from shardctl.formats.torch.zip.records import Records
from shardctl.formats.torch.zip.structure import (
    AMBIGUOUS,
    DAMAGED,
    IN_ZIP64,
    LOCAL_BYTES,
    ZipFaultError,
)
from shardctl.stores.base import Reader
from shardctl.text import escape

#: The records that decide how others are read.
CONTROL = frozenset(
    {"byteorder", "version", ".data/version", ".format_version", ".storage_alignment"}
)
#: What is read of such a record: one that is longer is wrong.
SMALL_BYTES = 64
_FOUND_BY_NAME = CONTROL | {"data.pkl", ".data/serialization_id", "constants.pkl"}
#: Versions of the file format that torch 2.13 reads (kMinSupportedFileFormatVersion,
#: kMaxSupported…).
_VERSIONS = range(1, 11)
_PADDING_BYTES = 4
_DEFAULT_ALIGNMENT = 64


class SmallRecord(NamedTuple):
    """The first bytes of a small record, and their offset in the file."""

    data: bytes
    offset: int


def check_names(records: Records) -> None:
    """Raise ZipFaultError for a control record whose name is right but for case.

    Torch finds it, others do not.
    """
    for place, name in enumerate(records):
        small = name.lower()
        if small in _FOUND_BY_NAME and name != small:
            message = f"the record '{escape(name)}' differs from '{small}' in case only"
            at = records.directory.offsets[place]
            raise ZipFaultError("zip-ambiguous", message, at, AMBIGUOUS)


def check_marks(small: Mapping[str, SmallRecord]) -> None:
    """Raise ZipFaultError for a byte order or a version that cannot be read."""
    order = small.get("byteorder")
    if order is not None and order.data != b"little":
        big = order.data == b"big"
        message = (
            "the numbers are big-endian" if big else "the record 'byteorder' is not a byte order"
        )
        hint = "load it with torch and save it again on a little-endian machine" if big else DAMAGED
        raise ZipFaultError("zip-invalid", message, order.offset, hint)
    version = small.get(".data/version", small.get("version"))
    if version is None:
        message = "the zip has no record 'version': torch does not load it"
        raise ZipFaultError("zip-invalid", message, 0)
    text = version.data.strip()
    if not text.isdigit() or int(text) not in _VERSIONS:
        message = f"file format version '{escape(text.decode('latin-1'))}' is not known"
        hint = "a newer torch may have written it: update shardctl, or save it with an older torch"
        raise ZipFaultError("zip-invalid", message, version.offset, hint)
    alignment = small.get(".storage_alignment")
    if alignment is not None and not alignment.data.isdigit():
        message = "the record '.storage_alignment' is not a number: torch does not load the file"
        raise ZipFaultError("zip-invalid", message, alignment.offset, DAMAGED)


def computed_offsets(
    reader: Reader,
    records: Records,
    small: Mapping[str, SmallRecord],
    storages: Mapping[str, StorageRef],
) -> Iterator[Finding]:
    """A warning where `.format_version` promises a layout that the records do not have.

    With `calculate_storage_offsets`, and on the meta device, torch computes where each storage
    begins instead of looking: `storages` are in the order in which the pickle first names them.
    """
    version, alignment = small.get(".format_version"), small.get(".storage_alignment")
    if version is None or version.data < b"1":
        return
    step = _DEFAULT_ALIGNMENT if alignment is None else int(alignment.data)
    if step < 1 or not _is_computed(records, storages, step):
        message = "the storages are not where '.format_version' says: torch may read other bytes"
        hint = "write the file again with `write`, in the layout that torch computes"
        yield Finding("zip-ambiguous", "warning", message, hint, reader.path, offset=version.offset)


def _is_computed(records: Records, keys: Iterable[str], step: int) -> bool:
    """Whether storages follow one another as `_get_offset` in `_load` counts: all in bytes."""
    offsets, lengths = records.directory.offsets, records.directory.lengths
    fixed = LOCAL_BYTES + len(f"{records.top}/data/".encode()) + _PADDING_BYTES
    cursor: int | None = None
    for key in keys:
        place = records.place(f"data/{key}")
        if place is None:
            continue  # reported as missing
        nbytes = lengths[place]
        if cursor is None:
            if key != "0":
                return False
            begin = header = offsets[place]
        else:
            header = cursor
            begin = cursor + fixed + len(key.encode()) + _zip64_bytes(nbytes, cursor)
            begin += -begin % step
        if begin != offsets[place]:
            return False
        cursor = begin + nbytes
        if nbytes:
            cursor += 24 if header >= IN_ZIP64 or nbytes >= IN_ZIP64 else 16
    return True


def _zip64_bytes(nbytes: int, cursor: int) -> int:
    if nbytes < IN_ZIP64 and cursor < IN_ZIP64:
        return 0
    return 4 + (16 if nbytes >= IN_ZIP64 else 0) + (8 if cursor >= IN_ZIP64 else 0)
