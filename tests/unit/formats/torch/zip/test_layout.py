"""Records are laid out as torch does it, byte for byte, and exactly as measured."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest

from shardctl.formats.torch.zip.layout import Record, append, lay_out, measure
from shardctl.layout import Copy, Crc, LayoutBuilder, Literal
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.testing.builders import materialise

SOURCE = bytes(range(256)) * 1024


def copied(name: bytes, offset: int, nbytes: int, *, known: bool = True) -> Record:
    """A record of bytes of the source."""
    data = SOURCE[offset : offset + nbytes]
    crc = zlib.crc32(data) if known else None
    return Record(name, (Copy(Extent("s", offset, nbytes)),), crc)


def known(name: bytes, data: bytes) -> Record:
    """A record of known bytes."""
    return Record(name, data, zlib.crc32(data))


RECORDS = [
    known(b"t/data.pkl", b"pickle"),
    copied(b"t/data/0", 100, 70_000),
    copied(b"t/data/1", 7, 5, known=False),
    known(b"t/data/2", b""),
]


def written(records: list[Record], block: int | None = None) -> bytes:
    """The bytes of a zip of records, which is as large as it was measured."""
    data = materialise(lay_out(records, block), {"s": SOURCE})
    assert len(data) == measure(records, block)
    return data


@pytest.mark.parametrize("block", [None, 4096])
def test_other_programs_read_it(block: int | None) -> None:
    """Python's zipfile finds every record with its data and its checksum, known before or not."""
    data = written(RECORDS, block)
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        assert opened.read("t/data/0") == SOURCE[100:70_100]
        assert opened.read("t/data/1") == SOURCE[7:12]
        assert opened.namelist() == [record.name.decode() for record in RECORDS]
    assert written([]) == written([])


def begins(records: list[Record], block: int | None = None, first: int = 0) -> list[int]:
    """Where in the file the data of each record begins, in a zip after `first` bytes."""
    builder = LayoutBuilder()
    builder.literal(bytes(first))
    append(builder, records, block)
    data = materialise(builder.build(), {"s": SOURCE})
    assert len(data) == first + measure(records, block, first)
    with zipfile.ZipFile(io.BytesIO(data[first:])) as opened:
        found = []
        for info in opened.infolist():
            name, extra = struct.unpack_from("<HH", data, first + info.header_offset + 26)
            found.append(first + info.header_offset + 30 + name + extra)
    return found


def test_data_begins_at_multiples_of_64() -> None:
    """In the compact layout every record does, counted from the beginning of the zip."""
    assert [begin % 64 for begin in begins(RECORDS)] == [0, 0, 0, 0]
    assert [(begin - 1_000) % 64 for begin in begins(RECORDS, None, 1_000)] == [0, 0, 0, 0]


@pytest.mark.parametrize("first", [0, 1_000])
@pytest.mark.parametrize(("nbytes", "shared"), [(65_536, True), (65_535, False)])
def test_large_records_keep_their_place_in_a_block(
    nbytes: int, first: int, *, shared: bool
) -> None:
    """From 64 KiB on the data lies in its block as in the source, wherever the zip begins."""
    (begin,) = begins([copied(b"t/data/0", 300, nbytes)], 4096, first)
    if shared:
        assert begin % 4096 == 300
    else:
        assert (begin - first) % 64 == 0


def test_a_record_of_several_pieces_shares_nothing() -> None:
    """Only one run of source bytes can share blocks; its extent is known then."""
    one = copied(b"t/data/0", 300, 70_000)
    both = Record(b"t/data/0", (Copy(Extent("s", 300, 40_000)), Copy(Extent("s", 0, 40_000))), None)
    assert one.extent == Extent("s", 300, 70_000)
    assert (both.extent, both.nbytes) == (None, 80_000)
    assert known(b"t/x", b"abc").extent is None
    (begin,) = begins([both], 4096)
    assert begin % 64 == 0
    assert begin % 4096 != 300


def test_empty_records_have_no_descriptor() -> None:
    """Flags and descriptor are those of torch: both are there only where there are bytes."""
    data = written([known(b"t/a", b"")])
    assert struct.unpack_from("<H", data, 6) == (0x800,)
    assert b"PK\x07\x08" not in data
    data = written([known(b"t/a", b"x")])
    assert struct.unpack_from("<H", data, 6) == (0x808,)
    assert b"PK\x07\x08" + struct.pack("<III", zlib.crc32(b"x"), 1, 1) in data


def test_an_unknown_checksum_is_computed_and_its_tensor_checked() -> None:
    """The CRC is that of the pieces that are written; where the whole record of the source has a
    checksum, that is checked too.
    """
    storage = Storage(Extent("s", 0, 16), "0", 0x1234)
    tensor = Tensor("w", DTYPES["U8"], (8,), storage)
    record = Record(b"t/data/0", (Copy(Extent("s", 0, 8)),), None, tensor)
    pieces = lay_out([record]).pieces
    assert sum(isinstance(piece, Crc) for piece in pieces) == 2
    checks = [piece for piece in pieces if getattr(piece, "tensor", None) == "w"]
    assert [(check.extent, check.crc32) for check in checks] == [(Extent("s", 0, 16), 0x1234)]  # type: ignore[union-attr]


def test_both_end_records_say_the_same() -> None:
    """Number, length and place of the directory are in both ends, as torch writes them."""
    data = written(RECORDS)
    count, nbytes, begin = struct.unpack_from("<QQQ", data, len(data) - 22 - 20 - 56 + 32)
    short = struct.unpack("<4xHHHHIIH", data[-22:])
    assert short == (0, 0, count, count, nbytes, begin, 0)
    assert count == len(RECORDS)
    assert data[begin : begin + 4] == b"PK\1\2"
    assert begin + nbytes == len(data) - 22 - 20 - 56
    (where,) = struct.unpack_from("<Q", data, len(data) - 22 - 12)
    assert where == begin + nbytes


def test_descriptors_are_wide_from_4_gib_on() -> None:
    """Sizes have 64 bits after a record that is as large, or that begins as late."""
    large = 0xFFFFFFFF
    for nbytes, wide in ((large, True), (large - 200, False)):
        first = Record(b"t/data/0", (Copy(Extent("s", 0, nbytes)),), 1)
        second = Record(b"t/data/1", (Copy(Extent("s", 0, 3)),), 1)
        literals = [
            piece.data for piece in lay_out([first, second]).pieces if isinstance(piece, Literal)
        ]
        form = "<4sIQQ" if wide else "<4sIII"
        for literal, length in zip(literals[1:], (nbytes, 3), strict=False):
            assert literal.startswith(struct.pack(form, b"PK\7\x08", 1, length, length))
    small = Record(b"t/data/1", (Copy(Extent("s", 0, 3)),), 1)
    late = Record(b"t/data/0", (Copy(Extent("s", 0, large - 80)),), 1)
    literals = [piece.data for piece in lay_out([late, small]).pieces if isinstance(piece, Literal)]
    assert literals[2].startswith(struct.pack("<4sIQQ", b"PK\7\x08", 1, 3, 3))
    place = struct.pack("<HHQ", 1, 8, large)
    assert [place in literal for literal in literals[:3]] == [False, True, False]
    assert any(place in literal for literal in literals[3:])


def test_every_byte_of_a_small_zip() -> None:
    """One record: header, padding, data, descriptor, directory and both ends, as torch has them."""
    crc = zlib.crc32(b"x")
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 0, 0x808, 0, 0, 0, 0, 0, 0, 3, 31)
    padding = b"FB" + struct.pack("<H", 27) + b"Z" * 27
    descriptor = struct.pack("<4sIII", b"PK\7\x08", crc, 1, 1)
    central = struct.pack(
        "<4sHHHHHHIIIHHHHHII", b"PK\1\2", 0, 0, 0x808, 0, 0, 0, crc, 1, 1, 3, 0, 0, 0, 0, 0, 0
    )
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 0x031E, 45, 0, 0, 1, 1, 49, 81)
    ends = struct.pack("<4sIQI", b"PK\6\7", 0, 130, 1)
    ends += struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, 49, 81, 0)
    expected = local + b"t/a" + padding + b"x" + descriptor + central + b"t/a" + end64 + ends
    assert written([known(b"t/a", b"x")]) == expected
