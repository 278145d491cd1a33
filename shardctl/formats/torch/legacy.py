"""The files of torch.save before torch 1.6: read, never written.

Five pickles one after another (magic number, protocol version, system information, the object, the
storages' keys), then for each key a 64-bit number of elements and the raw elements. There is no
checksum. Source: `_legacy_save` and `_legacy_load` in torch/serialization.py of torch 2.13.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping as Places
from collections.abc import Sized

from shardctl.findings import Finding, Report, report_all
from shardctl.formats.hazards import DO_NOT_LOAD
from shardctl.formats.limits import MAX_PICKLE_BYTES
from shardctl.formats.pickle.machine import Unpickled
from shardctl.formats.pickle.values import (
    Mapping,
    PickleCutShortError,
    PickleFaultError,
    Sequence,
    StorageRef,
)
from shardctl.formats.torch.calls.storage_ids import UNTYPED
from shardctl.formats.torch.calls.types import QUANTIZED_STORAGES
from shardctl.formats.torch.findings import Unloadable, location_findings
from shardctl.formats.torch.sniff_pickle import MAGIC, is_tar_header, looks_like_pickle
from shardctl.formats.torch.tree.tree import TreeError, TreeOf, build_tree
from shardctl.formats.torch.unpickle import unpickle
from shardctl.formats.torch.weights_only import unsafe
from shardctl.model import Extent, File, Storage
from shardctl.stores.base import Reader
from shardctl.text import escape, plural

_PROTOCOL = 1001
_COUNT_BYTES = 8
#: The pickles are read in growing steps, since their length is not recorded.
_FIRST_BYTES = 1024 * 1024
_FETCH = "incomplete or damaged: fetch or save the file again"


class TorchLegacyReader:
    """Reads torch's files of before 1.6.

    It says what is in other pickles too, since `torch.load` takes them for such files.
    """

    def recognise(self, head: bytes, tail: bytes) -> bool:
        """Whether a file is a pickle, or several; whether torch wrote them, reading will say."""
        return looks_like_pickle(head, tail)

    def read(self, reader: Reader, report: Report) -> File | None:
        """Read the pickles and the lengths of the storages.

        Returns None where no tensors can be made out.
        """
        return self.read_as(reader, report, build_tree)

    def read_as(self, reader: Reader, report: Report, tree_of: TreeOf) -> File | None:
        """Read a file as `read` does; `tree_of` makes its tree of what the fourth pickle holds."""
        try:
            return _read(reader, report, tree_of)
        except _UnreadableError as error:
            unloadable = Unloadable(report, reader.path)
            unloadable.warn(error.data)
            unloadable.fault(error.code, error.message, error.hint, error.offset)
        return None


class _UnreadableError(Exception):
    """Why a file cannot be read, as the parts of a finding; `data` are the bytes of its pickles."""

    def __init__(self, data: bytes, code: str, message: str, hint: str, offset: int) -> None:
        super().__init__(message)
        self.data = data
        self.code = code
        self.message = message
        self.hint = hint
        self.offset = offset


class _TruncatedError(Exception):
    """The file ends before what its pickles promise."""


def _read(reader: Reader, report: Report, tree_of: TreeOf) -> File | None:
    size = reader.version.size
    head, pickles = _pickles(reader)
    try:
        return _file(reader, report, head, pickles, tree_of)
    except PickleFaultError as fault:
        raise _UnreadableError(
            head, "pickle-invalid", fault.message, fault.hint, fault.offset
        ) from None
    except TreeError as error:
        at = pickles[2].end
        raise _UnreadableError(head, "pickle-invalid", error.message, error.hint, at) from None
    except _TruncatedError as error:
        raise _UnreadableError(head, "file-truncated", str(error), _FETCH, size) from None


def _file(
    reader: Reader, report: Report, head: bytes, pickles: list[Unpickled], tree_of: TreeOf
) -> File:
    _, protocol, system, _, keys = (pickled.root for pickled in pickles)
    at = pickles[-1].end
    if is_tar_header(head):
        message = "the first 512 bytes are the header of a tar archive, and torch opens it as one"
        raise PickleFaultError(message, 0, DO_NOT_LOAD)
    if protocol != _PROTOCOL:
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
    if any(ref.kind == UNTYPED for ref in refs.values()):
        message = (
            "torch saves untyped storages in this format (uint16, float8, …), but cannot load them"
        )
        hint = "convert it to safetensors"
        report(Finding("pickle-invalid", "warning", message, hint, reader.path))
    report_all(location_findings(refs.values(), reader.path), report)
    storages = _storages(reader, report, listed, refs, at)
    return File(
        path=reader.path,
        format="bin",
        version=reader.version,
        tree=tree_of(pickles[3], storages, reader.path, report, at, {}),
        header_sha256=hashlib.sha256(head[:at]).hexdigest(),
        data_offset=at,
        unsafe_globals=unsafe(
            dict.fromkeys(name for pickled in pickles for name in pickled.globals)
        ),
        refused=tuple(dict.fromkeys(what for pickled in pickles for what in pickled.refused)),
        allocations=tuple(made for pickled in pickles for made in pickled.allocations),
    )


def _pickles(reader: Reader) -> tuple[bytes, list[Unpickled]]:
    """The five pickles, and the bytes from the file's start that hold them.

    Their length is not recorded.
    """
    size = reader.version.size
    most = min(size, MAX_PICKLE_BYTES)
    length = min(most, _FIRST_BYTES)
    while True:
        head = reader.read(0, length)
        try:
            return head, _parse(head)
        except PickleCutShortError as fault:
            if length == MAX_PICKLE_BYTES:
                message = "the pickles are larger than any checkpoint's"
                raise _UnreadableError(
                    head, "pickle-invalid", message, fault.hint, fault.offset
                ) from None
            if length == most:
                message = f"the file ends at byte {size:,}, within its pickles"
                raise _UnreadableError(
                    head, "file-truncated", message, _FETCH, fault.offset
                ) from None
            length = min(most, 4 * length)
        except PickleFaultError as fault:
            raise _UnreadableError(
                head, "pickle-invalid", fault.message, fault.hint, fault.offset
            ) from None


def _parse(head: bytes) -> list[Unpickled]:
    pickles = [unpickle(head, 0, legacy=True)]
    if pickles[0].root != MAGIC:
        raise PickleFaultError(
            "the file is a pickle that torch.save did not write",
            0,
            "in the program that wrote it, save a dict of named tensors with torch.save",
        )
    for _ in range(4):
        pickles.append(unpickle(head, pickles[-1].end, legacy=True))
    return pickles


def _storages(
    reader: Reader, report: Report, keys: list[str], refs: Places[str, StorageRef], at: int
) -> dict[str, Storage]:
    """The storages in the order of the list; each must have the length that the pickle gives it."""
    size = reader.version.size
    found: dict[str, Storage] = {}
    for key in keys:
        dtype, kind = refs[key].dtype, refs[key].kind
        width = QUANTIZED_STORAGES.get(kind, 1) if dtype is None else dtype.itemsize
        if at + _COUNT_BYTES > size:
            raise _TruncatedError(
                f"the file ends at byte {size:,}, before the storage '{escape(key)}', and "
                f"{_cut_off(keys, found)}"
            )
        nbytes = int.from_bytes(reader.read(at, _COUNT_BYTES), "little") * width
        at += _COUNT_BYTES
        if nbytes != refs[key].nbytes:
            message = (
                f"the storage '{escape(key)}' has {nbytes:,} bytes, and its pickle says "
                f"{refs[key].nbytes:,}"
            )
            report(
                Finding("tensor-size-mismatch", "error", message, _FETCH, reader.path, offset=at)
            )
            return found
        if at + nbytes > size:
            raise _TruncatedError(
                f"the file ends at byte {size:,}, inside the storage '{escape(key)}' that reaches "
                f"to {at + nbytes:,}, and {_cut_off(keys, found)}"
            )
        found[key] = Storage(Extent(reader.path, at, nbytes), key)
        at += nbytes
    if at != size:
        message = f"{size - at:,} bytes of trailing data after the last storage"
        hint = (
            "fetch or save the file again; or leave out what was appended: `write` with "
            "`accept_damage`"
        )
        report(
            Finding(
                "file-trailing-bytes", "error", message, hint, reader.path, offset=at, whole=True
            )
        )
    return found


def _cut_off(keys: Sized, found: Sized) -> str:
    return f"cuts off {len(keys) - len(found):,} of {plural(len(keys), 'storage')}"
