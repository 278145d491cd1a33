"""A value of a distributed checkpoint that is not a tensor, and may hold tensors all the same."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable

import pytest
import torch

from shardctl.errors import FormatError
from shardctl.findings import Finding, ignore, strict
from shardctl.formats.dcp.values import read_value
from shardctl.model import File, NonTensor
from shardctl.testing.builders import BytesReader
from tests.support.zip_files import Entry, pack


def saved(value: object) -> bytes:
    """What torch writes for one value."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def read(value: object, name: str = "step") -> File:
    """What is read of a value."""
    file = read_value(BytesReader("__0_0.distcp", saved(value)), strict, name)
    assert file is not None
    return file


def entry(value: object, name: str = "step") -> NonTensor:
    """The one entry that is read of it."""
    file = read(value, name)
    assert list(file.tree) == [name]
    found = file.tree[name]
    assert isinstance(found, NonTensor)
    assert found.name == name
    return found


@pytest.mark.parametrize("value", [3, 0.5, "text", None, [1, {"a": 2}], {"lr": 1e-4}, {}])
@pytest.mark.parametrize("name", ["step", "optim.state.0", ""])
def test_a_value_is_one_entry_of_its_name(value: object, name: str) -> None:
    """Whatever it is made of, it is a single non-tensor under the name that was asked for."""
    found = entry(value, name)
    assert (found.unread, found.storages, found.nbytes) == (False, 0, 0)


def test_a_class_of_a_program_is_named() -> None:
    """The value is never made, and what it is an instance of is known."""
    assert "random.Random" in entry(random.Random(1)).kind


@pytest.mark.parametrize(
    "value",
    [torch.ones(3), [torch.ones(3)], {"a": {"b": torch.ones(3)}}, (1, torch.ones(3))],
    ids=["alone", "in a list", "deep", "in a tuple"],
)
def test_a_value_that_holds_tensors_says_so(value: object) -> None:
    """It is an entry that is not read, so that its tensors are never dropped silently."""
    found = entry(value)
    assert (found.unread, found.storages, found.nbytes) == (True, 1, 12)


def test_a_storage_that_is_missing_is_reported() -> None:
    """What the value would need is said, though nothing of it is read."""
    archive = zipfile.ZipFile(io.BytesIO(saved([torch.ones(3), torch.ones(2)])))
    names = [name for name in archive.namelist() if not name.endswith("data/1")]
    data = pack([Entry(name, archive.read(name)) for name in names])
    findings: list[Finding] = []
    assert read_value(BytesReader("f", data), findings.append, "step") is not None
    assert [finding.message for finding in findings] == ["the storage '1' has no record"]


@pytest.mark.parametrize(
    "damaged",
    [
        lambda: saved(3)[:-10],
        lambda: b"",
        lambda: b"PK" + bytes(100),
        lambda: b"\x80\x02K\x03.",
    ],
    ids=["cut short", "empty", "zeros", "a pickle alone"],
)
def test_what_is_not_a_file_of_torch_is_reported(damaged: Callable[[], bytes]) -> None:
    """Nothing is made of it, and every fault is a finding of the data file."""
    data = damaged()
    findings: list[Finding] = []
    assert read_value(BytesReader("__0_0.distcp", data), findings.append, "step") is None
    assert findings
    assert {finding.file for finding in findings} == {"__0_0.distcp"}
    assert read_value(BytesReader("__0_0.distcp", data), ignore, "step") is None
    with pytest.raises(FormatError):
        read_value(BytesReader("__0_0.distcp", data), strict, "step")
