"""A torch file is read with the plain values in it, and any other without."""

from __future__ import annotations

import pickle

import pytest

from shardctl.findings import Finding, strict
from shardctl.formats.pickle.values import Mapping
from shardctl.formats.torch.tree.contents import read_contents
from shardctl.model import Tensor
from shardctl.testing.builders import BytesReader, safetensors_bytes
from tests.corruption.hostile_pickles import TENSOR, text
from tests.corruption.torch_cases import archive
from tests.support.legacy_files import legacy

ZIP = archive(b"\x80\x02}(" + text("w") + TENSOR + text("step") + b"K\x07u.")
LEGACY = legacy(storages={"s": range(4)}, tensors={"w": ("s", None, 0, (4,))})


@pytest.mark.parametrize("data", [ZIP, LEGACY])
def test_both_kinds_of_torch_file_have_a_root(data: bytes) -> None:
    """The tree has the tensors, the root the values, of the same pickle."""
    found = read_contents(BytesReader("x.bin", data), strict)
    assert found is not None
    assert isinstance(found.file.tree["w"], Tensor)
    assert isinstance(found.root, Mapping)
    assert set(found.root.items) == set(found.file.tree)
    if data is ZIP:
        assert found.root.items["step"] == 7


def test_another_format_has_no_root() -> None:
    """Its tensors are read all the same."""
    data = safetensors_bytes({"w": b"abc"})
    found = read_contents(BytesReader("x.safetensors", data), strict)
    assert found is not None
    assert (found.root, list(found.file.tree)) == (None, ["w"])


@pytest.mark.parametrize("data", [b"", b"text", archive(b"N."), pickle.dumps({"a": 1}), ZIP[:-1]])
def test_what_cannot_be_read_is_reported(data: bytes) -> None:
    """Nothing comes back, and at least one error says why."""
    findings: list[Finding] = []
    assert read_contents(BytesReader("x.bin", data), findings.append) is None
    assert any(finding.severity == "error" for finding in findings)
