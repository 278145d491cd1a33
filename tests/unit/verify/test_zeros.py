"""Holes and runs of zeros of interrupted downloads, which every loader reads as weights."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardctl.findings import Finding
from shardctl.model import Extent
from shardctl.stores.local import syscalls
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from shardctl.verify.run import Thoroughness, verify
from tests.support.memory_checkpoints import put, weights

BLOCK = 64 * 1024
#: Three tensors of two blocks each.
TENSORS = {name: name.encode() * (2 * BLOCK) for name in "abc"}


class HolesStore(MemoryStore):
    """A store that says of every file that these ranges of it are holes."""

    ranges: tuple[tuple[int, int], ...] = ()

    def holes(self, path: str) -> Iterator[Extent]:
        """Yield the ranges, from and to."""
        for begin, end in self.ranges:
            yield Extent(path, begin, end - begin)


def found(store: LocalStore | MemoryStore, source: str, *, deep: bool) -> list[Finding]:
    """The findings about zeros."""
    findings = verify(store, source, Thoroughness(deep=deep)).findings
    return [finding for finding in findings if finding.code == "tensor-zero-run"]


def ends(tail: dict[str, bytes], container: str = "safetensors") -> MemoryStore:
    """A store with a file whose last tensors are these."""
    store = MemoryStore()
    put(store, "m/pytorch_model.bin", weights({"a": b"a" * BLOCK, **tail}, container))
    return store


@pytest.mark.parametrize("deep", [False, True])
def test_a_hole_in_a_sparse_file(tmp_path: Path, *, deep: bool) -> None:
    """A file that was cut and extended again is a warning that names the hole's first tensor."""
    path = tmp_path / "model.safetensors"
    data = weights(TENSORS)
    path.write_bytes(data)
    assert found(LocalStore(), str(path), deep=deep) == []
    os.truncate(path, len(data) - 3 * BLOCK)
    os.truncate(path, len(data))
    with path.open("rb") as file:
        if os.lseek(file.fileno(), 0, os.SEEK_HOLE) == len(data):
            pytest.skip("this filesystem has no holes")
    (finding,) = found(LocalStore(), str(path), deep=deep)
    assert (finding.severity, finding.file, finding.tensor) == ("warning", str(path), "b")
    assert "2 tensors read as zeros" in finding.message


@pytest.mark.parametrize(
    ("hole", "tensor", "nbytes", "count"),
    [
        ((0, 10), None, 0, 0),
        ((BLOCK, BLOCK + 10), "a", 10, 1),
        ((BLOCK, 3 * BLOCK), "a", 2 * BLOCK, 2),
        ((5 * BLOCK, 9 * BLOCK), "c", BLOCK, 1),
    ],
)
def test_tensors_in_a_hole(
    hole: tuple[int, int], tensor: str | None, nbytes: int, count: int
) -> None:
    """Only what a hole takes of tensors counts, and not what it takes of the header."""
    store = HolesStore()
    data = weights(TENSORS)
    begin = len(data) - 6 * BLOCK
    put(store, "m/model.safetensors", data)
    store.ranges = (
        (hole[0] + begin * (tensor is not None), hole[1] + begin * (tensor is not None)),
    )
    findings = found(store, "m", deep=False)
    assert [finding.tensor for finding in findings] == ([] if tensor is None else [tensor])
    for finding in findings:
        assert finding.offset == begin + hole[0]
        assert finding.message.startswith(f"{nbytes:,} bytes were never written")
        assert f"{count} tensor" in finding.message


def test_a_checksum_vouches_for_a_hole() -> None:
    """Zeros of which the digest or the CRC-32 is right were meant; only --deep knows."""
    for container, name in (("bin", "pytorch_model.bin"), ("safetensors", "model.safetensors")):
        store = HolesStore()
        data = weights({"a": bytes(BLOCK), "b": bytes(BLOCK)}, container)
        store.ranges = ((0, len(data)),)
        put(store, f"m/{name}", data)
        if container == "safetensors":
            put(store, "m/SHA256SUMS", f"{hashlib.sha256(data).hexdigest()}  {name}\n".encode())
        assert len(found(store, "m", deep=False)) == 1
        assert found(store, "m", deep=True) == []


@pytest.mark.parametrize(
    ("tail", "first"),
    [
        ({"b": bytes(BLOCK), "c": bytes(8)}, "b"),
        ({"b": b"b" * BLOCK + bytes(BLOCK), "c": bytes(8)}, "b"),
        ({"b": b"b" * BLOCK + bytes(3 * 1024 * 1024), "c": bytes(BLOCK)}, "b"),
        ({"b": bytes(BLOCK)}, None),
        ({"b": b"b" + bytes(7), "c": bytes(BLOCK)}, None),
        ({"b": bytes(BLOCK), "c": bytes(BLOCK - 1) + b"c"}, None),
        ({"b": bytes(100), "c": bytes(100)}, None),
    ],
)
def test_zeros_up_to_the_end(tail: dict[str, bytes], first: str | None) -> None:
    """A long run of zeros over several tensors up to the last one is found by --deep, with the
    tensor in which it begins; one tensor of zeros, and short runs, are common.
    """
    assert found(ends(tail), "m", deep=False) == []
    findings = found(ends(tail), "m", deep=True)
    assert [finding.tensor for finding in findings] == ([] if first is None else [first])
    for finding in findings:
        zeros = sum(len(data) - len(data.rstrip(b"\0")) for data in tail.values())
        assert finding.message.startswith(f"the last {zeros:,} bytes")
    assert found(ends(tail, "bin"), "m", deep=True) == []


def test_a_system_that_knows_no_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where holes cannot be asked for there are none, and other errors are raised."""
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 1024 * 1024)
    seek = os.lseek
    answer = errno.EINVAL

    def fail(number: int, offset: int, how: int) -> int:
        if how == os.SEEK_HOLE:
            raise OSError(answer, os.strerror(answer))
        return seek(number, offset, how)

    monkeypatch.setattr(os, "lseek", fail)
    with path.open("rb") as file:
        assert list(syscalls.holes(file.fileno())) == []
        answer = errno.EIO
        with pytest.raises(OSError, match=r"\[Errno 5\]"):
            list(syscalls.holes(file.fileno()))
    monkeypatch.delattr(os, "SEEK_HOLE")
    with path.open("rb") as file:
        assert list(syscalls.holes(file.fileno())) == []
