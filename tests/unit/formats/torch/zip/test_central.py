"""The directory of a zip is where both of its ends say, and its entries say one thing."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from shardctl.formats.limits import MAX_DIRECTORY_BYTES
from shardctl.formats.torch.zip.central import Entry, Names, entries_of, find_directory
from shardctl.formats.torch.zip.structure import (
    AMBIGUOUS,
    END64_BYTES,
    END_BYTES,
    LOCATOR_BYTES,
    ZipFaultError,
)
from shardctl.model import Version
from shardctl.testing.builders import BytesReader
from tests.support.zip_files import Entry as Record
from tests.support.zip_files import pack

_BOTH = 0xFFFFFFFF


def found(data: bytes) -> tuple[int, int, int]:
    """Where the directory is."""
    return find_directory(BytesReader("a.bin", data))


def end(
    *, count: int = 0, nbytes: int = 0, begin: int = 0, comment: bytes = b"", **odd: int
) -> bytes:
    """An end record."""
    fields = {"disk": 0, "first": 0, "here": count} | odd
    head = struct.pack("<HHHHIIH", *fields.values(), count, nbytes, begin, len(comment))
    return b"PK\5\6" + head + comment


def end64(*, at: int, count: int = 0, nbytes: int = 0, begin: int = 0, **odd: int) -> bytes:
    """Both 64-bit records, of which the first is at an offset."""
    fields = {"length": 44, "made": 0, "needed": 0, "disk": 0, "first": 0, "here": count} | {
        key: value for key, value in odd.items() if key not in ("disks", "where")
    }
    record = b"PK\6\6" + struct.pack("<QHHIIQQQQ", *fields.values(), count, nbytes, begin)
    locator = struct.pack("<IQI", 0, odd.get("where", at), odd.get("disks", 1))
    return record + b"PK\6\7" + locator


def test_the_directory_of_a_plain_zip() -> None:
    """It ends where the end record begins; an empty zip has one of no bytes."""
    data = pack([Record("a/b", b"xyz")])
    begin, nbytes, count = found(data)
    assert data[begin : begin + 4] == b"PK\1\2"
    assert (begin + nbytes, count) == (len(data) - END_BYTES, 1)
    assert found(end()) == (0, 0, 0)


def test_the_directory_of_a_large_zip() -> None:
    """Numbers of 64 bits count where the short ones are full, or equal to them."""
    tail = end64(at=10, count=1, nbytes=7, begin=3)
    for short in (
        end(count=1, nbytes=7, begin=3),
        end(count=0xFFFF, nbytes=_BOTH, begin=_BOTH),
        end(count=1, nbytes=_BOTH, begin=3),
    ):
        assert found(bytes(10) + tail + short) == (3, 7, 1)


@pytest.mark.parametrize("short", [{"count": 2}, {"nbytes": 8}, {"begin": 4}])
def test_end_records_that_contradict_each_other(short: dict[str, Any]) -> None:
    """Readers differ in which of the two they believe."""
    right: dict[str, Any] = {"count": 1, "nbytes": 7, "begin": 3}
    with pytest.raises(ZipFaultError, match="contradict each other") as caught:
        found(bytes(10) + end64(at=10, **right) + end(**(right | short)))
    assert (caught.value.code, caught.value.offset) == ("zip-ambiguous", 10)


@pytest.mark.parametrize(
    ("odd", "code", "words"),
    [
        ({"where": 9}, "zip-ambiguous", "not where its locator says"),
        ({"disks": 2}, "zip-ambiguous", "not where its locator says"),
        ({"length": 45}, "zip-invalid", "damaged"),
        ({"disk": 1}, "zip-invalid", "damaged"),
        ({"first": 1}, "zip-invalid", "damaged"),
        ({"here": 2}, "zip-invalid", "damaged"),
    ],
)
def test_a_damaged_zip64_end(odd: dict[str, int], code: str, words: str) -> None:
    """Each field of the long end record is checked."""
    right: dict[str, Any] = {"count": 1, "nbytes": 7, "begin": 3}
    with pytest.raises(ZipFaultError, match=words) as caught:
        found(bytes(10) + end64(at=10, **right, **odd) + end(**right))
    assert caught.value.code == code


def test_a_locator_without_its_record() -> None:
    """A locator at the beginning of the file, or before other bytes, has no record."""
    locator = b"PK\6\7" + struct.pack("<IQI", 0, 0, 1)
    with pytest.raises(ZipFaultError, match="not where its locator says"):
        found(locator + end())
    with pytest.raises(ZipFaultError, match="damaged"):
        found(bytes(END64_BYTES) + locator + end())
    assert len(locator) == LOCATOR_BYTES


@pytest.mark.parametrize("full", [{"count": 0xFFFF}, {"nbytes": _BOTH}, {"begin": _BOTH}])
def test_full_numbers_need_the_long_record(full: dict[str, Any]) -> None:
    """A full number of 16 or 32 bits means that there is one of 64 bits."""
    with pytest.raises(ZipFaultError, match="zip64 end record is missing"):
        found(bytes(100) + end(**full))


@pytest.mark.parametrize(
    ("data", "words", "code"),
    [
        (b"", "without the zip's directory", "file-truncated"),
        (end()[:-1], "without the zip's directory", "file-truncated"),
        (bytes(99) + end()[:-1], "without the zip's directory", "file-truncated"),
        (bytes(1_000), "without the zip's directory", "file-truncated"),
        (end() + b"x", "trailing data after the end record", "zip-ambiguous"),
        (end() + bytes(0xFFFF), "trailing data after the end record", "zip-ambiguous"),
        (end() + bytes(0x10000), "without the zip's directory", "file-truncated"),
        (end(comment=bytes(22)), "trailing data after the end record", "zip-ambiguous"),
        (end(disk=1), "names other disks", "zip-ambiguous"),
        (end(first=1), "names other disks", "zip-ambiguous"),
        (end(here=1), "names other disks", "zip-ambiguous"),
        (b"x" + end(), "does not end where the end record begins", "zip-ambiguous"),
        (end(begin=1), "does not end where the end record begins", "zip-ambiguous"),
        (end(nbytes=1), "does not end where the end record begins", "zip-ambiguous"),
    ],
)
def test_ends_that_no_program_writes(data: bytes, words: str, code: str) -> None:
    """A file that is cut off is distinguished from one that programs would read differently."""
    with pytest.raises(ZipFaultError, match=words) as caught:
        found(data)
    assert caught.value.code == code


@pytest.mark.parametrize(("more", "sound"), [(0, True), (1, False)])
def test_a_directory_is_read_up_to_a_bound(more: int, *, sound: bool) -> None:
    """The largest directory is found, and a larger one is refused unread."""
    nbytes = MAX_DIRECTORY_BYTES + more
    tail = end(count=5, nbytes=nbytes)

    class Sparse(BytesReader):
        """A file of zeros with that end."""

        @property
        def version(self) -> Version:
            return Version(nbytes + len(tail), "sparse")

        def read(self, offset: int, length: int) -> bytes:
            return super().read(offset - nbytes, length) if offset >= nbytes else bytes(length)

    reader = Sparse("a.bin", tail)
    if sound:
        assert find_directory(reader) == (0, nbytes, 5)
    else:
        with pytest.raises(ZipFaultError, match="beyond any checkpoint's"):
            find_directory(reader)


def listed(*records: Record, count: int | None = None, more: bytes = b"") -> list[Entry]:
    """The entries of a zip of some records; `more` follows its directory."""
    data = pack(records)
    begin, nbytes, found_count = found(data)
    raw = data[begin : begin + nbytes] + more
    return list(entries_of(raw, begin, found_count if count is None else count))


def test_entries_are_what_the_directory_says() -> None:
    """Name, flags, checksum, size and place of each record, in order."""
    first, second = listed(Record("a/b", b"xyz"), Record("a/ż", b"", descriptor=False))
    assert (first.name, first.text, first.nbytes, first.at) == (b"a/b", "a/b", 3, 0)
    assert (first.flags, first.method) == (0x808, 0)
    assert (second.text, second.nbytes, second.flags) == ("a/ż", 0, 0x800)
    assert second.at == 30 + 3 + 3 + 16
    assert second.where == first.where + 46 + 3


@pytest.mark.parametrize(("count", "words"), [(2, "fewer entries"), (0, "more bytes than entries")])
def test_the_number_of_entries_is_exact(count: int, words: str) -> None:
    """Neither fewer nor more entries than the end record says."""
    with pytest.raises(ZipFaultError, match=words):
        listed(Record("a/b", b"xyz"), count=count)
    with pytest.raises(ZipFaultError, match="more bytes than entries"):
        listed(Record("a/b", b"xyz"), more=b"x")


def test_an_entry_that_is_cut_off() -> None:
    """An entry of one byte too few is none."""
    with pytest.raises(ZipFaultError, match="fewer entries"):
        list(entries_of(b"PK\1\2" + bytes(41), 0, 1))
    (entry,) = entries_of(b"PK\1\2" + bytes(42), 0, 1)
    assert entry.name == b""


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"flags": 0x809}, "zip-invalid", "is encrypted"),
        ({"flags": 0x80A}, "zip-invalid", "unknown flags"),
        ({"method": 8}, "zip-invalid", "is compressed"),
        ({"method": 9}, "zip-invalid", "unknown method"),
        ({"packed": 4}, "zip-ambiguous", "two different sizes"),
        ({"packed": 1_000, "size": 1_000}, "zip-invalid", "does not fit into the file"),
        ({"at": 50}, "zip-invalid", "does not fit into the file"),
        ({"comment": 1}, "zip-invalid", "damaged, or has a comment"),
        ({"disk": 1}, "zip-invalid", "damaged, or has a comment"),
        ({"name": 4}, "zip-invalid", "damaged, or has a comment"),
        ({"extra": 1}, "zip-invalid", "damaged, or has a comment"),
        ({"size": _BOTH, "packed": _BOTH}, "zip-invalid", "zip64 field that is missing"),
        ({"at": _BOTH}, "zip-invalid", "zip64 field that is missing"),
    ],
)
def test_an_entry_that_no_torch_writes(fields: dict[str, int], code: str, words: str) -> None:
    """Each field of an entry is checked, and the entry's place is given."""
    with pytest.raises(ZipFaultError, match=words) as caught:
        listed(Record("a/b", b"xyz", central=fields))
    assert caught.value.code == code
    assert caught.value.offset == 30 + 3 + 3 + 16


def test_a_record_may_end_at_the_directory() -> None:
    """The last byte before the directory can be a record's, and not one more."""
    plain = Record("a", b"xyz", central={"at": 31 + 16})
    (entry,) = listed(plain)
    assert entry.at + entry.nbytes == 30 + 1 + 3 + 16
    with pytest.raises(ZipFaultError, match="does not fit"):
        listed(Record("a", b"xyz", central={"at": 31 + 17}))


def test_sizes_of_64_bits_come_in_the_order_of_the_format() -> None:
    """First the size, then the packed size, then the offset, each only where it is full."""
    wide = struct.pack("<HHQQQ", 1, 24, 3, 3, 0)
    full = {"size": _BOTH, "packed": _BOTH, "at": _BOTH}
    (entry,) = listed(Record("a", b"xyz", central=full, central_extra=wide))
    assert (entry.nbytes, entry.at) == (3, 0)
    (entry,) = listed(
        Record("a", b"xyz", central={"at": _BOTH}, central_extra=struct.pack("<HHQ", 1, 8, 5))
    )
    assert (entry.nbytes, entry.at) == (3, 5)


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        (b"a\0b", 0x800, "differently"),
        (b"a\nb", 0x800, "differently"),
        ("a\u202eb".encode(), 0x800, "differently"),
        ("ż".encode(), 0, "differently"),
        (b"\xff", 0x800, "not UTF-8"),
    ],
)
def test_names_that_programs_read_differently(name: bytes, flags: int, words: str) -> None:
    """A name with a NUL, of another alphabet, or not UTF-8 is refused, and safe to print."""
    with pytest.raises(ZipFaultError, match=words) as caught:
        listed(Record(name, b"", central={"flags": flags}, descriptor=False))
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("one", "other"), [("a/b", "a/b"), ("a/b", "A/B"), ("A/b", "a/B"), ("straße", "STRASSE")]
)
def test_no_two_names_are_the_same_but_for_case(one: str, other: str) -> None:
    """On some filesystems, and for torch, they are one file."""
    first, second = (Entry(name.encode(), name, 0, 0, 0, 0, 0, 9) for name in (one, other))
    names = Names()
    names.add(first)
    with pytest.raises(ZipFaultError, match="the same, or but for case") as caught:
        names.add(second)
    assert (caught.value.code, caught.value.hint) == ("zip-ambiguous", AMBIGUOUS)
    Names().add(second)
