"""The small records of a torch file decide how it is read, and count only if they are true."""

from __future__ import annotations

import io

import pytest
import torch

from shardctl.findings import Finding
from shardctl.formats.detection import read_file
from shardctl.formats.pickle.values import StorageRef
from shardctl.formats.torch.zip.marks import (
    SmallRecord,
    check_marks,
    check_names,
    computed_offsets,
)
from shardctl.formats.torch.zip.records import Directory, Records
from shardctl.formats.torch.zip.structure import DAMAGED, ZipFaultError
from shardctl.model import File
from shardctl.testing.builders import BytesReader
from tests.corruption.hostile_pickles import TENSOR, persid, text
from tests.corruption.torch_cases import archive
from tests.support.zip_files import Entry


def marks(**data: bytes) -> dict[str, SmallRecord]:
    """Small records by name, with a version unless one is given."""
    names = {"data_version": ".data/version", "alignment": ".storage_alignment"}
    return {
        names.get(key, key): SmallRecord(value, 7)
        for key, value in {"version": b"3\n", **data}.items()
    }


@pytest.mark.parametrize("version", [b"1", b"10", b" 3\n", b"03"])
def test_versions_that_torch_reads(version: bytes) -> None:
    """Versions 1 to 10 are, with blanks around them."""
    check_marks(marks(version=version))
    check_marks(marks(version=b"99", data_version=version))


@pytest.mark.parametrize("version", [b"0", b"11", b"", b"-1", b"3.0", b"\xb2", b"x\x1b"])
def test_other_versions_are_refused(version: bytes) -> None:
    """They are shown, safe to print, with their place."""
    for found in (marks(version=version), marks(data_version=version)):
        with pytest.raises(ZipFaultError, match=r"file format version .* is not known") as caught:
            check_marks(found)
        assert (caught.value.code, caught.value.offset) == ("zip-invalid", 7)
        assert caught.value.message.isprintable()
        assert "update shardctl" in caught.value.hint


def test_a_file_without_a_version_is_refused() -> None:
    """Torch does not load it."""
    with pytest.raises(ZipFaultError, match="no record 'version'") as caught:
        check_marks({})
    assert caught.value.offset == 0


@pytest.mark.parametrize(
    ("order", "words", "hint"),
    [
        (b"big", "big-endian", "load it with torch and save it again on a little-endian machine"),
        (b"BIG", "not a byte order", DAMAGED),
        (b"little\n", "not a byte order", DAMAGED),
        (b"", "not a byte order", DAMAGED),
    ],
)
def test_another_byte_order_is_refused(order: bytes, words: str, hint: str) -> None:
    """Numbers of another order would be read as others."""
    check_marks(marks(byteorder=b"little"))
    with pytest.raises(ZipFaultError, match=words) as caught:
        check_marks(marks(byteorder=order))
    assert caught.value.hint == hint


def test_an_alignment_is_a_number() -> None:
    """Anything else is what torch does not load."""
    check_marks(marks(alignment=b"64"))
    for other in (b"", b"-1", b"64\n", b"x"):
        with pytest.raises(ZipFaultError, match="is not a number"):
            check_marks(marks(alignment=other))


@pytest.mark.parametrize(
    "name", ["Version", "DATA.pkl", "byteOrder", ".DATA/version", "Constants.pkl"]
)
def test_names_that_torch_takes_for_control_records(name: str) -> None:
    """A name that differs in case only is refused; a storage of any name is not."""
    directory = Directory("x.bin")
    directory.add("t/Data/0", 5, 1, 0)
    directory.add("t/version", 6, 1, 0)
    check_names(Records("t", directory))
    directory.add(f"t/{name}", 9, 1, 0)
    with pytest.raises(ZipFaultError, match=f"'{name}' differs from '{name.lower()}'") as caught:
        check_names(Records("t", directory))
    assert (caught.value.code, caught.value.offset) == ("zip-ambiguous", 9)


def computed(
    places: list[tuple[str, int, int]],
    *,
    version: bytes | None = b"1",
    alignment: bytes | None = None,
) -> bool:
    """Whether records of (key, offset, bytes) are where torch computes them to be."""
    directory = Directory("x.bin")
    for key, offset, nbytes in places:
        directory.add(f"archive/data/{key}", offset, nbytes, 0)
    small = {} if version is None else marks(**{".format_version": version})
    if alignment is not None:
        small |= marks(alignment=alignment)
    storages = {key: StorageRef(key, None, 0, "FloatStorage") for key, _, _ in places}
    reader = BytesReader("x.bin", b"")
    found = list(computed_offsets(reader, Records("archive", directory), small, storages))
    assert all(each.code == "zip-ambiguous" and each.severity == "warning" for each in found)
    return not found


def test_where_torch_computes_the_records() -> None:
    """After data and descriptor a header follows, and the data begins at the next step."""
    # 256 + 100 + 16 for the descriptor, 30 + 14 + 4 for the header: 420, and then 448.
    assert computed([("0", 256, 100), ("1", 448, 8)])
    assert not computed([("0", 256, 100), ("1", 512, 8)])
    assert not computed([("0", 256, 100), ("1", 384, 8)])
    # A record of no bytes has no descriptor: 256 + 48 is 304, and then 320.
    assert computed([("0", 256, 0), ("1", 320, 8)])
    assert computed([("0", 256, 100), ("1", 424, 8)], alignment=b"8")
    assert not computed([("0", 256, 100), ("1", 448, 8)], alignment=b"0")


def test_large_records_have_longer_headers() -> None:
    """From 4 GiB on descriptors are longer, and headers have a field for sizes or offsets."""
    full, header = 0xFFFFFFFF, 30 + 14 + 4
    for nbytes, descriptor in ((full - 1, 16), (full, 24)):
        second = 256 + nbytes + descriptor + header + 12
        assert computed([("0", 256, nbytes), ("1", second, 8)], alignment=b"1")
        large = second + 16
        assert computed([("0", 256, nbytes), ("1", large, full)], alignment=b"1")
    # A header that begins just below 4 GiB, and one that begins there.
    for begin, extra, descriptor in ((full - 1, 0, 16), (full, 12, 24)):
        second = begin + header + extra
        third = second + 8 + descriptor + header + 12
        places = [("0", 256, begin - 256 - 16), ("1", second, 8), ("2", third, 8)]
        assert computed(places, alignment=b"1")


def test_torch_begins_with_storage_0() -> None:
    """Where another storage is named first, torch computes other places."""
    assert not computed([("1", 256, 100)])
    assert computed([])


@pytest.mark.parametrize("version", [None, b"0"])
def test_without_a_promise_nothing_is_computed(version: bytes | None) -> None:
    """Torch looks for the records then, wherever they are."""
    assert computed([("0", 256, 100), ("1", 999, 8)], version=version)


def _read(data: bytes) -> tuple[File | None, list[Finding]]:
    findings: list[Finding] = []
    return read_file(BytesReader("model.pt", data), findings.append), findings


def _save(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["BYTEORDER", ".DATA/VERSION", ".Format_Version", "DATA.PKL"])
def test_control_records_that_differ_in_case(name: str) -> None:
    """Torch finds records without regard to case: such a name is ambiguous."""
    others = {"data.pkl": None} if name == "DATA.PKL" else {"byteorder": None}
    _, findings = _read(archive(x=Entry(f"archive/{name}", b"little"), **others))
    assert [finding.code for finding in findings] == ["zip-ambiguous"]


@pytest.mark.parametrize(
    ("version", "sound"), [(b"", False), (b"0", False), (b"11", False), (b"3", True)]
)
def test_the_version_that_counts(version: bytes, sound: bool) -> None:
    """`.data/version` counts where it is there, also when it is empty."""
    data = archive(x=Entry("archive/.data/version", version))
    file, _ = _read(data)
    assert (file is not None) == sound
    if not sound:
        with pytest.raises(RuntimeError):
            torch.load(io.BytesIO(data))


def test_a_layout_that_is_not_there() -> None:
    """`.format_version` is a warning on another layout than torch's, and no finding on torch's."""
    other = TENSOR.replace(persid(), persid(key="1"))
    root = b"\x80\x02}(" + text("a") + TENSOR + text("b") + other + b"u."
    more = {"y": Entry("archive/data/1", bytes(16)), "x": Entry("archive/.format_version", b"1")}
    _, findings = _read(archive(root, **more))
    assert [(finding.code, finding.severity) for finding in findings] == [
        ("zip-ambiguous", "warning")
    ]
    _, findings = _read(_save({f"w{n}": torch.ones(n) for n in range(40)}))
    assert findings == []
