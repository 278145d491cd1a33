"""What is wrong with a torch file is reported with a next step that is safe to take."""

from __future__ import annotations

import pytest

from shardctl.findings import Finding
from shardctl.formats.detection import read_file
from shardctl.formats.hazards import DO_NOT_LOAD
from shardctl.formats.pickle.values import StorageRef
from shardctl.formats.torch.findings import (
    Unloadable,
    location_findings,
    lost_findings,
    stray_findings,
)
from shardctl.model import File, NonTensor
from shardctl.testing.builders import BytesReader
from tests.corruption.hostile_pickles import TENSOR, persid, text
from tests.corruption.torch_cases import archive


def storage(location: str = "cpu", key: str = "0", nbytes: int = 4) -> StorageRef:
    """A storage that was saved from some device."""
    return StorageRef(key, None, nbytes, "FloatStorage", 0, location)


@pytest.mark.parametrize("known", ["cpu", "cuda:7", "mps", "xpu:0", "hpu", "meta"])
def test_devices_that_torch_knows_are_no_finding(known: str) -> None:
    """Torch itself loads storages of these."""
    assert list(location_findings([storage(known)], "m.bin")) == []
    assert list(location_findings([], "m.bin")) == []


@pytest.mark.parametrize("odd", ["cpu:0", "cpux", "CUDA", "cudax", "meta:0", ""])
def test_devices_that_only_look_known_are_found(odd: str) -> None:
    """A location counts as torch takes it: of the CPU there is no other than `cpu`."""
    assert [found.code for found in location_findings([storage(odd)], "m.bin")] == [
        "pickle-invalid"
    ]


def test_other_devices_are_named_once() -> None:
    """One warning names up to five devices, sorted, shortened, and safe to print."""
    places = [*(f"npu:{number}" for number in range(7)), "npu:0", "\x1b" + "x" * 200]
    (finding,) = location_findings(map(storage, places), "m.bin")
    assert (finding.code, finding.severity, finding.file) == ("pickle-invalid", "warning", "m.bin")
    assert "'npu:0', 'npu:1', 'npu:2', 'npu:3'" in finding.message
    assert "npu:4" not in finding.message
    assert "\x1b" not in finding.message
    assert "`map_location`" in finding.message


def test_a_harmless_fault_keeps_its_hint() -> None:
    """A pickle that imports nothing unsafe is reported with the hint that fits it."""
    found: list[Finding] = []
    unloadable = Unloadable(found.append, "m.bin")
    unloadable.warn(b"ctorch\nTensor\n.")
    assert found == []
    unloadable.fault("pickle-invalid", "why", "load it and save it again", 7)
    (finding,) = found
    assert (finding.code, finding.severity, finding.message) == ("pickle-invalid", "error", "why")
    assert (finding.hint, finding.file, finding.offset) == ("load it and save it again", "m.bin", 7)


@pytest.mark.parametrize(
    ("data", "start", "known"),
    [(b"cos\nsystem\n.", 0, ()), (b"\xff\xffcos\nsystem\n.", 2, ()), (b".", 0, ("os.system",))],
)
def test_no_hint_sends_a_user_to_load_a_hostile_file(
    data: bytes, start: int, known: tuple[str, ...]
) -> None:
    """The names come first, and every hint after them is not to load the file."""
    found: list[Finding] = []
    unloadable = Unloadable(found.append, "m.bin")
    unloadable.warn(data, start, known)
    unloadable.fault("pickle-invalid", "why", "load it and save it again")
    assert [finding.code for finding in found] == ["pickle-unsafe", "pickle-invalid"]
    assert "os.system" in found[0].message
    assert {finding.hint for finding in found} == {DO_NOT_LOAD}


def test_every_tensor_of_a_lost_storage_is_named() -> None:
    """One finding for each tensor, and one for a storage that no tensor of the tree has."""
    lost = {key: Finding("record-missing", "error", key, "hint", "m.bin") for key in ("0", "1")}
    found = list(lost_findings(lost, {"0": ["a", "b"], "2": ["c"]}))
    assert [(each.message, each.tensor) for each in found] == [("0", "a"), ("0", "b"), ("1", None)]


def test_storages_of_no_entry_are_summed_up() -> None:
    """One error says how many there are, of how many bytes, and names five."""
    assert list(stray_findings([], "m.bin")) == []
    refs = [storage(key=f"k{number}", nbytes=1_000) for number in range(6)]
    (finding,) = stray_findings(refs, "m.bin")
    assert (finding.code, finding.severity) == ("tensor-unread", "error")
    assert finding.message.startswith("6 storages of 6,000 bytes belong to no entry")
    assert "'k4'" in finding.message
    assert "'k5'" not in finding.message
    (finding,) = stray_findings(refs[:1], "m.bin")
    assert finding.message.startswith("1 storage of 1,000 bytes belongs to no entry")


def _read(data: bytes) -> tuple[File | None, list[Finding]]:
    findings: list[Finding] = []
    return read_file(BytesReader("model.pt", data), findings.append), findings


def test_storages_of_no_entry() -> None:
    """A storage that the pickle names and no entry uses is an error."""
    _, findings = _read(archive(b"\x80\x02}" + text("a") + TENSOR + b"0" + b"Ns."))
    assert [finding.code for finding in findings] == ["tensor-unread"]
    _, findings = _read(archive(b"\x80\x02" + persid() + b"0}."))
    assert [finding.code for finding in findings] == ["tensor-unread"]


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
