"""Files of torch.save that are recognised by one that was read."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch

from shardctl.findings import Finding
from shardctl.formats.detection import read_file
from shardctl.formats.torch.zip.alike import Alike
from shardctl.model import File
from shardctl.stores.base import Reader
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put

_PATH = "d/__0_0.distcp"


def _reader(data: bytes) -> Reader:
    store = MemoryStore()
    put(store, _PATH, data)
    return store.open(_PATH)


def _saved(value: object) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def _read(data: bytes) -> tuple[File | None, list[Finding]]:
    """What reading a file gives, without its digest, which no slice needs."""
    findings: list[Finding] = []
    reader = _reader(data)
    file = read_file(reader, findings.append)
    return (None if file is None else replace(file, header_sha256="")), findings


def _found(alike: Alike, data: bytes) -> File | None:
    file = alike.find(_reader(data))
    return None if file is None else replace(file, header_sha256="")


def _with_version(file: File | None, other: File | None) -> File | None:
    """A file with the version of another: each reader here has its own."""
    return None if file is None or other is None else replace(file, version=other.version)


def _learned(*values: object) -> Alike:
    alike = Alike()
    for value in values:
        data = _saved(value)
        file, findings = _read(data)
        assert file is not None
        assert not findings
        alike.learn(_reader(data), file)
    return alike


@pytest.mark.parametrize(
    "like",
    [
        lambda: torch.randn(3, 5),
        lambda: torch.randn(5, 3).t(),
        lambda: torch.nn.Parameter(torch.randn(3, 5)),
        lambda: torch.randint(0, 9, (3000,)),
    ],
    ids=["plain", "transposed", "parameter", "larger"],
)
def test_what_is_recognised_is_what_would_be_read(like: object) -> None:
    """Tensor, checksums and records are those of the file itself, not of the one that was read."""
    assert callable(like)
    alike = _learned(like())
    data = _saved(like())
    read, _ = _read(data)
    found = _found(alike, data)
    assert found is not None
    assert _with_version(found, read) == read


@pytest.mark.parametrize(
    "other",
    [
        torch.ones(5, 3),
        torch.ones(5, 3).t(),
        torch.ones(3, 5, dtype=torch.int32),
        torch.ones(3, 5, requires_grad=True),
        torch.ones(30)[15:].view(3, 5),
        {"a": torch.ones(3, 5)},
    ],
    ids=["shape", "strides", "dtype", "gradient", "offset", "in a dict"],
)
def test_another_kind_of_file_is_not_recognised(other: object) -> None:
    """What was read of one file is not said of a file that holds something else."""
    assert _found(_learned(torch.ones(3, 5) * 2), _saved(other)) is None


def test_a_changed_byte_is_never_overlooked() -> None:
    """Whichever byte differs, the file is read by itself, or reading it would give the same."""
    alike = _learned(torch.randn(3, 5))
    data = _saved(torch.randn(3, 5))
    recognised = 0
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        found = _found(alike, bytes(changed))
        if found is not None:
            recognised += 1
            read, findings = _read(bytes(changed))
            assert not findings
            assert _with_version(found, read) == read
    assert recognised == 3 * 5 * 4 + 40  # the values, and the id


def test_no_checksum_is_not_taken_for_one() -> None:
    """A storage whose checksum was left out is read by itself, which says so."""
    alike = _learned(torch.ones(3, 5))
    assert _found(alike, _saved(torch.zeros(3, 5))) is not None
    with torch.serialization.skip_data():
        data = _saved(torch.ones(3, 5))
    assert _found(alike, data) is None


def test_only_so_many_files_are_remembered() -> None:
    """Files that are all different take no memory each, and no time for each other."""
    kinds = [torch.ones(3, 5).to(dtype) for dtype in (torch.int32, torch.float32)]
    shapes = [torch.ones(1, 1, *(1 for _ in range(n)), 15) for n in range(12)]
    alike = _learned(*kinds, *shapes, *(torch.ones(n) for n in range(1000, 1400)))
    assert sum(map(len, alike._forms.values())) <= 256
    assert max(map(len, alike._forms.values())) <= 8


@pytest.mark.parametrize(
    "value", [torch.ones(0, 3), {"a": torch.ones(2), "b": torch.ones(2)}, {"a": 3}, 5]
)
def test_what_is_not_one_tensor_is_not_remembered(value: object) -> None:
    """Such a file is read each time."""
    data = _saved(value)
    findings: list[Finding] = []
    reader = _reader(data)
    file = read_file(reader, findings.append)
    if file is not None:
        alike = Alike()
        alike.learn(reader, file)
        assert alike.find(_reader(data)) is None
