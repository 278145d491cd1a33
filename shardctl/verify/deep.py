"""The checks that read all the bytes: recorded CRCs and digests, and zeros.

Files, and ranges of one file, are read in parallel. What is compared with another checkpoint is
compared as it is read, so that each side is read once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby

from shardctl.checksums import combine, crc32
from shardctl.errors import ShardctlError
from shardctl.findings import Finding, as_finding
from shardctl.model import File, Storage, Tensor
from shardctl.source.recorded.digests import Digest
from shardctl.source.state_dict import flatten
from shardctl.stores.base import Store
from shardctl.streams.chunks import chunks
from shardctl.streams.pool import in_order
from shardctl.streams.progress import Tick
from shardctl.verify.against import Compared
from shardctl.verify.segments import Reading, Segment, readings
from shardctl.verify.subject import Subject
from shardctl.verify.twins import Followers, OpenFiles, Other, Twin
from shardctl.verify.zeros import hole, zero_tail

#: The recorded digests of files, by path.
Digests = Mapping[str, Sequence[Digest]]


@dataclass(frozen=True, slots=True)
class FileRead:
    """One file, read: its name, its bytes that were read, what is wrong, and what was compared."""

    name: str
    nbytes: int
    findings: list[Finding]
    compared: tuple[Compared, ...]


@dataclass(frozen=True, slots=True)
class DeepRead:
    """What of a checkpoint is read, and with what it is compared.

    `digests` are those recorded of files, `twins` the ranges that are compared with another
    checkpoint; both by the path of the file.
    """

    subject: Subject
    digests: Digests
    twins: Mapping[str, Sequence[Twin]]

    @property
    def files(self) -> dict[str, int]:
        """The bytes that are read of each file, by name."""
        names = self.subject.names
        return {
            names[file.path]: sum(
                segment.extent.length for reading in self.of(file) for segment in reading.segments
            )
            for file in self.subject.checkpoint.files
        }

    def of(self, file: File) -> Iterator[Reading]:
        """Yield how one file is read."""
        path = file.path
        return readings(file, self.twins.get(path, ()), hashed=bool(self.digests.get(path)))


@dataclass(frozen=True, slots=True)
class _Read:
    """The result: the bytes read, the CRCs of segments of records, the SHA-256, or the error."""

    reading: Reading
    nbytes: int
    crcs: tuple[tuple[Segment, int], ...]
    sha256: str | None
    compared: tuple[Compared, ...]
    error: ShardctlError | None


def check_deep(
    how: DeepRead,
    other: Other | None,
    jobs: int,
    tick_of: Callable[[str], Tick],
    meanwhile: Callable[[], None],
) -> Iterator[FileRead]:
    """Read every file of a checkpoint, once; yield what is found in each.

    `other` is the checkpoint of the twins. `tick_of` gives the tick of a file by its name;
    `meanwhile` is called now and then as this thread waits.
    """
    subject = how.subject
    names, tensors = subject.names, subject.tensors
    parts = (reading for file in subject.checkpoint.files for reading in how.of(file))

    def read(reading: Reading) -> _Read:
        return _read(subject.store, reading, other, tick_of(names[reading.file.path]))

    results = in_order(jobs, read, parts, meanwhile)
    for path, group in groupby(results, key=lambda read: read.reading.file.path):
        done = list(group)
        yield FileRead(
            names[path],
            sum(read.nbytes for read in done),
            _findings(subject.store, tensors[path], done, how.digests.get(path, ())),
            tuple(compared for read in done for compared in read.compared),
        )


def _read(store: Store, reading: Reading, other: Other | None, tick: Tick) -> _Read:
    sha = hashlib.sha256() if reading.hashed else None
    crcs: list[tuple[Segment, int]] = []
    compared: list[Compared] = []
    nbytes = 0
    error: ShardctlError | None = None
    with ExitStack() as opened:
        others = None if other is None else OpenFiles(other.store, opened)
        try:
            reader = opened.enter_context(store.open(reading.file.path))
            reader.will_stream()
            for segment in reading.segments:
                followers = (
                    None
                    if other is None or others is None
                    else Followers(segment.twins, other, others)
                )
                crc = 0
                at = segment.extent.offset
                for chunk in chunks(reader, segment.extent):
                    if segment.record is not None:
                        crc = crc32(chunk, crc)
                    if sha is not None:
                        sha.update(chunk)
                    if followers is not None:
                        followers.see(at, chunk)
                    at += len(chunk)
                    tick(len(chunk))
                crcs.append((segment, crc))
                compared.extend(() if followers is None else followers.results())
                nbytes += segment.extent.length
        except ShardctlError as caught:
            error = caught
    digest = None if sha is None or error is not None else sha.hexdigest()
    return _Read(reading, nbytes, tuple(crcs), digest, tuple(compared), error)


def _findings(
    store: Store, tensors: Sequence[Tensor], done: list[_Read], wanted: Sequence[Digest]
) -> list[Finding]:
    """Return what is wrong with one file, after all its readings."""
    errors = [read.error for read in done if read.error is not None]
    if errors:
        return [as_finding(errors[0])]
    file = done[0].reading.file
    findings = list(_bad_records(file, _record_crcs(done)))
    found = done[0].sha256
    findings.extend(
        _bad_digest(file, digest, found)
        for digest in wanted
        if found is not None and found != digest.sha256
    )
    vouched = any(digest.sha256 == found for digest in wanted) or (
        not findings and all(tensor.storage.crc32 is not None for tensor in tensors)
    )
    zeros = None if vouched else hole(store, file, tensors) or zero_tail(store, file, tensors)
    return findings if zeros is None else [*findings, zeros]


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


def _bad_digest(file: File, wanted: Digest, found: str) -> Finding:
    return Finding(
        "digest-mismatch",
        "error",
        f"{wanted.where} says {wanted.sha256}, and the file has {found}",
        "the file changed after that was recorded: fetch it again; or record the new digest, if "
        "the change was meant",
        file=file.path,
    )
