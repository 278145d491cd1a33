"""The bytes of two checkpoints: compared exactly, and each side read once."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from shardctl.errors import InputError
from shardctl.findings import Finding
from shardctl.stores.local.store import LocalStore
from shardctl.streams import elements
from shardctl.streams.chunks import CHUNK_BYTES
from shardctl.testing.memory import MemoryReader, MemoryStore
from shardctl.verify.against import first_difference
from shardctl.verify.run import Thoroughness, Verdict, verify
from tests.support.memory_checkpoints import get, put, weights
from tests.support.observers import Counting

#: One tensor that is longer than a chunk, and a small one on either side.
TENSORS = {"a": b"a" * 100, "b": b"b" * (2 * CHUNK_BYTES + 77), "c": b"c" * 100}
NAMES = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}


def compare(store: MemoryStore, **how: Any) -> Verdict:
    """What is found in `m` against `o`, with all bytes."""
    return verify(store, "m", Thoroughness(deep=True, against="o", **how))


def two(ours: str, theirs: str, changed: dict[str, bytes]) -> MemoryStore:
    """A store with the tensors in `m`, and with some that are changed in `o`."""
    store = MemoryStore()
    put(store, f"m/{NAMES[ours]}", weights(TENSORS, ours))
    put(store, f"o/{NAMES[theirs]}", weights({**TENSORS, **changed}, theirs))
    return store


def flipped(name: str, *places: int) -> dict[str, bytes]:
    """A tensor with other bytes at these places."""
    data = bytearray(TENSORS[name])
    for place in places:
        data[place] ^= 0x80
    return {name: bytes(data)}


@pytest.mark.parametrize(
    "at", [0, 47_840, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 76]
)
@pytest.mark.parametrize(("ours", "theirs"), itertools.product(["safetensors", "bin"], repeat=2))
def test_the_first_other_byte_is_named(ours: str, theirs: str, at: int) -> None:
    """A flipped byte is located exactly, in the tensor and our file; later ones change nothing."""
    store = two(ours, theirs, flipped("b", *{at, 2 * CHUNK_BYTES + 76}))
    (finding,) = compare(store).findings
    assert (finding.code, finding.tensor) == ("against-data", "b")
    assert finding.message == (
        f"the bytes differ from those in 'o', first at byte {at:,} of the tensor"
    )
    assert finding.offset == get(store, f"m/{NAMES[ours]}").index(TENSORS["b"]) + at


@pytest.mark.parametrize("length", [1, 2, 3, 1000])
def test_the_first_difference_of_two_texts(length: int) -> None:
    """It is found at every place; equal texts have none."""
    text = bytes(range(250)) * 4
    for at in range(0, length, max(1, length // 7)):
        other = bytearray(text[:length])
        other[at] ^= 1
        assert first_difference(text[:length], bytes(other)) == at
    assert first_difference(text[:length], text[:length]) == length


@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize("ours", ["safetensors", "bin"])
def test_each_side_is_read_once(monkeypatch: pytest.MonkeyPatch, ours: str, *, sums: bool) -> None:
    """CRC-32, SHA-256 and the comparison share one read of our file; theirs is only compared."""
    store = two(ours, "bin", {})
    data, theirs = get(store, f"m/{NAMES[ours]}"), get(store, "o/pytorch_model.bin")
    if sums:
        digest = hashlib.sha256(data).hexdigest()
        put(store, "m/SHA256SUMS", f"{digest}  {NAMES[ours]}\n".encode())
    ranges: list[tuple[str, int, int]] = []
    read = MemoryReader.read

    def counted(self: MemoryReader, offset: int, length: int) -> bytes:
        ranges.append((self.path, offset, offset + length))
        return read(self, offset, length)

    monkeypatch.setattr(MemoryReader, "read", counted)
    found = compare(store, digests=True)
    assert found.ok
    assert found.digests == {n: hashlib.sha256(d).hexdigest() for n, d in TENSORS.items()}
    for path, whole in ((f"m/{NAMES[ours]}", data), ("o/pytorch_model.bin", theirs)):
        # The end of a file is looked at besides, for a directory and for zeros.
        start = whole.index(TENSORS["b"])
        for place in range(start, start + 3 * CHUNK_BYTES // 2, 4096):
            times = [name == path and begin <= place < end for name, begin, end in ranges]
            assert sum(times) == 1


@pytest.mark.parametrize("ours", ["safetensors", "bin"])
def test_progress_adds_up(ours: str) -> None:
    """The bytes that are announced are those that are counted, and those of the verdict."""
    store = two(ours, "bin", {})
    seen = Counting()
    found = verify(store, "m", Thoroughness(deep=True, against="o"), seen)
    assert seen.advanced["o"] == sum(map(len, TENSORS.values()))
    assert seen.advanced == seen.sizes == seen.done
    assert found.bytes == sum(seen.sizes.values())


def test_the_other_side_has_checksums_too() -> None:
    """Bytes that are equal on both sides and do not match the other's CRC-32 are an error there: a
    copy of a damaged file is damaged.
    """
    store = two("safetensors", "bin", {})
    for path in ("m/model.safetensors", "o/pytorch_model.bin"):
        data = bytearray(get(store, path))
        data[bytes(data).index(TENSORS["b"]) + 5] ^= 1
        put(store, path, bytes(data))
    (finding,) = compare(store, digests=True).findings
    assert (finding.code, finding.file, finding.tensor) == (
        "zip-crc-mismatch",
        "o/pytorch_model.bin",
        "b",
    )


def test_tied_tensors_are_read_once_and_each_compared(tmp_path: Path) -> None:
    """Names of one storage share one comparison; where the other side has copies, each counts."""
    weight = torch.arange(300.0)
    torch.save({"x": weight, "y": weight}, tmp_path / "m.bin")
    torch.save({"x": weight, "y": weight}, tmp_path / "tied.bin")
    other = weight.clone()
    other[7] = -1
    save_file({"x": weight, "y": other}, tmp_path / "copies.safetensors", {"format": "pt"})
    ours = str(tmp_path / "m.bin")

    def against(name: str) -> Verdict:
        how = Thoroughness(deep=True, against=str(tmp_path / name), digests=True)
        return verify(LocalStore(), ours, how)

    found = against("tied.bin")
    assert (found.ok, set(found.digests)) == (True, {"x", "y"})
    found = against("copies.safetensors")
    assert [(f.code, f.tensor) for f in found.findings] == [("against-data", "y")]
    assert "first at byte 30 of" in found.findings[0].message


@pytest.mark.parametrize("at", [(0, 0), (3, 5), (61, 37)])
@pytest.mark.parametrize("both", [False, True])
def test_views_are_located_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: tuple[int, int], *, both: bool
) -> None:
    """Of views with strides the first other byte is that of their elements in row-major order."""
    monkeypatch.setattr(elements, "CHUNK_BYTES", 64)
    base = torch.arange(62 * 38, dtype=torch.int32).reshape(38, 62)
    other = base.clone()
    other[at[1], at[0]] += 1
    torch.save({"w": base.t()}, tmp_path / "m.bin")
    theirs = other.t() if both else other.t().contiguous()
    torch.save({"w": theirs}, tmp_path / "o.bin")
    how = Thoroughness(deep=True, against=str(tmp_path / "o.bin"))
    (finding,) = verify(LocalStore(), str(tmp_path / "m.bin"), how).findings
    byte = 4 * (at[0] * 38 + at[1])
    assert f"first at byte {byte:,} of the tensor" in finding.message


def test_overlapping_views_of_one_storage(tmp_path: Path) -> None:
    """Views that overlap are each compared, in one pass over their storage."""
    whole = torch.arange(1000.0)
    torch.save({"all": whole, "head": whole[:600], "tail": whole[400:]}, tmp_path / "m.bin")
    other = whole.clone()
    other[500] = -1
    torch.save({"all": whole, "head": other[:600], "tail": whole[400:]}, tmp_path / "o.bin")
    how = Thoroughness(deep=True, against=str(tmp_path / "o.bin"), digests=True)
    found = verify(LocalStore(), str(tmp_path / "m.bin"), how)
    assert [(f.code, f.tensor) for f in found.findings] == [("against-data", "head")]
    assert set(found.digests) == {"all", "tail"}
    assert found.digests["tail"] == hashlib.sha256(whole[400:].numpy().tobytes()).hexdigest()


def test_another_side_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure there is a finding of its tensor; our file and other tensors are still checked."""
    store = two("bin", "safetensors", flipped("c", 3))
    place = get(store, "o/model.safetensors").index(TENSORS["b"])
    read = MemoryReader.read

    def fail(self: MemoryReader, offset: int, length: int) -> bytes:
        if self.path.startswith("o/") and offset == place + CHUNK_BYTES:
            raise InputError("bad sector", hint="copy the rest", code="storage", file=self.path)
        return read(self, offset, length)

    monkeypatch.setattr(MemoryReader, "read", fail)
    found = compare(store).findings
    assert [(f.code, f.tensor) for f in found] == [("storage", "b"), ("against-data", "c")]


def differing(store: MemoryStore) -> list[tuple[str, str | None]]:
    """The codes and tensors of what is found against `o`."""
    found: tuple[Finding, ...] = verify(store, "m", Thoroughness(against="o")).findings
    return [(finding.code, finding.tensor) for finding in found]


def test_tensors_that_are_cut_off_are_no_difference() -> None:
    """What a truncated file lost is neither missing nor extra; what it cannot have held is."""
    store = two("safetensors", "safetensors", {"d": b"d"})
    whole = get(store, "m/model.safetensors")
    put(store, "m/model.safetensors", whole[:-150])
    assert differing(store) == [("file-truncated", None)]
    put(store, "m/model.safetensors", whole)
    cut = get(store, "o/model.safetensors")[:-150]
    put(store, "o/model.safetensors", cut)
    assert differing(store) == [("file-truncated", None)]


def test_an_index_says_what_a_damaged_shard_held() -> None:
    """With an index, a tensor that it places in a sound shard, or in none, is still missing."""
    store = MemoryStore()
    put(store, "o/model.safetensors", weights({"a": b"a", "b": b"b", "c": b"c"}))
    shards = {
        name: f"model-0000{number}-of-00002.safetensors" for number, name in ((1, "a"), (2, "b"))
    }
    put(store, f"m/{shards['a']}", weights({"a": b"a"}))
    put(store, f"m/{shards['b']}", b"")
    index = {"metadata": {"total_size": 2}, "weight_map": shards}
    put(store, "m/model.safetensors.index.json", json.dumps(index).encode())
    assert differing(store) == [("file-empty", None), ("against-missing", "c")]
