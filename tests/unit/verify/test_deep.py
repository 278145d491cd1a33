"""Each file is read once, and what is wrong with its bytes is found in it."""

from __future__ import annotations

import hashlib

import pytest

from shardctl.errors import StorageError
from shardctl.findings import ignore
from shardctl.source.locate import find_source
from shardctl.source.opened import unseen
from shardctl.testing.memory import MemoryReader, MemoryStore
from shardctl.verify.deep import DeepRead, FileRead, check_deep
from shardctl.verify.subject import read_subject
from tests.support.memory_checkpoints import get, put, weights

NAME = "pytorch_model.bin"
BYTES = {"a": b"1" * 100, "b": b"2" * 200}


def model(format_name: str = "bin") -> MemoryStore:
    """A file of two tensors."""
    store = MemoryStore()
    name = NAME if format_name == "bin" else "model.safetensors"
    put(store, f"m/{name}", weights(BYTES, format_name))
    return store


def flip(store: MemoryStore, name: str, tensor: str) -> int:
    """Change a byte of a tensor, and return where the tensor begins."""
    data = bytearray(get(store, f"m/{name}"))
    begin = data.index(BYTES[tensor])
    data[begin + 7] ^= 1
    put(store, f"m/{name}", bytes(data))
    return begin


def read(store: MemoryStore, jobs: int = 1) -> tuple[list[FileRead], dict[str, int], int]:
    """What is found in each file, what was to be read of each, and the bytes that were counted."""
    subject = read_subject(store, find_source(store, "m"), None, ignore, unseen)
    how = DeepRead(subject, subject.digests, {})
    ticks: list[int] = []
    found = list(check_deep(how, None, jobs, lambda _: ticks.append, lambda: None))
    return found, how.files, sum(ticks)


@pytest.mark.parametrize("format_name", ["bin", "safetensors"])
def test_a_sound_file(format_name: str) -> None:
    """Nothing is found, and as many bytes are read and counted as was said before."""
    found, files, ticked = read(model(format_name))
    (file,) = found
    assert (file.findings, file.compared) == ([], ())
    assert {file.name: file.nbytes} == files
    assert ticked == file.nbytes > 300


def test_every_bad_record_is_found() -> None:
    """Each is named with its tensor, its place and both checksums."""
    store = model()
    begins = {tensor: flip(store, NAME, tensor) for tensor in BYTES}
    ((file,), _, _) = read(store)
    assert {each.tensor: each.offset for each in file.findings} == begins
    assert {each.code for each in file.findings} == {"zip-crc-mismatch"}
    assert all("recorded " in each.message for each in file.findings)


def test_a_digest_is_compared() -> None:
    """Where one is recorded, the file is read whole, and both digests are said."""
    store = model("safetensors")
    sound = hashlib.sha256(get(store, "m/model.safetensors")).hexdigest()
    put(store, "m/SHA256SUMS", f"{sound}  model.safetensors\n".encode())
    ((file,), files, _) = read(store)
    assert (file.findings, files[file.name]) == ([], len(get(store, "m/model.safetensors")))
    flip(store, "model.safetensors", "b")
    ((file,), _, _) = read(store)
    (finding,) = file.findings
    assert (finding.code, finding.severity) == ("digest-mismatch", "error")
    now = hashlib.sha256(get(store, "m/model.safetensors")).hexdigest()
    assert sound in finding.message
    assert now in finding.message


def test_a_file_that_cannot_be_read_hides_no_other() -> None:
    """Its error is its only finding, and the next file is read."""

    class Broken(MemoryStore):
        def open(self, path: str) -> MemoryReader:
            reader = super().open(path)
            if path.endswith("00001-of-00002.safetensors") and self.broken:
                raise StorageError("the disk", hint="replace it", file=path)
            return reader

        broken = False

    store = Broken()
    for at, name in ((1, "a"), (2, "b")):
        put(store, f"m/model-0000{at}-of-00002.safetensors", weights({name: BYTES[name]}))
    subject = read_subject(store, find_source(store, "m"), None, ignore, unseen)
    store.broken = True
    how = DeepRead(subject, {}, {})
    found = list(check_deep(how, None, 2, lambda _: lambda _: None, lambda: None))
    assert [[each.message for each in file.findings] for file in found] == [["the disk"], []]
    assert found[0].nbytes == 0


def test_workers_change_nothing() -> None:
    """Files come in their order, with the same findings."""
    store = MemoryStore()
    for at in range(1, 5):
        put(store, f"m/model-0000{at}-of-00004.safetensors", weights({f"t{at}": b"x" * 50}))
    assert read(store, 1)[0] == read(store, 4)[0]
