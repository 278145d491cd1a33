"""Tensors that are not read are named, and a record about a zip's layout counts only if true."""

from __future__ import annotations

import collections
import io
from typing import Any

import pytest
import torch

from shardctl.findings import Finding
from shardctl.formats.detection import read_file
from shardctl.formats.hazards import hint_for, unread_finding
from shardctl.model import File, NonTensor
from shardctl.source.state_dict import flatten
from shardctl.testing.builders import BytesReader


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
