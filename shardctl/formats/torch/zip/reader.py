"""Read the files of torch.save since torch 1.6: a zip with a pickle, and a record of bytes for each storage.

The zip's records come from `records`, the pickle's inert values from `unpickle`, the tensors of
both from `tree`. Source: torch/serialization.py of torch 2.13.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping

from shardctl.findings import Finding, Report
from shardctl.formats.limits import MAX_PICKLE_BYTES
from shardctl.formats.pickle.machine import Unpickled
from shardctl.formats.pickle.values import PickleFaultError, StorageRef
from shardctl.formats.torch.tree import TreeError, build_tree
from shardctl.formats.torch.unpickle import unpickle
from shardctl.formats.torch.weights_only import unsafe
from shardctl.formats.torch.zip.records import Directory, ZipRecord, read_directory
from shardctl.formats.torch.zip.structure import AMBIGUOUS, ZipFaultError
from shardctl.model import Extent, File, Storage
from shardctl.stores.base import Reader
from shardctl.text import escape, plural

#: Versions of the file format that torch 2.13 reads (kMinSupportedFileFormatVersion,
#: kMaxSupported…).
_VERSIONS = range(1, 11)
_FETCH = "the file is damaged: fetch or save it again"
#: What is read of a record that should have a few bytes: too many are as wrong as others.
_SMALL_BYTES = 64
_DATA = re.compile(r"data/([^/]+)")


class TorchZipReader:
    """Reads torch's zip files."""

    def recognise(self, head: bytes, tail: bytes) -> bool:
        """Whether a file begins or ends like a zip; which zip, reading will say."""
        return head.startswith(b"PK\x03\x04") or b"PK\x05\x06" in tail

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
        self._check_marks(records)
        result = self._unpickled(data, records["data.pkl"])
        if result is None:
            return None
        every = {name: self._storage(name, record) for name, record in records.items()}
        storages = self._storages(result.storages, every)
        self._warn_of_absent_crcs(storages)
        try:
            tree = build_tree(result.root, storages, reader.path, self._report)
        except TreeError as error:
            self._fault(
                "pickle-invalid", error.message, records["data.pkl"].extent.offset, error.hint
            )
            return None
        return File(
            path=reader.path,
            format="bin",
            version=reader.version,
            tree=tree,
            header_sha256=hashlib.sha256(data + directory.raw).hexdigest(),
            unsafe_globals=unsafe(result.globals),
            records=tuple(every.values()),
        )

    def _refuse_others(self, records: Mapping[str, ZipRecord]) -> None:
        if "constants.pkl" in records or any(name.startswith("code/") for name in records):
            raise ZipFaultError(
                "zip-invalid",
                "the file is a TorchScript program, not a state dict",
                0,
                "load it with torch.jit.load and save `module.state_dict()`",
            )
        if "data.pkl" not in records:
            hint = "name a file that torch.save wrote"
            raise ZipFaultError(
                "zip-invalid", "the zip has no data.pkl: it is no checkpoint of torch", 0, hint
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
            if any(other.crc32 for other in records.values()):
                message = f"data.pkl does not match its CRC-32 (recorded {record.crc32:08x}, found {crc32:08x})"
                self._fault("zip-crc-mismatch", message, record.extent.offset, _FETCH)
            else:
                self._absent_crcs = True
                message = "no record has a checksum: whoever wrote the file left them out, and damage cannot be found"
                hint = "write the file again with `write`, which adds checksums"
                self._report(Finding("zip-crc-absent", "warning", message, hint, self._reader.path))
        return data

    def _check_marks(self, records: Mapping[str, ZipRecord]) -> None:
        """Byte order and version: small records that decide how the others are read."""
        order = self._small(records, "byteorder")
        if order is not None and order != b"little":
            big = order == b"big"
            message = (
                "the numbers are big-endian"
                if big
                else "the record 'byteorder' names no order of bytes"
            )
            hint = (
                "load it with torch and save it again on a little-endian machine" if big else _FETCH
            )
            raise ZipFaultError("zip-invalid", message, records["byteorder"].extent.offset, hint)
        version = self._small(records, ".data/version") or self._small(records, "version")
        if version is None:
            raise ZipFaultError(
                "zip-invalid", "the zip has no record 'version': torch would not load it", 0
            )
        text = version.strip()
        if not text.isdigit() or int(text) not in _VERSIONS:
            message = f"file format version '{escape(text.decode('latin-1'))}' is not known"
            hint = "a newer torch may have written it: update shardctl, or save it again with an older torch"
            raise ZipFaultError("zip-invalid", message, 0, hint)

    def _small(self, records: Mapping[str, ZipRecord], name: str) -> bytes | None:
        """The first bytes of a record that has but a few; as they pass through our hands, they are checked."""
        record = records.get(name)
        if record is None:
            return None
        data = self._reader.read(record.extent.offset, min(record.extent.length, _SMALL_BYTES))
        if (
            len(data) == record.extent.length
            and zlib.crc32(data) != record.crc32
            and not self._absent_crcs
        ):
            message = f"the record '{name}' does not match its CRC-32"
            self._fault("zip-crc-mismatch", message, record.extent.offset, _FETCH)
        return data

    def _unpickled(self, data: bytes, record: ZipRecord) -> Unpickled | None:
        try:
            result = unpickle(data)
        except PickleFaultError as fault:
            self._fault(
                "pickle-invalid", fault.message, record.extent.offset + fault.offset, fault.hint
            )
            return None
        if result.end != len(data):
            at = record.extent.offset + result.end
            self._fault(
                "pickle-invalid", "trailing data after the pickle's STOP opcode", at, AMBIGUOUS
            )
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

    def _storage(self, name: str, record: ZipRecord) -> Storage:
        key = _DATA.fullmatch(name)
        # torch.save leaves 0 for storages whose bytes are filled in later (`skip_data`).
        filled_later = key is not None or self._absent_crcs
        absent = filled_later and record.crc32 == 0 and record.extent.length > 0
        crc32 = None if absent else record.crc32
        return Storage(record.extent, key[1] if key else name, crc32)

    def _read(self, record: ZipRecord) -> bytes:
        extent: Extent = record.extent
        return self._reader.read(extent.offset, extent.length)

    def _fault(self, code: str, message: str, offset: int, hint: str) -> None:
        self._report(Finding(code, "error", message, hint, self._reader.path, offset=offset))


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
            raise ZipFaultError("zip-ambiguous", message, record.extent.offset, AMBIGUOUS)
    if len(tops) > 1 or any("/" not in record.name for record in directory.records):
        some = ", ".join(map(escape, sorted(tops)[:5]))
        hint = "name a file that torch.save wrote; a plain zip must be unpacked first"
        raise ZipFaultError(
            "zip-ambiguous", f"the records do not lie in one folder, but in {some}", 0, hint
        )
    return next(iter(tops))
