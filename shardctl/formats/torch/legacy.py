"""The files of torch.save before torch 1.6: read, never written.

Five pickles one after another (magic number, protocol version, system information, the object, the
storages' keys), then for each key a 64-bit number of elements and the raw elements. There is no
checksum. Source: `_legacy_save` and `_legacy_load` in torch/serialization.py of torch 2.13.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping as Places

from shardctl.findings import Finding, Report
from shardctl.formats.limits import MAX_PICKLE_BYTES
from shardctl.formats.pickle.machine import Unpickled
from shardctl.formats.pickle.values import (
    Mapping,
    PickleCutShortError,
    PickleFaultError,
    Sequence,
    StorageRef,
)
from shardctl.formats.torch.calls import storage_of_legacy
from shardctl.formats.torch.tree import TreeError, build_tree
from shardctl.formats.torch.unpickle import unpickle
from shardctl.formats.torch.weights_only import unsafe
from shardctl.model import Extent, File, Storage
from shardctl.stores.base import Reader
from shardctl.text import escape

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
# The magic number as every pickle protocol that torch used writes it: LONG1, ten bytes.
_MAGIC_BYTES = b"\x8a\n" + _MAGIC.to_bytes(10, "little")
_COUNT_BYTES = 8
#: The pickles are read in growing steps, since their length is not told.
_FIRST_BYTES = 1024 * 1024
_FETCH = "incomplete or damaged: fetch or save the file again"


class TorchLegacyReader:
    """Reads torch's files of before 1.6."""

    def recognise(self, head: bytes, tail: bytes) -> bool:  # noqa: ARG002 - the end of the file says nothing
        """Whether a file begins with the pickle of torch's magic number."""
        return _MAGIC_BYTES in head[:32]  # from protocol 4 on, a frame's length stands before it

    def read(self, reader: Reader, report: Report) -> File | None:
        """Read the pickles and the lengths of the storages; None where no tensors can be made out."""
        try:
            return _read(reader, report)
        except PickleCutShortError as fault:
            message = f"the file ends at byte {reader.version.size:,}, within its pickles"
            report(
                Finding(
                    "file-truncated", "error", message, _FETCH, reader.path, offset=fault.offset
                )
            )
        except PickleFaultError as fault:
            report(
                Finding(
                    "pickle-invalid",
                    "error",
                    fault.message,
                    fault.hint,
                    reader.path,
                    offset=fault.offset,
                )
            )
        except TreeError as error:
            report(Finding("pickle-invalid", "error", error.message, error.hint, reader.path))
        except _TruncatedError as error:
            report(
                Finding(
                    "file-truncated",
                    "error",
                    str(error),
                    _FETCH,
                    reader.path,
                    offset=reader.version.size,
                )
            )
        return None


class _TruncatedError(Exception):
    """The file ends before what its pickles promise."""


def _read(reader: Reader, report: Report) -> File | None:
    head, pickles = _pickles(reader)
    magic, protocol, system, root, keys = (pickled.root for pickled in pickles)
    at = pickles[-1].end
    if magic != _MAGIC or protocol != _PROTOCOL:
        shown = protocol if isinstance(protocol, int) else "?"
        raise PickleFaultError(f"protocol {shown} is not known", 0)
    if not isinstance(system, Mapping) or system.items.get("little_endian") is not True:
        hint = "load it with torch and save it again on a little-endian machine"
        raise PickleFaultError("the numbers are not little-endian", 0, hint)
    if not isinstance(keys, Sequence) or not all(isinstance(key, str) for key in keys.items):
        raise PickleFaultError("the list of storages is malformed", at)
    refs = pickles[3].storages
    listed = [str(key) for key in keys.items]
    if set(listed) != set(refs) or len(set(listed)) != len(listed):
        raise PickleFaultError(
            "the list of storages is not that of the storages that the pickle names", at
        )
    return File(
        path=reader.path,
        format="bin",
        version=reader.version,
        tree=build_tree(root, _storages(reader, report, listed, refs, at), reader.path, report),
        header_sha256=hashlib.sha256(head[:at]).hexdigest(),
        data_offset=at,
        unsafe_globals=unsafe(
            dict.fromkeys(name for pickled in pickles for name in pickled.globals)
        ),
    )


def _pickles(reader: Reader) -> tuple[bytes, list[Unpickled]]:
    """The five pickles, and the bytes from the file's start that hold them. Their length is told nowhere."""
    most = min(reader.version.size, MAX_PICKLE_BYTES)
    length = min(most, _FIRST_BYTES)
    while True:
        head = reader.read(0, length)
        try:
            return head, _parse(head)
        except PickleCutShortError as fault:
            if length == MAX_PICKLE_BYTES:
                raise PickleFaultError(
                    "the pickles are larger than any checkpoint's", fault.offset
                ) from None
            if length == most:
                raise
            length = min(most, 4 * length)


def _parse(head: bytes) -> list[Unpickled]:
    pickles: list[Unpickled] = []
    for _ in range(5):
        pickles.append(unpickle(head, pickles[-1].end if pickles else 0, storage_of_legacy))
    return pickles


def _storages(
    reader: Reader, report: Report, keys: list[str], refs: Places[str, StorageRef], at: int
) -> dict[str, Storage]:
    """The storages in the order of the list; each must have the length that the pickle gives it."""
    size = reader.version.size
    found: dict[str, Storage] = {}
    for key in keys:
        width = 1 if (dtype := refs[key].dtype) is None else dtype.itemsize
        if at + _COUNT_BYTES > size:
            raise _TruncatedError(
                f"the file ends at byte {size:,}, before the storage '{escape(key)}'"
            )
        nbytes = int.from_bytes(reader.read(at, _COUNT_BYTES), "little") * width
        at += _COUNT_BYTES
        if nbytes != refs[key].nbytes:
            message = f"the storage '{escape(key)}' has {nbytes:,} bytes, and its pickle says {refs[key].nbytes:,}"
            report(
                Finding("tensor-size-mismatch", "error", message, _FETCH, reader.path, offset=at)
            )
            return found
        if at + nbytes > size:
            raise _TruncatedError(
                f"the file ends at byte {size:,}, inside the storage '{escape(key)}' that reaches to {at + nbytes:,}"
            )
        found[key] = Storage(Extent(reader.path, at, nbytes), key)
        at += nbytes
    if at != size:
        message = f"{size - at:,} bytes stand behind the last storage"
        report(Finding("file-trailing-bytes", "error", message, _FETCH, reader.path, offset=at))
    return found
