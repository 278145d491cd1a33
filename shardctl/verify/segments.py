"""Which ranges of a file are read, and how they are divided between threads.

Only the SHA-256 of a file needs its bytes one after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shardctl.model import Extent, File, Storage
from shardctl.streams.chunks import PART_BYTES
from shardctl.verify.twins import Twin


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes of a file: all or part of a record that has a checksum, or what is between records.

    `twins` are ranges within it that are compared with another checkpoint.
    """

    extent: Extent
    record: Storage | None = None
    twins: tuple[Twin, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """Segments of a file to read at once; `hashed`: all its bytes, and its SHA-256 is wanted."""

    file: File
    segments: tuple[Segment, ...]
    hashed: bool


@dataclass(slots=True)
class _Span:
    """A record, or twins that overlap, while segments are made."""

    begin: int
    end: int
    record: Storage | None
    twins: list[Twin] = field(default_factory=list)


def readings(file: File, twins: Sequence[Twin], *, hashed: bool) -> Iterator[Reading]:
    """Yield how a file is read: whole and in order where its SHA-256 is wanted, else in parts."""
    if hashed:
        yield Reading(file, tuple(_segments(file, twins, hashed=hashed)), hashed)
        return
    some: list[Segment] = []
    filled = 0
    for segment in _segments(file, twins, hashed=hashed):
        for part in _parts(segment):
            some.append(part)
            filled += part.extent.length
            if filled >= PART_BYTES:
                yield Reading(file, tuple(some), hashed)
                some, filled = [], 0
    # The last few, or none: an empty file is opened all the same.
    yield Reading(file, tuple(some), hashed)


def _segments(file: File, twins: Sequence[Twin], *, hashed: bool) -> Iterator[Segment]:
    """Yield what is read of a file, in order: records with checksums, twins, and what is between.

    The latter where the file is `hashed`, and where it has no records: that finds a disk that
    cannot return the bytes.
    """
    gaps = hashed or not file.records
    at = 0
    for span in _spans(file, twins):
        if gaps and span.begin > at:
            yield Segment(Extent(file.path, at, span.begin - at))
        extent = Extent(file.path, span.begin, span.end - span.begin)
        yield Segment(extent, span.record, tuple(span.twins))
        at = max(at, span.end)
    if gaps and file.version.size > at:
        yield Segment(Extent(file.path, at, file.version.size - at))


def _spans(file: File, twins: Sequence[Twin]) -> list[_Span]:
    """Return the records and the twins in order.

    Twins are in their record, overlapping ones together.
    """
    spans = [
        _Span(record.extent.offset, record.extent.end, record)
        for record in file.records
        if record.crc32 is not None and record.extent.length
    ]
    spans += [_Span(twin.extent.offset, twin.extent.end, None, [twin]) for twin in twins]
    spans.sort(key=lambda span: (span.begin, -span.end, span.record is None))
    joined: list[_Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last is None or span.record is not None or span.begin >= last.end:
            joined.append(span)
        elif last.record is None or span.end <= last.end:
            last.twins += span.twins
            last.end = max(last.end, span.end)
        else:  # records that overlap, which is an error by itself
            joined.append(span)
    return joined


def _parts(segment: Segment) -> Iterator[Segment]:
    """Yield a segment in parts of a size to read at once; one with twins stays whole."""
    extent = segment.extent
    if segment.twins:
        yield segment
        return
    for offset in range(0, extent.length, PART_BYTES):
        part = extent.part(offset, min(PART_BYTES, extent.length - offset))
        yield Segment(part, segment.record)
