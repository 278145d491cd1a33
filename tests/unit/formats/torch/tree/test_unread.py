"""Tensors that are not read are named, and a record about a zip's layout counts only if true."""

from __future__ import annotations

import collections
import io
import zipfile
from typing import Any

import pytest
import torch

from shardctl.findings import Finding
from shardctl.formats.detection import read_file
from shardctl.formats.hazards import hint_for, unread_finding
from shardctl.model import File, NonTensor
from shardctl.source.state_dict import flatten
from shardctl.testing.builders import BytesReader
from tests.corruption.hostile_pickles import TENSOR, persid, text
from tests.corruption.torch_cases import archive
from tests.support.legacy_files import MAGIC, PROTOCOL, SYSTEM, dump, legacy
from tests.support.zip_files import Entry


def _read(data: bytes) -> tuple[File | None, list[Finding]]:
    findings: list[Finding] = []
    return read_file(BytesReader("model.pt", data), findings.append), findings


def _save(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _unread(value: object) -> dict[str, NonTensor]:
    file, findings = _read(_save(value))
    assert file is not None
    assert findings == []
    return {entry.name: entry for entry in flatten(file.tree).non_tensors if entry.unread}


def _jagged() -> torch.Tensor:
    parts = [torch.ones(2), torch.ones(3)]
    return torch.nested.nested_tensor(parts, layout=torch.jagged)


_VALUES: dict[str, Any] = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "meta": lambda: torch.empty(3, device="meta"),
    "jagged": _jagged,
    "a model": lambda: torch.nn.Linear(2, 2),
    "a ParameterDict": lambda: torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.ones(2))}),
    "an array": lambda: torch.ones(3).numpy(),
    "a Counter of tensors": lambda: collections.Counter({"a": torch.ones(2)}),
    "a set of tensors": lambda: {torch.ones(2)},
    "a storage": lambda: torch.ones(2).untyped_storage(),
    "a deque of tensors": lambda: collections.deque([torch.ones(2)]),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("name", _VALUES)
def test_what_holds_tensors_is_unread(name: str) -> None:
    """Each such value beside a tensor is an unread entry, with its class and a safe hint."""
    value = _VALUES[name]()
    (entry,) = _unread({"w": torch.ones(1), "x": value}).values()
    assert entry.name == "x"
    assert "." in entry.kind
    finding = unread_finding(entry, "model.pt")
    assert (finding.code, finding.severity, finding.tensor) == ("tensor-unread", "error", "x")
    assert "load" not in hint_for(entry) or "meta" in entry.kind


def test_what_holds_none_is_not() -> None:
    """Objects without tensors are non-tensors, whatever their class."""
    value = {"w": torch.ones(1), "d": collections.deque([1]), "c": collections.Counter("aab")}
    assert _unread(value) == {}


def test_attributes_that_are_tensors() -> None:
    """A tensor with tensors in its attributes is unread, as they would be lost; others may be."""
    marked, plain = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    marked.scale, plain.note = torch.ones(1), {"lr": [1, 2]}
    assert list(_unread({"m": marked, "p": plain})) == ["m"]
    state = collections.OrderedDict(w=torch.ones(2))
    state.extra = torch.ones(3)  # type: ignore[attr-defined] # what is tested
    assert list(_unread(state)) == ["(attributes)"]


def test_storages_of_no_entry() -> None:
    """A storage that the pickle names and no entry uses is an error."""
    _, findings = _read(archive(b"\x80\x02}" + text("a") + TENSOR + b"0" + b"Ns."))
    assert [finding.code for finding in findings] == ["tensor-unread"]
    _, findings = _read(archive(b"\x80\x02" + persid() + b"0}."))
    assert [finding.code for finding in findings] == ["tensor-unread"]


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


def test_storages_without_checksums() -> None:
    """Storages that `skip_data` left without a checksum are a warning, and are not compared."""
    buffer = io.BytesIO()
    with torch.serialization.skip_data():
        torch.save({"w": torch.ones(3)}, buffer)
    file, findings = _read(buffer.getvalue())
    assert [(finding.code, finding.severity) for finding in findings] == [
        ("zip-crc-absent", "warning")
    ]
    assert file is not None
    assert [record.key for record in file.records if record.crc32 is None] == ["0"]


def test_locations() -> None:
    """A storage of the meta device has no data; a device that torch does not know is a warning."""
    for place, code in (("cuda:0", None), ("npu:0", "pickle-invalid")):
        _, findings = _read(
            archive(b"\x80\x02}" + text("w") + TENSOR.replace(text("cpu"), text(place)) + b"s.")
        )
        assert [finding.code for finding in findings] == ([code] if code else [])
    meta = TENSOR.replace(text("cpu"), text("meta"))
    file, _ = _read(archive(b"\x80\x02}" + text("w") + meta + b"s."))
    assert file is not None
    assert isinstance(file.tree["w"], NonTensor)
    assert file.tree["w"].unread


def test_keys_of_legacy_views() -> None:
    """A view key with two meanings, or equal to a storage's, is refused: torch takes the first."""
    storages = {"s": range(4), "t": range(4)}
    for views in ((("v", 0, 2), ("v", 1, 2)), (("v", 0, 2), ("v", 0, 3)), (None, ("s", 1, 2))):
        tensors = {str(place): ("s", view, 0, (2,)) for place, view in enumerate(views)}
        data = legacy(storages=storages, tensors={**tensors, "t": ("t", None, 0, (4,))})
        file, findings = _read(data)
        assert file is None
        assert [finding.code for finding in findings] == ["pickle-invalid"]


def test_a_tar_header() -> None:
    """A legacy file whose first 512 bytes have a tar header's checksum is refused."""
    before = dump(MAGIC) + dump(PROTOCOL)
    head = bytearray(before + b"\x80\x02}" + b"X\xf0\x03\0\0" + bytes(1008) + text("x") + b"s.")
    data = bytes(head) + dump(SYSTEM) + dump({}) + dump([])
    total = sum(data[:148]) + 8 * 32 + sum(data[156:512])
    data = data[:148] + b"%06o\0 " % total + data[156:]
    assert _is_tar(data)
    file, findings = _read(data)
    assert file is None
    assert findings


def _is_tar(data: bytes) -> bool:
    import tarfile

    try:
        tarfile.TarInfo.frombuf(data[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def test_torchscript_is_called_so() -> None:
    """A file of torch.jit.save is called TorchScript, though its code is compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in ("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"):
            new.writestr(name, b"x" * 100)
    _, findings = _read(buffer.getvalue())
    assert "TorchScript" in findings[0].message
