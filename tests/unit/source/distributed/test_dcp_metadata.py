"""The metadata of a distributed checkpoint: nothing of it is believed, and nothing is lost."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

from shardctl.findings import Finding
from shardctl.model import File
from shardctl.source.distributed.dcp import read_dcp
from shardctl.source.opened import unseen
from shardctl.stores.local.store import LocalStore


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A distributed checkpoint of two tensors."""
    with pytest.warns(UserWarning, match=r"torch\.distributed"):
        dcp.save({"w": torch.ones(3, 4), "b": torch.ones(5)}, checkpoint_id=tmp_path, no_dist=True)
    return tmp_path


def _read(directory: Path) -> tuple[list[File], list[Finding]]:
    findings: list[Finding] = []
    return read_dcp(LocalStore(), str(directory), findings.append, unseen), findings


def _change(directory: Path, change: Callable[[Any], object]) -> None:
    path = directory / ".metadata"
    metadata = pickle.loads(path.read_bytes())
    change(metadata)
    path.write_bytes(pickle.dumps(metadata))


def _with_call(data: bytes, module: bytes, name: bytes) -> bytes:
    """A pickle that calls a name of a module before it does what it did."""
    texts = b"".join(b"\x8c" + bytes([len(each)]) + each for each in (module, name))
    return b"\x80\x04" + texts + b"\x93\x8c\x04text\x85R0" + data[2:]


def test_what_torch_itself_writes_is_not_unsafe(saved: Path) -> None:
    """The names that every checkpoint's metadata imports give no reason for a warning."""
    (whole, *_), findings = _read(saved)
    assert not findings
    assert not whole.unsafe_globals


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (b"os", b"system"),
        (b"torch.hub", b"load"),
        (b"torch.serialization", b"os.system"),
        (b"torch.distributed.checkpoint.filesystem", b"os.system"),
        (b"torch.distributed.checkpoint.metadata", b"os.system"),
        (b"pathlib", b"PosixPath.unlink"),
        (b"pathlib", b"os.system"),
    ],
)
@pytest.mark.parametrize("readable", [True, False], ids=["readable", "cut short"])
def test_a_name_is_compared_whole(saved: Path, module: bytes, name: bytes, readable: bool) -> None:
    """A name is not harmless because it begins as one of torch's does, and it is said as well where
    the metadata cannot be read.
    """
    path = saved / ".metadata"
    data = _with_call(path.read_bytes(), module, name)
    path.write_bytes(data if readable else data[:-30])
    files, findings = _read(saved)
    full = f"{module.decode()}.{name.decode()}"
    if readable:
        assert files[0].unsafe_globals == (full,)
    else:
        assert not files
        assert [each.code for each in findings] == ["pickle-unsafe", "pickle-invalid"]
        assert full in findings[0].message


def test_two_entries_with_one_place_are_named(saved: Path) -> None:
    """An entry never takes the place of another in the state dict."""

    def change(metadata: Any) -> None:
        metadata.planner_data = {"w": ("b",), "b": ("b",)}

    _change(saved, change)
    _, findings = _read(saved)
    assert [(each.code, each.tensor) for each in findings] == [("metadata-invalid", "b")]


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: metadata.state_dict_metadata.pop("w"),
        lambda metadata: metadata.state_dict_metadata["w"].chunks.clear(),
    ],
    ids=["no entry", "no slices"],
)
def test_what_was_saved_and_is_not_listed_is_named(
    saved: Path, change: Callable[[Any], object]
) -> None:
    """Metadata that says where something is, and not what it is, is not that of a checkpoint."""
    _change(saved, change)
    files, findings = _read(saved)
    assert not files
    assert [(each.code, each.tensor) for each in findings] == [("metadata-invalid", "w")]
