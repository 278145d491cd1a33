"""The second opinion of upstream's own loaders: how tensors are compared, and where there is
none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shardctl.errors import UsageError
from shardctl.findings import strict
from shardctl.formats.base import Upstream
from shardctl.formats.registry import register, unregister
from shardctl.formats.torch.format import TORCH
from shardctl.formats.torch.upstream import open_with_torch
from shardctl.model import Checkpoint, File, Version
from shardctl.source.locate import Located
from shardctl.source.opened import unseen
from shardctl.stores.local.store import LocalStore
from shardctl.verify.run import Thoroughness, verify
from shardctl.verify.subject import Subject, find_subjects
from shardctl.verify.upstream import check_load


@pytest.mark.parametrize("name", ["m.safetensors", "m.bin"])
def test_packed_elements_are_counted_alike(tmp_path: Path, name: str) -> None:
    """A tensor of four-bit floats, which torch counts in pairs, agrees with its own loader."""
    packed = torch.arange(8, dtype=torch.uint8).reshape(2, 4).view(torch.float4_e2m1fn_x2)
    save = save_file if name.endswith(".safetensors") else torch.save
    save({"w": packed}, tmp_path / name)
    found = verify(LocalStore(), str(tmp_path / name), Thoroughness(load=True))
    assert [f for f in found.findings if f.code != "metadata-format-missing"] == []
    assert found.bytes == 8


@pytest.fixture
def no_loader() -> Iterator[str]:
    """The name of a format that brings no loader."""
    register(replace(TORCH, name="toy", suffix=".toy", suffixes=(".toy",), load_upstream=None))
    yield "toy"
    unregister("toy")


def test_a_format_without_a_loader_is_a_usage_error(no_loader: str) -> None:
    """Where there is nothing to compare with, that is said instead of passing as checked."""
    file = File("m.toy", no_loader, Version(1, "mark"), {})
    located = Located(file.path, "", (file.path,), "m")
    subject = Subject(LocalStore(), located, Checkpoint(no_loader, (file,), ()))
    with pytest.raises(UsageError, match="'toy' has no upstream loader"):
        list(check_load(subject, None))


def test_names_are_compared_in_both_directions(tmp_path: Path) -> None:
    """A tensor that only one of the two readers has is a finding, and a nested one is not."""
    path = tmp_path / "m.bin"
    torch.save({"model": {"w": torch.ones(2), "v": torch.ones(1)}, "o": torch.ones(3)}, path)
    found = verify(LocalStore(), str(path), Thoroughness(load=True, key="model"))
    assert found.findings == ()

    def opened(file: File, key: str | None) -> Upstream:
        theirs = open_with_torch(file, key)
        return Upstream({"more", "w"}, lambda tensor: theirs.load(replace(tensor, name="gone")))

    register(
        replace(TORCH, name="toy", suffix=".toy", suffixes=(".toy",), load_upstream=lambda: opened)
    )
    try:
        subject = next(iter(find_subjects(LocalStore(), str(path), "model", strict, unseen)))
        toy = replace(subject.checkpoint.files[0], format="toy")
        subject = replace(subject, checkpoint=replace(subject.checkpoint, files=(toy,)))
        ((_, findings),) = check_load(subject, "model")
    finally:
        unregister("toy")
    assert [(each.code, each.tensor) for each in findings] == [
        ("against-extra", "w"),
        ("against-extra", "v"),
        ("against-missing", "more"),
    ]
