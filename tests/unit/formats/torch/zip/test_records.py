"""Records are one after another, and each is what the directory says."""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import replace

import pytest

from shardctl.findings import Finding
from shardctl.formats.detection import read_file
from shardctl.formats.hazards import DO_NOT_LOAD
from shardctl.formats.torch.zip.records import Directory, Records, read_directory, top_directory
from shardctl.formats.torch.zip.structure import ZipFaultError
from shardctl.model import Extent, File
from shardctl.testing.builders import BytesReader
from tests.support.zip_files import Entry, pack

A, B = Entry("t/a", b"aaaa"), Entry("t/b", b"bb", descriptor=False)


def read(data: bytes) -> Directory:
    """The records of a file."""
    return read_directory(BytesReader("x.bin", data))[0]


def test_records_are_found() -> None:
    """Name, extent and checksum of each are those of its data, and the order is the directory's."""
    data = pack([A, B])
    directory, raw = read_directory(BytesReader("x.bin", data))
    assert list(directory.places) == ["t/a", "t/b"]
    assert len(directory) == 2
    for entry in (A, B):
        record = directory.get(str(entry.name))
        assert record is not None
        assert data[record.extent.offset : record.extent.end] == entry.data
        assert record.extent.path == "x.bin"
    assert raw in data
    assert raw.startswith(b"PK\1\2")
    assert directory.get("t/c") is None


def test_records_below_a_directory() -> None:
    """They have their names there, and no other is found."""
    directory = Directory("x.bin")
    directory.add("t/a", 10, 5, 7)
    records = Records("t", directory)
    assert (len(records), list(records)) == (1, ["a"])
    found = records.get("a")
    assert found is not None
    assert (found.extent, found.crc32) == (Extent("x.bin", 10, 5), 7)
    assert records.get("t/a") is None
    assert (records.place("a"), records.place("b")) == (0, None)
    assert "a" in records
    assert "b" not in records


@pytest.mark.parametrize("wide", [False, True])
def test_descriptors_of_both_widths(*, wide: bool) -> None:
    """A descriptor with sizes of 32 or 64 bits is one, and its length counts."""
    form = "<IQQ" if wide else "<III"
    tail = b"PK\7\x08" + struct.pack(form, 0xAD98E545, 4, 4)
    assert list(read(pack([replace(A, tail=tail), B])).places) == ["t/a", "t/b"]
    with pytest.raises(ZipFaultError, match="descriptor after the record 't/a' contradicts"):
        read(pack([replace(A, tail=tail[:-1] + b"\1"), B]))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pack([replace(A, before=b"x"), B]), "unknown bytes before the record 't/a'"),
        (pack([A, replace(B, before=b"x")]), "unknown bytes before the record 't/b'"),
        (pack([A, B], before_directory=b"x"), "between the last record and the directory"),
        (pack([A, replace(B, central={"at": 0}, local_name=b"t/a")]), "has another name"),
        (pack([A, A]), "the same, or but for case"),
    ],
)
def test_bytes_that_belong_to_no_record_are_refused(data: bytes, words: str) -> None:
    """What lies between records, or twice in the file, is ambiguous."""
    with pytest.raises(ZipFaultError, match=words) as caught:
        read(data)
    assert caught.value.code == "zip-ambiguous"


def test_records_that_overlap_are_refused() -> None:
    """A record within the data of another one is found by their places."""
    inner = pack([B])[: 30 + 3 + 2]
    outer = Entry("t/a", inner, descriptor=False)
    data = pack([outer, replace(B, central={"at": 33})])
    # The second record itself is cut away: its directory entry leads into the first.
    begin = 33 + len(inner)
    directory = data.index(b"PK\1\2")
    end = bytearray(data[-22:])
    struct.pack_into("<I", end, 16, begin)
    with pytest.raises(ZipFaultError, match="another record overlaps the record 't/b'"):
        read(data[:begin] + data[directory:-22] + bytes(end))


@pytest.mark.parametrize(
    ("local", "code", "words"),
    [
        ({"flags": 0x800}, "zip-ambiguous", "other flags"),
        ({"method": 8}, "zip-ambiguous", "other flags"),
        ({"crc": 1}, "zip-ambiguous", "another size or checksum"),
        ({"size": 5}, "zip-ambiguous", "another size or checksum"),
        ({"packed": 5}, "zip-ambiguous", "another size or checksum"),
        ({"name": 4}, "zip-ambiguous", "another name"),
        ({"extra": 60_000}, "zip-invalid", "does not fit into the file"),
    ],
)
def test_a_local_header_that_contradicts_the_directory(
    local: dict[str, int], code: str, words: str
) -> None:
    """Sizes, checksum, flags and name are there twice, and must agree."""
    with pytest.raises(ZipFaultError, match=words) as caught:
        read(pack([replace(A, local=local), B]))
    assert (caught.value.code, caught.value.offset) == (code, 0)


@pytest.mark.parametrize("field", ["size", "packed"])
@pytest.mark.parametrize("value", [0, 4, 0xFFFFFFFF])
def test_sizes_before_a_descriptor_may_be_left_out(field: str, value: int) -> None:
    """Where a descriptor follows, a size may be 0, itself, or full."""
    assert read(pack([replace(A, local={field: value})])).get("t/a") is not None


@pytest.mark.parametrize("values", [(2, 2), (3, 2), (2,), ()])
def test_sizes_without_a_descriptor_are_exact(values: tuple[int, ...]) -> None:
    """Full sizes are in a zip64 field, and equal to those of the directory."""
    extra = struct.pack(f"<HH{len(values)}Q", 1, 8 * len(values), *values)
    data = pack([replace(B, local={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}, local_extra=extra)])
    if values == (2, 2):
        assert read(data).get("t/b") is not None
    else:
        with pytest.raises(ZipFaultError):
            read(data)


def test_a_record_without_a_header() -> None:
    """What the directory leads to must be a local header."""
    data = bytearray(pack([A]))
    data[0] ^= 1
    with pytest.raises(ZipFaultError, match="'t/a' has no local header"):
        read(bytes(data))


def test_the_top_directory_is_one() -> None:
    """All records are in it; which directories there are otherwise is said."""
    assert top_directory(read(pack([A, B]))) == "t"
    with pytest.raises(ZipFaultError, match="but in t, u") as caught:
        top_directory(read(pack([A, Entry("u/x", b"")])))
    assert "torch.save" in caught.value.hint
    assert caught.value.offset == 0
    with pytest.raises(ZipFaultError, match="the zip is empty") as caught:
        top_directory(Directory("x.bin"))
    assert caught.value.offset == 0


@pytest.mark.parametrize("name", ["t/../x", "../x", "/t/x", "t\\x", "t/..", "t/a/../b"])
def test_names_that_lead_out_are_refused(name: str) -> None:
    """No record has a name that leads elsewhere when the file is unpacked, and none is loaded."""
    with pytest.raises(ZipFaultError, match="leads out of the file's directory") as caught:
        top_directory(read(pack([A, Entry(name, b"")])))
    assert caught.value.hint == DO_NOT_LOAD


def test_dots_within_a_name_lead_nowhere() -> None:
    """Only a whole part of two dots leads up."""
    assert top_directory(read(pack([Entry("t/..a", b""), Entry("t/a..b/c", b"")]))) == "t"


def _read(data: bytes) -> tuple[File | None, list[Finding]]:
    findings: list[Finding] = []
    return read_file(BytesReader("model.pt", data), findings.append), findings


def test_torchscript_is_called_so() -> None:
    """A file of torch.jit.save is called TorchScript, though its code is compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in ("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"):
            new.writestr(name, b"x" * 100)
    _, findings = _read(buffer.getvalue())
    assert "TorchScript" in findings[0].message
