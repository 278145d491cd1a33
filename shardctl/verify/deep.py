"""The checks that read all the bytes: recorded CRCs, and `SHA256SUMS`.

Files, and ranges of one file, are read in parallel; only the SHA-256 of a file needs its bytes one
after another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from shardctl.checksums import CHECKSUMS, combine, crc32
from shardctl.errors import FormatError, ShardctlError
from shardctl.findings import Finding, as_finding
from shardctl.model import Extent, File, Storage
from shardctl.source.state_dict import flatten
from shardctl.stores.base import Store
from shardctl.streams.chunks import PART_BYTES, chunks
from shardctl.streams.pool import in_order
from shardctl.streams.progress import Tick
from shardctl.verify.subject import Subject


@dataclass(frozen=True, slots=True)
class _Segment:
    """Bytes of a file: all or part of a record that has a checksum, or what is between records."""

    extent: Extent
    record: Storage | None


@dataclass(frozen=True, slots=True)
class _Reading:
    """Segments of a file to read at once; `hashed`: all its bytes, and its SHA-256 is wanted."""

    file: File
    segments: tuple[_Segment, ...]
    hashed: bool


@dataclass(frozen=True, slots=True)
class _Read:
    """The result: the bytes read, the CRCs of segments of records, the SHA-256, or the error."""

    reading: _Reading
    nbytes: int
    crcs: tuple[tuple[_Segment, int], ...]
    sha256: str | None
    error: ShardctlError | None


def check_deep(
    subject: Subject, jobs: int, tick_of: Callable[[str], Tick], meanwhile: Callable[[], None]
) -> Iterator[tuple[str, int, list[Finding]]]:
    """Read every file of the checkpoint; yield for each its name, the bytes read and the findings.

    `tick_of` gives the tick of a file by its name; `meanwhile` is called now and then as this
    thread waits.
    """
    store, names = subject.store, subject.names
    sums = _digests(subject)
    readings = (
        reading
        for file in subject.checkpoint.files
        for reading in _readings(file, hashed=names[file.path] in sums)
    )

    def read(reading: _Reading) -> _Read:
        return _read(store, reading, tick_of(names[reading.file.path]))

    results = in_order(jobs, read, readings, meanwhile)
    for path, group in groupby(results, key=lambda read: read.reading.file.path):
        done = list(group)
        yield names[path], sum(read.nbytes for read in done), _findings(done, sums.get(names[path]))


def deep_bytes(subject: Subject) -> dict[str, int]:
    """Return the bytes that `check_deep` reads of each file, by name."""
    sums, names = _digests(subject), subject.names
    return {
        names[file.path]: sum(
            segment.extent.length for segment in _segments(file, gaps=names[file.path] in sums)
        )
        for file in subject.checkpoint.files
    }


def _digests(subject: Subject) -> Mapping[str, str]:
    """The recorded digests; none where `SHA256SUMS` cannot be read, which is another check's finding."""
    try:
        return subject.digests or {}
    except FormatError:
        return {}


def _readings(file: File, *, hashed: bool) -> Iterator[_Reading]:
    """Yield how a file is read: whole and in order where its SHA-256 is wanted, else in parts."""
    segments = _segments(file, gaps=hashed)
    if hashed:
        yield _Reading(file, tuple(segments), hashed)
        return
    some: list[_Segment] = []
    filled = 0
    for segment in segments:
        for offset in range(0, segment.extent.length, PART_BYTES):
            extent = segment.extent.part(offset, min(PART_BYTES, segment.extent.length - offset))
            some.append(_Segment(extent, segment.record))
            filled += extent.length
            if filled >= PART_BYTES:
                yield _Reading(file, tuple(some), hashed)
                some, filled = [], 0
    # The last few, or none: an empty file is opened all the same.
    yield _Reading(file, tuple(some), hashed)


def _segments(file: File, *, gaps: bool) -> Iterator[_Segment]:
    """Yield the records with checksums in the order of the file, with `gaps` also what is between.

    All bytes of a file without records are one gap, which is always read: that finds a disk that
    cannot return them.
    """
    at = 0
    records = sorted(
        (r for r in file.records if r.crc32 is not None), key=lambda record: record.extent.offset
    )
    for record in records:
        if gaps and record.extent.offset > at:
            yield _Segment(Extent(file.path, at, record.extent.offset - at), None)
        yield _Segment(record.extent, record)
        at = record.extent.end
    if (gaps or not file.records) and file.version.size > at:
        yield _Segment(Extent(file.path, at, file.version.size - at), None)


def _read(store: Store, reading: _Reading, tick: Tick) -> _Read:
    sha = hashlib.sha256() if reading.hashed else None
    crcs: list[tuple[_Segment, int]] = []
    nbytes = 0
    try:
        with store.open(reading.file.path) as reader:
            reader.will_stream()
            for segment in reading.segments:
                crc = 0
                for chunk in chunks(reader, segment.extent):
                    if segment.record is not None:
                        crc = crc32(chunk, crc)
                    if sha is not None:
                        sha.update(chunk)
                    tick(len(chunk))
                crcs.append((segment, crc))
                nbytes += segment.extent.length
    except ShardctlError as error:
        return _Read(reading, nbytes, tuple(crcs), None, error)
    return _Read(reading, nbytes, tuple(crcs), None if sha is None else sha.hexdigest(), None)


def _findings(done: list[_Read], wanted: str | None) -> list[Finding]:
    """Return what is wrong with one file, after all its readings."""
    errors = [read.error for read in done if read.error is not None]
    if errors:
        return [as_finding(errors[0])]
    file = done[0].reading.file
    findings = list(_bad_records(file, _record_crcs(done)))
    found = done[0].sha256
    if wanted is not None and found is not None and found != wanted:
        findings.append(_bad_digest(file, wanted, found))
    return findings


def _record_crcs(done: list[_Read]) -> Mapping[Storage, int]:
    crcs: dict[Storage, int] = {}
    for read in done:
        for segment, crc in read.crcs:
            if segment.record is not None:
                crcs[segment.record] = combine(
                    crcs.get(segment.record, 0), crc, segment.extent.length
                )
    return crcs


def _bad_records(file: File, crcs: Mapping[Storage, int]) -> Iterator[Finding]:
    # Empty records are never read, and an empty record's checksum is 0.
    wrong = [record for record in file.records if record.crc32 not in (None, crcs.get(record, 0))]
    names = (
        {tensor.storage.key: tensor.name for tensor in reversed(flatten(file.tree).tensors)}
        if wrong
        else {}
    )
    for record in wrong:
        yield Finding(
            "zip-crc-mismatch",
            "error",
            f"record '{record.key}' does not match its CRC-32 (recorded {record.crc32 or 0:08x}, "
            f"found {crcs.get(record, 0):08x}): its bytes changed after it was saved",
            "the file is damaged: fetch or save it again",
            file=file.path,
            tensor=names.get(record.key),
            offset=record.extent.offset,
        )


def _bad_digest(file: File, wanted: str, found: str) -> Finding:
    return Finding(
        "digest-mismatch",
        "error",
        f"{CHECKSUMS} says {wanted}, and the file has {found}",
        "the file changed after the checksums were written: fetch it again, or write them again",
        file=file.path,
    )
