"""What is around a record's data must say what the directory says, and is read in few requests."""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from shardctl.formats.torch.zip.local import Local, Nearby
from shardctl.formats.torch.zip.structure import AMBIGUOUS, DAMAGED, LOCAL_BYTES, ZipFaultError
from shardctl.testing.builders import BytesReader
from tests.support.zip_files import Entry, pack

NAME = "a/data/0"
DATA = bytes(range(100))
BARE = Entry(NAME, DATA, descriptor=False)
DESCRIBED = Entry(NAME, DATA)
ZIP64 = 0xFFFFFFFF


def wide(*values: int) -> bytes:
    """A zip64 field with these sizes."""
    return struct.pack("<HH", 1, 8 * len(values)) + struct.pack(f"<{len(values)}Q", *values)


def extent(
    entry: Entry, data: bytes | None = None, limit: int | None = None, **directory: Any
) -> tuple[int, int]:
    """Where the data of a record begins and where it ends; `directory` replaces what that has."""
    whole = pack([entry]) if data is None else data
    begin = whole.index(b"PK\x01\x02") if limit is None else limit
    record = Local(
        NAME, 0, 0x808 if entry.descriptor else 0x800, len(entry.data), zlib.crc32(entry.data)
    )
    return record._replace(**directory).extent(near(whole), begin)


def near(data: bytes, *headers: int) -> Nearby:
    """What reads around records of these bytes."""
    return Nearby(BytesReader("f", data), array("Q", headers or (0,)))


@pytest.mark.parametrize(
    ("entry", "extra", "after"),
    [
        (BARE, 0, 0),
        (DESCRIBED, 0, 16),
        (replace(BARE, local_extra=b"FB\x05\x00ZZZZZ"), 9, 0),
        (replace(DESCRIBED, local_extra=b"FB\x00\x00"), 4, 16),
        (replace(BARE, data=b""), 0, 0),
        (replace(DESCRIBED, data=b""), 0, 16),
        (replace(BARE, local={"size": ZIP64, "packed": ZIP64}, local_extra=wide(100, 100)), 20, 0),
        (replace(BARE, local={"size": ZIP64}, local_extra=wide(100)), 12, 0),
        (replace(BARE, local={"packed": ZIP64}, local_extra=wide(100)), 12, 0),
        (replace(DESCRIBED, local={"size": ZIP64}, local_extra=wide(100)), 12, 16),
        (replace(DESCRIBED, local={"size": 100, "packed": 100}), 0, 16),
        (replace(DESCRIBED, local={"crc": zlib.crc32(DATA)}), 0, 16),
        (
            replace(
                DESCRIBED,
                tail=b"PK\x07\x08" + struct.pack("<IQQ", zlib.crc32(DATA), 100, 100),
            ),
            0,
            24,
        ),
    ],
)
def test_forms_that_are_read(entry: Entry, extra: int, after: int) -> None:
    """The data begins after the extra fields; the record ends after its descriptor, if any."""
    begin = LOCAL_BYTES + len(NAME) + extra
    end = begin + len(entry.data) + after
    assert extent(entry) == (begin, end)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (replace(BARE, local_name=b"a/data/1"), "another name"),
        (replace(BARE, local_name=b"a/data/00"), "another name"),
        (replace(BARE, local_name=b"a/data/"), "another name"),
        (replace(BARE, local={"flags": 0}), "other flags"),
        (replace(BARE, local={"flags": 0x801}), "other flags"),
        (replace(BARE, local={"method": 8}), "other flags"),
        (replace(BARE, local={"crc": 1}), "another size or checksum"),
        (replace(BARE, local={"crc": 0}), "another size or checksum"),
        (replace(BARE, local={"size": 99}), "another size or checksum"),
        (replace(BARE, local={"packed": 101}), "another size or checksum"),
        (replace(BARE, local={"size": 0, "packed": 0}), "another size or checksum"),
        (
            replace(BARE, local={"size": ZIP64, "packed": ZIP64}, local_extra=wide(100, 99)),
            "another size or checksum",
        ),
        (
            replace(BARE, local={"size": ZIP64, "packed": ZIP64}, local_extra=wide(99, 100)),
            "another size or checksum",
        ),
        (replace(DESCRIBED, local={"crc": 1}), "another size or checksum"),
        (replace(DESCRIBED, local={"size": 99}), "another size or checksum"),
        (replace(DESCRIBED, local={"packed": 99}), "another size or checksum"),
        (replace(DESCRIBED, tail=b""), "the descriptor after the record 'a/data/0' contradicts"),
        (replace(DESCRIBED, tail=b"PK\x07\x08" + bytes(12)), "the descriptor after"),
        (
            replace(
                DESCRIBED, tail=b"PK\x07\x09" + struct.pack("<III", zlib.crc32(DATA), 100, 100)
            ),
            "the descriptor after",
        ),
        (
            replace(DESCRIBED, tail=b"PK\x07\x08" + struct.pack("<III", zlib.crc32(DATA), 100, 99)),
            "the descriptor after",
        ),
        (
            replace(DESCRIBED, tail=b"PK\x07\x08" + struct.pack("<III", zlib.crc32(DATA), 99, 100)),
            "the descriptor after",
        ),
    ],
)
def test_what_contradicts_the_directory_is_ambiguous(entry: Entry, words: str) -> None:
    """Programs that read one or the other would see other data."""
    with pytest.raises(ZipFaultError, match=words) as caught:
        extent(entry)
    assert (caught.value.code, caught.value.hint) == ("zip-ambiguous", AMBIGUOUS)


def test_what_contradicts_is_said_with_its_place() -> None:
    """A header is wrong where it begins, a descriptor where that begins."""
    with pytest.raises(ZipFaultError) as caught:
        extent(replace(BARE, local={"crc": 1}))
    assert caught.value.offset == 0
    with pytest.raises(ZipFaultError) as caught:
        extent(replace(DESCRIBED, tail=bytes(16)))
    assert caught.value.offset == LOCAL_BYTES + len(NAME) + len(DATA)


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (b"PK\x03\x05" + bytes(200), 204),
        (bytes(200), 200),
        (pack([BARE]), LOCAL_BYTES - 1),
        (pack([BARE]), 0),
    ],
)
def test_what_has_no_header_is_invalid(data: bytes, limit: int) -> None:
    """Neither other bytes nor a part of a header before the directory are one."""
    with pytest.raises(ZipFaultError, match="has no local header") as caught:
        extent(BARE, data, limit)
    assert (caught.value.code, caught.value.hint) == ("zip-invalid", DAMAGED)


def test_a_header_ends_before_the_directory() -> None:
    """One that begins before it, further on in the file, is not read over its end."""
    data = pack([DESCRIBED, BARE])
    at = data.index(b"PK\x03\x04", 1)
    record = Local(NAME, at, 0x800, len(DATA), zlib.crc32(DATA))
    begin = at + LOCAL_BYTES + len(NAME)
    assert record.extent(near(data), data.index(b"PK\x01\x02")) == (begin, begin + len(DATA))
    with pytest.raises(ZipFaultError, match="has no local header") as caught:
        record.extent(near(data), at + LOCAL_BYTES - 1)
    assert caught.value.offset == at


def test_data_ends_before_the_directory() -> None:
    """A record may end where the directory begins, and not one byte later."""
    data = pack([BARE])
    end = data.index(b"PK\x01\x02")
    assert extent(BARE, data, end)[1] == end
    with pytest.raises(ZipFaultError, match="does not fit into the file"):
        extent(BARE, data, end - 1)


def test_a_descriptor_ends_before_the_directory() -> None:
    """Bytes of the directory are not a part of it."""
    data = pack([DESCRIBED])
    end = data.index(b"PK\x01\x02")
    assert extent(DESCRIBED, data, end)[1] == end
    with pytest.raises(ZipFaultError, match="contradicts the directory"):
        extent(DESCRIBED, data, end - 1)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (b"", "zip64 field that is missing"),
        (wide(100)[:-1], "longer than its record's header"),
        (b"\x01", "cut short"),
    ],
)
def test_a_size_in_a_field_that_is_missing_is_invalid(extra: bytes, words: str) -> None:
    """So is a field that is cut short."""
    entry = replace(BARE, local={"size": ZIP64}, local_extra=extra)
    with pytest.raises(ZipFaultError, match=words) as caught:
        extent(entry)
    assert caught.value.code == "zip-invalid"


def test_names_are_shown_in_one_line() -> None:
    """Control characters in a record's name are escaped in the message."""
    entry = replace(BARE, name="a\n", local={"crc": 1})
    with pytest.raises(ZipFaultError, match=r"the record 'a\\n' has") as caught:
        extent(entry, name="a\n")
    assert "\n" not in caught.value.message


# reading around many records


def many(sizes: Sequence[int]) -> tuple[BytesReader, array[int], Nearby]:
    """Records of those sizes in a file, their headers, and what reads around them."""
    data = pack([Entry(f"{number:04d}", bytes(size)) for number, size in enumerate(sizes)])
    headers = array("Q")
    at = 0
    for size in sizes:
        headers.append(at)
        at += LOCAL_BYTES + 4 + size + 16
    reader = BytesReader("f", data)
    return reader, headers, Nearby(reader, headers)


def around(sizes: Sequence[int]) -> BytesReader:
    """Read around all records in their order; the reader that was asked."""
    reader, headers, nearby = many(sizes)
    data = reader.read(0, reader.version.size)
    reader.ranges.clear()
    limit = data.index(b"PK\x01\x02")
    for number, (size, at) in enumerate(zip(sizes, headers, strict=True)):
        nearby.approach(number)
        record = Local(f"{number:04d}", at, 0x808, size, zlib.crc32(bytes(size)))
        begin = at + LOCAL_BYTES + 4
        assert record.extent(nearby, limit) == (begin, begin + size + 16)
    return reader


def test_short_records_are_read_together() -> None:
    """Thousands of them take a few reads, none of which is large, and almost no byte twice."""
    reader = around([100] * 4000)
    assert len(reader.ranges) < 12
    assert max(length for _, length in reader.ranges) <= 256 * 1024
    assert sum(length for _, length in reader.ranges) <= reader.version.size


def test_long_records_are_not_read() -> None:
    """Of them only what is around the data is."""
    reader = around([100_000] * 5)
    assert sum(length for _, length in reader.ranges) < 5 * 200
    begin = LOCAL_BYTES + 4
    assert all(
        at + length <= begin or at >= begin + 100_000
        for at, length in reader.ranges
        if at < 100_000
    )


@pytest.mark.parametrize("sizes", [[0], [10, 100_000], [100_000, 10], [10, 100_000, 10, 10]])
def test_any_mixture_is_read(sizes: list[int]) -> None:
    """One record, an empty one, and short ones between long ones are each found."""
    assert sum(length for _, length in around(sizes).ranges) < 1000


def test_records_may_be_asked_for_in_another_order() -> None:
    """What was not approached is read as it is asked for."""
    reader, headers, nearby = many([10] * 20)
    data = reader.read(0, reader.version.size)
    nearby.approach(5)
    for at in (headers[5], headers[0], headers[19], headers[6] - 1):
        assert nearby.read(at, 40) == data[at : at + 40]


class Announced(BytesReader):
    """A reader that fetches small ranges at once."""

    announced: Sequence[int] = ()

    def will_read(self, offsets: Sequence[int]) -> None:
        """Note them."""
        self.announced = list(offsets)


def test_a_reader_that_fetches_ranges_at_once_gets_all_of_them() -> None:
    """Then nothing else is read ahead."""
    headers = array("Q", (0, 50, 100))
    reader = Announced("f", bytes(200))
    nearby = Nearby(reader, headers)
    assert reader.announced == [0, 50, 100]
    nearby.approach(0)
    assert reader.ranges == []
