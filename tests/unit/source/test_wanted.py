"""What is wrong beside a chosen key is named, and its state dict can be read all the same."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection
from pathlib import Path

import pytest
import torch

from shardctl.errors import FormatError
from shardctl.findings import Finding, noting
from shardctl.model import Checkpoint
from shardctl.source.locate import find_source
from shardctl.source.read import read_checkpoint
from shardctl.source.wanted import Wanted
from shardctl.stores.local.store import LocalStore

STATE = {
    "model": {"w": torch.ones(3), "b": torch.zeros(2)},
    "ema": {"w": torch.full((3,), 2.0), "again": torch.full((3,), 2.0)},
    "model.extra": torch.ones(5),
}


def damaged(path: Path, lost: Collection[str], short: Collection[str] = ()) -> str:
    """Save nested state dicts; leave out records of storages, or half of their bytes."""
    whole = io.BytesIO()
    torch.save(STATE, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for info in source.infolist():
            data, name = source.read(info), info.filename.rpartition("/")[2]
            if "/data/" not in info.filename or name not in lost:
                half = data[: len(data) // 2] if name in short else data
                target.writestr(zipfile.ZipInfo(info.filename), half)
    return str(path)


def read(path: str, key: str | None, notes: list[str]) -> Checkpoint:
    """What a writer reads."""
    store = LocalStore()
    return read_checkpoint(store, find_source(store, path), noting(notes), key)


def keys_of(path: Path) -> dict[str, str]:
    """The key of each tensor's storage, by the tensor's name."""
    store = LocalStore()
    located = find_source(store, damaged(path, ()))
    every = read_checkpoint(store, located, noting([]), nested=True).tensors
    return {tensor.name: tensor.storage.key for tensor in every}


@pytest.mark.parametrize("how", ["lost", "short"])
def test_a_storage_beside_the_key(tmp_path: Path, how: str) -> None:
    """Its tensor is named in a note and among what lies beside the key; the key can be read."""
    keys = keys_of(tmp_path / "whole.pt")
    some = {how: [keys["ema.w"]]} | ({"lost": []} if how == "short" else {})
    path = damaged(tmp_path / "model.pt", **some)
    notes: list[str] = []
    checkpoint = read(path, "model", notes)
    assert {tensor.name for tensor in checkpoint.tensors} == {"w", "b"}
    assert "ema.w" in {value.name for value in checkpoint.beside}
    assert not checkpoint.incomplete
    assert any("the tensor 'ema.w', which is not under 'model', cannot be read" in n for n in notes)


@pytest.mark.parametrize("key", ["ema", None])
def test_a_storage_that_is_asked_for(tmp_path: Path, key: str | None) -> None:
    """A damaged tensor under the key, or of a whole file, is an error that names it."""
    keys = keys_of(tmp_path / "whole.pt")
    path = damaged(tmp_path / "model.pt", [keys["ema.again"]])
    with pytest.raises(FormatError, match="has no record") as caught:
        read(path, key, [])
    assert caught.value.tensor == "ema.again"


def test_who_looks_gets_the_error() -> None:
    """Where a checkpoint is shown or verified, what lies beside the key is an error too."""
    finding = Finding("zip-invalid", "error", "the storage '3' has no record", "", "f", "ema.w")
    assert Wanted("model", nested=True).seen(finding) is finding
    assert Wanted().seen(finding) is finding
    assert Wanted("ema").seen(finding) is finding
    assert Wanted("model").seen(finding).severity == "warning"


@pytest.mark.parametrize("tensor", [None, "model", "model.w", "model.extra"])
def test_what_may_belong_to_the_key(tensor: str | None) -> None:
    """An error without a tensor, or about a name that may be below the key, stays one."""
    finding = Finding("tensor-out-of-bounds", "error", "wrong", "", "f", tensor)
    assert Wanted("model").seen(finding) is finding
