"""The container of torch.save since torch 1.6: a zip with a pickle, and a record of bytes for each storage.

Reading: the zip's records (`zip_records`), the pickle as inert values (`unpickle`), tensors from
both (`torch_tree`). Writing: `torch_zip_writer`. Source: torch/serialization.py of torch 2.13.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence

from shardctl.findings import Finding, Report
from shardctl.formats.limits import MAX_PICKLE_BYTES
from shardctl.formats.pickle.machine import Unpickled
from shardctl.formats.pickle.values import DO_NOT_LOAD, PickleFaultError, StorageRef
from shardctl.formats.torch import zip_writer as writer
from shardctl.formats.torch.hazards import Unloadable, location_findings
from shardctl.formats.torch.sniff_pickle import looks_like_pickle
from shardctl.formats.torch.tree import TreeError, build_tree
from shardctl.formats.torch.unpickle import unpickle
from shardctl.formats.torch.weights_only import unsafe
from shardctl.formats.torch.zip_marks import (
    CONTROL,
    SMALL_BYTES,
    SmallRecord,
    check_marks,
    check_names,
    computed_offsets,
)
from shardctl.formats.torch.zip_records import (
    TORCHSCRIPT,
    TORCHSCRIPT_HINT,
    Directory,
    ZipFaultError,
    ZipRecord,
    read_directory,
)
from shardctl.layout import Layout
from shardctl.model import Extent, File, Storage, Tensor
from shardctl.stores.base import Reader
from shardctl.text import escape

_FETCH = "the file is damaged: fetch or save it again"
_DATA = "data/"


class TorchZip:
    """Reads and writes torch's zip files."""

    name = "bin"
    suffix = ".bin"

    def recognise(self, head: bytes, tail: bytes) -> bool:
        """Whether a file begins or ends like a zip; which zip, reading will say."""
        if head.startswith(b"PK\x03\x04"):
            return True
        return b"PK\x05\x06" in tail and not looks_like_pickle(head, tail)

    def read(self, reader: Reader, report: Report) -> File | None:
        """Read directory and pickle, and no tensor's bytes; None where no tensors can be made out."""
        try:
            return _Reading(reader, report).file()
        except ZipFaultError as fault:
            report(
                Finding(
                    fault.code, "error", fault.message, fault.hint, reader.path, offset=fault.offset
                )
            )
        return None

    def measure(
        self,
        tensors: Sequence[Tensor],
        metadata: Mapping[str, str],  # noqa: ARG002 - metadata has no place here
        block: int | None = None,
    ) -> int:
        """Exact bytes of the file that `lay_out` gives; raises what it raises."""
        return writer.measure(writer.records_of(tensors, block), block)

    def lay_out(
        self,
        tensors: Sequence[Tensor],
        metadata: Mapping[str, str],  # noqa: ARG002 - metadata has no place here
        block: int | None = None,
    ) -> Layout:
        """The file: as torch writes it, or shareable in blocks. Raises UsageError for a dtype that torch lacks."""
        return writer.lay_out(writer.records_of(tensors, block), block)


TORCH_ZIP = TorchZip()


class _Reading:
    """One file being read."""

    def __init__(self, reader: Reader, report: Report) -> None:
        self._reader = reader
        self._report = report
        self._absent_crcs = False

    def file(self) -> File | None:
        reader = self._reader
        directory = read_directory(reader)
        top = _top_directory(directory)
        records = {record.name[len(top) + 1 :]: record for record in directory.records}
        self._refuse_others(records)
        data = self._pickle(records)
        unloadable = Unloadable(self._report, reader.path)
        small = self._small_records(records)
        try:
            check_marks(small)
        except ZipFaultError:
            unloadable.warn(data)
            raise
        result = self._unpickled(data, records["data.pkl"], unloadable)
        if result is None:
            return None
        every = {name: self._storage(name, record) for name, record in records.items()}
        storages = self._storages(result.storages, every)
        try:
            tree = build_tree(result, storages, reader.path, self._report, len(data))
        except TreeError as error:
            unloadable.warn(data, known=result.globals)
            at = records["data.pkl"].extent.offset
            unloadable.fault("pickle-invalid", error.message, error.hint, at)
            return None
        for finding in computed_offsets(reader, top, records, small, result.storages):
            self._report(finding)
        for finding in location_findings(result.storages.values(), reader.path):
            self._report(finding)
        return File(
            path=reader.path,
            container=TORCH_ZIP.name,
            version=reader.version,
            tree=tree,
            header_sha256=hashlib.sha256(data + directory.raw).hexdigest(),
            unsafe_globals=unsafe(result.globals),
            refused=result.refused,
            allocations=result.allocations,
            records=tuple(every.values()),
        )

    def _refuse_others(self, records: Mapping[str, ZipRecord]) -> None:
        if "constants.pkl" in records or any(name.startswith("code/") for name in records):
            raise ZipFaultError("zip-invalid", TORCHSCRIPT, 0, TORCHSCRIPT_HINT)
        check_names(records)
        if "data.pkl" not in records:
            hint = "name a file that torch.save wrote"
            raise ZipFaultError(
                "zip-invalid", "the zip has no data.pkl: it is not a PyTorch checkpoint", 0, hint
            )

    def _pickle(self, records: Mapping[str, ZipRecord]) -> bytes:
        """The pickle's bytes; they pass through our hands, so their checksum is looked at."""
        record = records["data.pkl"]
        if record.extent.length > MAX_PICKLE_BYTES:
            raise ZipFaultError(
                "pickle-invalid", "the pickle is larger than any checkpoint's", record.extent.offset
            )
        data = self._read(record)
        crc32 = zlib.crc32(data)
        if crc32 != record.crc32:
            if record.crc32 or any(other.crc32 for other in records.values()):
                message = f"data.pkl does not match its CRC-32 (recorded {record.crc32:08x}, found {crc32:08x})"
                self._fault("zip-crc-mismatch", message, record.extent.offset, _FETCH)
            else:
                self._absent_crcs = True
                message = "no record has a checksum: the program that wrote the file left them out, and damage cannot be found"
                hint = "`shardctl reshard` writes the file again with checksums"
                self._report(Finding("zip-crc-absent", "warning", message, hint, self._reader.path))
        if not self._absent_crcs:
            self._note_skipped(records)
        return data

    def _note_skipped(self, records: Mapping[str, ZipRecord]) -> None:
        """Storages without a checksum beside others with one, as `torch.serialization.skip_data` leaves them."""
        skipped = [name for name, record in records.items() if _is_skipped(name, record)]
        if skipped:
            message = (
                f"storages without a checksum, in which damage cannot be found: {len(skipped):,} "
                f"(the first is '{escape(skipped[0])}')"
            )
            hint = "`shardctl reshard` writes the file again with checksums"
            self._report(Finding("zip-crc-absent", "warning", message, hint, self._reader.path))

    def _small_records(self, records: Mapping[str, ZipRecord]) -> dict[str, SmallRecord]:
        """The records that say how others are read; their checksums are checked."""
        small: dict[str, SmallRecord] = {}
        for name in CONTROL & records.keys():
            record = records[name]
            data = self._reader.read(record.extent.offset, min(record.extent.length, SMALL_BYTES))
            whole = len(data) == record.extent.length
            if whole and zlib.crc32(data) != record.crc32 and not self._absent_crcs:
                message = f"the record '{name}' does not match its CRC-32"
                self._fault("zip-crc-mismatch", message, record.extent.offset, _FETCH)
            small[name] = SmallRecord(data, record.extent.offset)
        return small

    def _unpickled(
        self, data: bytes, record: ZipRecord, unloadable: Unloadable
    ) -> Unpickled | None:
        at = record.extent.offset
        try:
            result = unpickle(data)
        except PickleFaultError as fault:
            unloadable.warn(data)
            unloadable.fault("pickle-invalid", fault.message, fault.hint, at + fault.offset)
            return None
        if result.end != len(data):
            message = "trailing data after the pickle's STOP opcode"
            self._fault("pickle-invalid", message, at + result.end, DO_NOT_LOAD)
        return result

    def _storages(
        self, refs: Mapping[str, StorageRef], every: Mapping[str, Storage]
    ) -> dict[str, Storage]:
        """The storages that the pickle names, by key; `every` has those of all records, by name."""
        found: dict[str, Storage] = {}
        for key, ref in refs.items():
            storage = every.get(f"data/{key}")
            if storage is None:
                message = f"the storage '{escape(key)}' has no record"
                self._fault(
                    "zip-invalid", message, 0, "incomplete or damaged: fetch or save the file again"
                )
            elif storage.extent.length != ref.nbytes:
                message = (
                    f"the storage '{escape(key)}' should have {ref.nbytes:,} bytes, and its record has "
                    f"{storage.extent.length:,}"
                )
                self._fault("tensor-size-mismatch", message, storage.extent.offset, _FETCH)
            else:
                found[key] = storage
        return found

    def _storage(self, name: str, record: ZipRecord) -> Storage:
        key = name.removeprefix(_DATA)
        absent = record.crc32 == 0 and record.extent.length and self._absent_crcs
        crc32 = None if absent or _is_skipped(name, record) else record.crc32
        return Storage(record.extent, key, crc32)

    def _read(self, record: ZipRecord) -> bytes:
        extent: Extent = record.extent
        return self._reader.read(extent.offset, extent.length)

    def _fault(self, code: str, message: str, offset: int, hint: str) -> None:
        self._report(Finding(code, "error", message, hint, self._reader.path, offset=offset))


def _is_skipped(name: str, record: ZipRecord) -> bool:
    """Whether a storage has the checksum 0, which stands for none."""
    return record.crc32 == 0 and record.extent.length > 0 and name.startswith(_DATA)


def _top_directory(directory: Directory) -> str:
    """The one folder that all records lie in; torch takes that of the first."""
    tops = {record.name.split("/", 1)[0] for record in directory.records}
    if not directory.records:
        raise ZipFaultError(
            "zip-invalid", "the zip is empty", 0, "name a file that torch.save wrote"
        )
    for record in directory.records:
        if "\\" in record.name or record.name.startswith("/") or ".." in record.name.split("/"):
            message = f"the record '{escape(record.name)}' leads out of the file's folder"
            raise ZipFaultError("zip-ambiguous", message, record.extent.offset, DO_NOT_LOAD)
    if len(tops) > 1 or any("/" not in record.name for record in directory.records):
        some = ", ".join(map(escape, sorted(tops)[:5]))
        hint = "name a file that torch.save wrote; a plain zip must be unpacked first"
        raise ZipFaultError(
            "zip-ambiguous", f"the records do not lie in one folder, but in {some}", 0, hint
        )
    return next(iter(tops))
