"""Read the files of torch.save since torch 1.6.

One is a zip with a pickle, and a record of bytes for each storage.

The zip's records come from `records`, the pickle's inert values from `unpickle`, the tensors of
both from `tree`. Source: torch/serialization.py of torch 2.13.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping

from shardctl.findings import Finding, Report, report_all
from shardctl.formats.archives import zip_kind
from shardctl.formats.hazards import DO_NOT_LOAD
from shardctl.formats.limits import MAX_PICKLE_BYTES
from shardctl.formats.pickle.machine import Unpickled
from shardctl.formats.pickle.values import PickleFaultError, StorageRef
from shardctl.formats.sniff import called
from shardctl.formats.torch.findings import Unloadable, location_findings
from shardctl.formats.torch.sniff_pickle import looks_like_pickle
from shardctl.formats.torch.tree.tree import TreeError, TreeOf, build_tree
from shardctl.formats.torch.unpickle import unpickle
from shardctl.formats.torch.weights_only import unsafe
from shardctl.formats.torch.zip.marks import (
    CONTROL,
    SMALL_BYTES,
    SmallRecord,
    check_marks,
    check_names,
    computed_offsets,
)
from shardctl.formats.torch.zip.records import (
    Directory,
    Records,
    ZipRecord,
    read_directory,
    top_directory,
)
from shardctl.formats.torch.zip.structure import (
    DAMAGED,
    END,
    LOCAL,
    TORCHSCRIPT,
    TORCHSCRIPT_HINT,
    ZipFaultError,
)
from shardctl.model import Extent, File, Storage, Tree
from shardctl.stores.base import Reader
from shardctl.text import escape, plural

_DATA = "data/"


class TorchZipReader:
    """Reads torch's zip files."""

    def recognise(self, head: bytes, tail: bytes) -> bool:
        """Whether a file begins or ends like a zip; which zip, reading will say."""
        if head.startswith(LOCAL):
            return True
        return END in tail and not looks_like_pickle(head, tail)

    def read(self, reader: Reader, report: Report) -> File | None:
        """Read directory and pickle, and no tensor's bytes.

        Returns None where no tensors can be made out.
        """
        return self.read_as(reader, report, build_tree)

    def read_as(self, reader: Reader, report: Report, tree_of: TreeOf) -> File | None:
        """Read a file as `read` does; `tree_of` makes its tree of what the pickle holds."""
        try:
            return _Reading(reader, report, tree_of).file()
        except ZipFaultError as fault:
            kind = zip_kind(reader)
            said = (fault.message, fault.hint) if kind is None else (called(kind), kind.hint)
            offset = fault.offset if kind is None else None
            report(Finding(fault.code, "error", *said, reader.path, offset=offset))
        return None


class _Reading:
    """One file being read."""

    def __init__(self, reader: Reader, report: Report, tree_of: TreeOf) -> None:
        self._reader = reader
        self._tree_of = tree_of
        self._report = report
        self._absent_crcs = False

    def file(self) -> File | None:
        reader = self._reader
        directory, raw = read_directory(reader)
        records = Records(top_directory(directory), directory)
        pickle = self._find_pickle(records)
        data = self._pickle(pickle, records)
        digest = hashlib.sha256(data)
        digest.update(raw)
        del raw  # some hundred bytes for each tensor, as is what goes later
        small = self._small_records(records)
        result = self._unpickled(data, pickle, small)
        del data
        if result is None:
            return None
        storages, lost, every = self._storages(result.storages, records)
        self._warn_of_absent_crcs(storages)
        report_all(computed_offsets(reader, records, small, result.storages), self._report)
        report_all(location_findings(result.storages.values(), reader.path), self._report)
        del directory, records
        tree = self._tree(result, storages, lost, pickle)
        if tree is None:
            return None
        return File(
            path=reader.path,
            format="bin",
            version=reader.version,
            tree=tree,
            header_sha256=digest.hexdigest(),
            unsafe_globals=unsafe(result.globals),
            refused=result.refused,
            allocations=result.allocations,
            records=every,
        )

    def _find_pickle(self, records: Records) -> ZipRecord:
        """The record of the pickle. Raises ZipFaultError for a zip of something else."""
        if "constants.pkl" in records or any(name.startswith("code/") for name in records):
            raise ZipFaultError("zip-invalid", TORCHSCRIPT, 0, TORCHSCRIPT_HINT)
        check_names(records)
        found = records.get("data.pkl")
        if found is None:
            hint = "name a file that torch.save wrote"
            raise ZipFaultError(
                "zip-invalid", "the zip has no data.pkl: it is not a PyTorch checkpoint", 0, hint
            )
        return found

    def _pickle(self, record: ZipRecord, records: Records) -> bytes:
        """The pickle's bytes; they pass through our hands, so their checksum is looked at."""
        if record.extent.length > MAX_PICKLE_BYTES:
            raise ZipFaultError(
                "pickle-invalid", "the pickle is larger than any checkpoint's", record.extent.offset
            )
        data = self._read(record)
        crc32 = zlib.crc32(data)
        if crc32 != record.crc32:
            if any(records.directory.crcs):
                message = (
                    f"data.pkl does not match its CRC-32 (recorded {record.crc32:08x}, "
                    f"found {crc32:08x})"
                )
                self._fault("zip-crc-mismatch", message, record.extent.offset, DAMAGED)
            else:
                self._absent_crcs = True
                message = (
                    "no record has a checksum: the program that wrote the file left them out, and "
                    "damage cannot be found"
                )
                hint = "write the file again with `write`, which adds checksums"
                self._report(Finding("zip-crc-absent", "warning", message, hint, self._reader.path))
        return data

    def _small_records(self, records: Records) -> dict[str, SmallRecord]:
        """The records that say how others are read; their checksums are checked."""
        small: dict[str, SmallRecord] = {}
        for name in CONTROL:
            record = records.get(name)
            if record is None:
                continue
            data = self._reader.read(record.extent.offset, min(record.extent.length, SMALL_BYTES))
            whole = len(data) == record.extent.length
            if whole and zlib.crc32(data) != record.crc32 and not self._absent_crcs:
                message = f"the record '{name}' does not match its CRC-32"
                self._fault("zip-crc-mismatch", message, record.extent.offset, DAMAGED)
            small[name] = SmallRecord(data, record.extent.offset)
        return small

    def _unpickled(
        self, data: bytes, record: ZipRecord, small: Mapping[str, SmallRecord]
    ) -> Unpickled | None:
        at = record.extent.offset
        unloadable = Unloadable(self._report, self._reader.path)
        try:
            check_marks(small)
            result = unpickle(data)
        except ZipFaultError:
            unloadable.warn(data)
            raise
        except PickleFaultError as fault:
            unloadable.warn(data)
            unloadable.fault("pickle-invalid", fault.message, fault.hint, at + fault.offset)
            return None
        if result.end != len(data):
            message = "trailing data after the pickle's STOP opcode"
            self._fault("pickle-invalid", message, at + result.end, DO_NOT_LOAD)
        return result

    def _tree(
        self,
        result: Unpickled,
        storages: Mapping[str, Storage],
        lost: Mapping[str, Finding],
        record: ZipRecord,
    ) -> Tree | None:
        path, nbytes = self._reader.path, record.extent.length
        try:
            return self._tree_of(result, storages, path, self._report, nbytes, lost)
        except TreeError as error:
            unloadable = Unloadable(self._report, path)
            unloadable.warn(self._read(record), known=result.globals)
            unloadable.fault("pickle-invalid", error.message, error.hint, record.extent.offset)
            return None

    def _storages(
        self, refs: Mapping[str, StorageRef], records: Records
    ) -> tuple[dict[str, Storage], dict[str, Finding], tuple[Storage, ...]]:
        """The storages that the pickle names, by key, and those of all records, in their order.

        Between them, by key too, what is wrong with those that are not there.
        """
        directory = records.directory
        named: list[Storage | None] = [None] * len(directory)
        found, lost = dict[str, Storage](), dict[str, Finding]()
        for key, ref in refs.items():
            place = records.place(f"{_DATA}{key}")
            if place is None:
                message = f"the storage '{escape(key)}' has no record"
                hint = "incomplete or damaged: fetch or save the file again"
                lost[key] = self._error("zip-invalid", message, 0, hint)
                continue
            storage = named[place] = self._storage(directory, place, key, filled_later=True)
            length = storage.extent.length
            if length == ref.nbytes:
                found[key] = storage
                continue
            message = (
                f"the storage '{escape(key)}' should have {ref.nbytes:,} bytes, and its record "
                f"has {length:,}"
            )
            at = storage.extent.offset
            lost[key] = self._error("tensor-size-mismatch", message, at, DAMAGED)
        every = (
            storage or self._unnamed(directory, place, name)
            for place, (name, storage) in enumerate(zip(records, named, strict=True))
        )
        return found, lost, tuple(every)

    def _warn_of_absent_crcs(self, storages: Mapping[str, Storage]) -> None:
        absent = [storage for storage in storages.values() if storage.crc32 is None]
        if absent and not self._absent_crcs:
            message = (
                f"{plural(len(absent), 'storage')} without a checksum, the first is "
                f"'{escape(absent[0].key)}': damage to it cannot be found"
            )
            hint = "write the file again with `write`, which adds checksums"
            at = absent[0].extent.offset
            finding = Finding(
                "zip-crc-absent", "warning", message, hint, self._reader.path, None, at
            )
            self._report(finding)

    def _unnamed(self, directory: Directory, place: int, name: str) -> Storage:
        """The storage of a record that the pickle does not name."""
        key = name.removeprefix(_DATA)
        return self._storage(directory, place, key, filled_later=key != name or self._absent_crcs)

    def _storage(
        self, directory: Directory, place: int, key: str, *, filled_later: bool
    ) -> Storage:
        """The storage of a record.

        torch.save leaves a checksum of 0 where bytes are filled in later (`skip_data`).
        """
        extent, crc32 = directory.extent(place), directory.crcs[place]
        absent = filled_later and crc32 == 0 and extent.length > 0
        return Storage(extent, key, None if absent else crc32)

    def _read(self, record: ZipRecord) -> bytes:
        extent: Extent = record.extent
        return self._reader.read(extent.offset, extent.length)

    def _fault(self, code: str, message: str, offset: int, hint: str) -> None:
        self._report(self._error(code, message, offset, hint))

    def _error(self, code: str, message: str, offset: int, hint: str) -> Finding:
        return Finding(code, "error", message, hint, self._reader.path, offset=offset)
