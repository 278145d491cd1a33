"""Every byte that has to be read is in one segment, and files are read in parts of one size."""

from __future__ import annotations

import pytest

from shardctl.layout import Copy
from shardctl.model import Extent, File, Storage, Version
from shardctl.streams.chunks import PART_BYTES
from shardctl.verify.segments import Reading, readings
from shardctl.verify.twins import Twin


def file_of(size: int, *records: tuple[int, int, int | None]) -> File:
    """A file with records at some places: offset, bytes, checksum."""
    made = tuple(
        Storage(Extent("f", offset, length), str(number), crc)
        for number, (offset, length, crc) in enumerate(records)
    )
    return File("f", "bin", Version(size, ""), {}, header_sha256="", records=made)


def twin(begin: int, length: int) -> Twin:
    """A range that is compared."""
    return Twin(Extent("f", begin, length), Copy(Extent("g", 0, length)), ())


def read(file: File, *twins: Twin, hashed: bool = False) -> list[tuple[int, int, str | None, int]]:
    """The segments of a file: offset, bytes, record and number of twins."""
    return [
        (
            segment.extent.offset,
            segment.extent.length,
            None if segment.record is None else segment.record.key,
            len(segment.twins),
        )
        for reading in readings(file, twins, hashed=hashed)
        for segment in reading.segments
    ]


def test_a_file_without_records_is_read_whole() -> None:
    """That finds a disk that cannot return the bytes."""
    assert read(file_of(100)) == [(0, 100, None, 0)]
    assert read(file_of(0)) == []
    assert len(list(readings(file_of(0), (), hashed=False))) == 1


def test_of_a_file_with_records_those_are_read() -> None:
    """Records without a checksum or without bytes are not; with a digest, everything is."""
    file = file_of(100, (50, 10, 7), (10, 5, 7), (20, 5, None), (30, 0, 7))
    assert read(file) == [(10, 5, "1", 0), (50, 10, "0", 0)]
    assert read(file, hashed=True) == [
        (0, 10, None, 0),
        (10, 5, "1", 0),
        (15, 35, None, 0),
        (50, 10, "0", 0),
        (60, 40, None, 0),
    ]


def test_a_digest_needs_the_bytes_in_order() -> None:
    """A file with one is one reading, however large; without one it is read in parts."""
    size = 2 * PART_BYTES + 5
    hashed = list(readings(file_of(size), (), hashed=True))
    assert [reading.hashed for reading in hashed] == [True]
    assert sum(segment.extent.length for segment in hashed[0].segments) == size
    parts = list(readings(file_of(size), (), hashed=False))
    assert [lengths(part) for part in parts] == [[PART_BYTES], [PART_BYTES], [5]]


def lengths(reading: Reading) -> list[int]:
    """The bytes of each segment."""
    return [segment.extent.length for segment in reading.segments]


def test_a_large_record_is_divided() -> None:
    """Each part belongs to the record, and small records share a reading."""
    file = file_of(2 * PART_BYTES, (0, PART_BYTES + 1, 7), (PART_BYTES + 1, 3, 7))
    parts = list(readings(file, (), hashed=False))
    assert [lengths(part) for part in parts] == [[PART_BYTES], [1, 3]]
    assert [segment.record for part in parts for segment in part.segments] == [
        file.records[0], file.records[0], file.records[1],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("twins", "expected"),
    [
        ([(0, 10), (10, 5)], [(0, 10, None, 1), (10, 5, None, 1), (15, 85, None, 0)]),
        ([(0, 10), (9, 5)], [(0, 14, None, 2), (14, 86, None, 0)]),
        ([(0, 10), (2, 3)], [(0, 10, None, 2), (10, 90, None, 0)]),
        ([(5, 95)], [(0, 5, None, 0), (5, 95, None, 1)]),
    ],
)
def test_ranges_that_overlap_are_read_once(
    twins: list[tuple[int, int]], expected: list[tuple[int, int, str | None, int]]
) -> None:
    """Ranges that only touch are apart."""
    assert read(file_of(100), *(twin(*each) for each in twins)) == expected


def test_ranges_within_a_record_are_read_with_it() -> None:
    """The record is read once, whole; a range that reaches out of it is read by itself."""
    file = file_of(100, (10, 20, 7))
    assert read(file, twin(12, 5), twin(10, 20)) == [(10, 20, "0", 2)]
    assert read(file, twin(25, 10)) == [(10, 20, "0", 0), (25, 10, None, 1)]


def test_what_is_compared_is_not_divided() -> None:
    """However large, it stays in one segment."""
    size = 3 * PART_BYTES
    assert read(file_of(size), twin(0, size)) == [(0, size, None, 1)]
