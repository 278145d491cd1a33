"""A persistent id names one storage, and a key has one meaning."""

from __future__ import annotations

import pytest

from shardctl.findings import Finding
from shardctl.formats.detection import read_file
from shardctl.formats.pickle.values import PickleFaultError, StorageRef
from shardctl.formats.torch.unpickle import unpickle
from shardctl.model import File
from shardctl.testing.builders import BytesReader
from tests.corruption.hostile_pickles import number, persid, text
from tests.support.legacy_files import legacy


def storage(data: bytes, *, legacy_file: bool = False) -> StorageRef:
    """The storage that the last persistent id of a pickle names."""
    found = unpickle(b"\x80\x02" + data + b".", legacy=legacy_file).root
    assert isinstance(found, StorageRef)
    return found


@pytest.mark.parametrize(
    ("kind", "nbytes", "dtype"),
    [
        ("torch\nFloatStorage", 12, "F32"),
        ("torch.cuda\nHalfStorage", 6, "F16"),
        ("torch\nComplexDoubleStorage", 48, "complex128"),
        ("torch.storage\nUntypedStorage", 3, None),
        ("torch\nQInt32Storage", 12, None),
        ("torch\nQUInt4x2Storage", 3, None),
    ],
)
def test_lengths_are_in_bytes(kind: str, nbytes: int, dtype: str | None) -> None:
    """A storage counts elements of its class, and types that have no counterpart have none."""
    found = storage(persid(numel=3, kind=f"c{kind}\n"))
    assert (found.key, found.nbytes, found.location) == ("0", nbytes, "cpu")
    assert (found.dtype.name if found.dtype else None) == dtype
    assert found.offset == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"(" + text("module") + b"NNNtQ", "a whole model, not a state dict"),
        (text("storage") + b"Q", "not that of a storage"),
        (b")Q", "not that of a storage"),
        (b"(" + text("other") + b"NNNNtQ", "not that of a storage"),
        (b"(" + text("storage") + b"NNNtQ", "not that of a storage"),
        (persid(kind=text("torch.FloatStorage").decode("latin-1")), "malformed"),
        (persid(kind="cm\nC\n"), "m.C is not a storage of numbers"),
        (persid(numel=-1), "no valid length"),
        (persid(more=b"N"), "has items that torch's zip files do not have"),
        (persid().replace(text("cpu"), b"N"), "malformed"),
        (persid().replace(text("0"), number(0)), "malformed"),
        (persid().replace(number(4), b"\x88"), "no valid length"),
    ],
)
def test_what_does_not_name_a_storage_is_refused(data: bytes, words: str) -> None:
    """Each part of the id is of its type, and nothing follows it."""
    with pytest.raises(PickleFaultError, match=words):
        storage(data)


def test_a_key_has_one_size_and_type() -> None:
    """Two ids of one key must agree; only empty storages may differ in type."""
    twice = persid() + b"0" + persid()
    assert storage(twice).nbytes == 16
    for other in (persid(numel=5), persid(kind="ctorch\nIntStorage\n")):
        with pytest.raises(PickleFaultError, match="'0' has two different sizes or types"):
            storage(persid() + b"0" + other)
    empty = persid(numel=0) + b"0" + persid(numel=0, kind="ctorch\nIntStorage\n")
    assert storage(empty).kind == "IntStorage"


def view(key: str, offset: int, size: int) -> bytes:
    """The part of a storage that a legacy id means."""
    return b"(" + text(key) + number(offset) + number(size) + b"t"


def test_a_legacy_id_means_a_part() -> None:
    """The part is counted in elements of the storage, and may reach to its end, not past it."""
    assert storage(persid(more=b"N"), legacy_file=True).nbytes == 16
    part = storage(persid(more=view("v", 1, 3)), legacy_file=True)
    assert (part.key, part.offset, part.nbytes) == ("0", 4, 12)
    with pytest.raises(PickleFaultError, match="lies outside it"):
        storage(persid(more=view("v", 1, 4)), legacy_file=True)
    for more in (b"", b"NN"):
        with pytest.raises(PickleFaultError, match="the items of torch's legacy files"):
            storage(persid(more=more), legacy_file=True)
    for wrong in (b"K\x01", view("v", -1, 1), view("v", 0, -1), b"(" + text("v") + b"K\x00t"):
        with pytest.raises(PickleFaultError, match="view of a storage is malformed"):
            storage(persid(more=wrong), legacy_file=True)


def _read(data: bytes) -> tuple[File | None, list[Finding]]:
    findings: list[Finding] = []
    return read_file(BytesReader("model.pt", data), findings.append), findings


def test_keys_of_legacy_views() -> None:
    """A view key with two meanings, or equal to a storage's, is refused: torch takes the first."""
    storages = {"s": range(4), "t": range(4)}
    for views in ((("v", 0, 2), ("v", 1, 2)), (("v", 0, 2), ("v", 0, 3)), (None, ("s", 1, 2))):
        tensors = {str(place): ("s", view, 0, (2,)) for place, view in enumerate(views)}
        data = legacy(storages=storages, tensors={**tensors, "t": ("t", None, 0, (4,))})
        file, findings = _read(data)
        assert file is None
        assert [finding.code for finding in findings] == ["pickle-invalid"]
