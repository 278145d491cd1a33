"""What the headers show: files without tensors, tensors without elements, metadata."""

from __future__ import annotations

import json

import pytest

from shardctl.findings import Finding
from shardctl.testing.builders import TensorData, safetensors_bytes
from shardctl.testing.memory import MemoryStore
from shardctl.verify.run import Thoroughness, verify
from tests.support.memory_checkpoints import put, weights

A, B = "m/model-00001-of-00002.safetensors", "m/model-00002-of-00002.safetensors"
INDEX = "m/model.safetensors.index.json"
EMPTY: TensorData = ("F32", [0], b"")


def found(store: MemoryStore, source: str = "m") -> tuple[Finding, ...]:
    """What is found in the headers."""
    return verify(store, source, Thoroughness()).findings


def kinds(store: MemoryStore, source: str = "m") -> list[tuple[str, str, str | None]]:
    """The code, the severity and the file of each finding."""
    return [(finding.code, finding.severity, finding.file) for finding in found(store, source)]


def put_index(store: MemoryStore, weight_map: dict[str, str], total: int) -> None:
    """Write the index of the set."""
    names = {name: path.removeprefix("m/") for name, path in weight_map.items()}
    whole = {"metadata": {"total_size": total}, "weight_map": names}
    put(store, INDEX, json.dumps(whole).encode())


@pytest.mark.parametrize("container", ["safetensors", "bin"])
def test_a_file_without_tensors(container: str) -> None:
    """A file that holds no tensor at all is a warning."""
    store = MemoryStore()
    name = "m/model.safetensors" if container == "safetensors" else "m/pytorch_model.bin"
    put(store, name, weights({}, container))
    assert kinds(store) == [("no-tensors", "warning", name)]


def test_a_shard_of_16_bytes() -> None:
    """A shard that has a header and nothing else is a warning that names it."""
    store = MemoryStore()
    put(store, A, weights({"a": b"a"}))
    put(store, B, b"\x08\0\0\0\0\0\0\0{}      ")
    assert ("no-tensors", "warning", B) in kinds(store)
    assert ("no-tensors", "warning", B) in kinds(store, B)


def test_a_file_whose_tensors_are_cut_off_is_only_truncated() -> None:
    """Where the tensors are lost, the cut is the cause, and not that there are none."""
    store = MemoryStore()
    put(store, "m/model.safetensors", weights({"a": b"1" * 100})[:-50])
    assert [code for code, _, _ in kinds(store)] == ["file-truncated"]


@pytest.mark.parametrize("full", [True, False])
def test_tensors_of_shape_0(*, full: bool) -> None:
    """Tensors of shape [0] are one warning that counts them, beside full ones or alone."""
    store = MemoryStore()
    tensors: dict[str, TensorData] = {"l.0": EMPTY, "l.1": EMPTY}
    put(
        store,
        "m/model.safetensors",
        safetensors_bytes({**tensors, **({"n": b"1"} if full else {})}),
    )
    (finding,) = found(store)
    assert (finding.code, finding.severity, finding.tensor) == ("tensor-empty", "warning", "l.0")
    assert finding.message.startswith(f"2 of {2 + full} tensors have shape [0]")


def test_other_tensors_without_elements_are_sound() -> None:
    """A dimension of 0 beside others is what a model can have."""
    store = MemoryStore()
    tensors: dict[str, TensorData] = {"e": ("F32", [0, 3], b""), "s": ("F32", [], b"1234")}
    put(store, "m/model.safetensors", safetensors_bytes(tensors))
    assert found(store) == ()


def test_metadata_without_a_format() -> None:
    """Files of safetensors that do not say their framework are one note; torch files have no such
    metadata.
    """
    store = MemoryStore()
    for name, path in (("a", A), ("b", B)):
        put(store, path, weights({name: b"1"}, metadata={"epoch": "3"}))
    put_index(store, {"a": A, "b": B}, 2)
    (finding,) = found(store)
    assert (finding.code, finding.severity, finding.file) == ("metadata-format-missing", "note", A)
    assert "nor in 1 other file" in finding.message
    put(store, "o/pytorch_model.bin", weights({"a": b"1"}, "bin"))
    assert found(store, "o") == ()


def test_a_truncated_shard_is_one_error() -> None:
    """It counts the tensors that are cut off; the index and the total size add no error."""
    store = MemoryStore()
    put(store, A, weights({"a": b"a"}))
    many = {f"b.{number}": b"b" * 10 for number in range(20)}
    put(store, B, weights(many)[:-95])
    put_index(store, {"a": A, **dict.fromkeys(many, B)}, 201)
    (finding,) = found(store)
    assert (finding.code, finding.file) == ("file-truncated", B)
    assert "cuts off 10 tensors" in finding.message


@pytest.mark.parametrize(("data", "code"), [(b"", "file-empty"), (None, "index-shard-missing")])
def test_a_shard_without_a_header_says_what_is_lost(data: bytes | None, code: str) -> None:
    """A missing or unreadable shard is one error, with the number of tensors that the index lists
    in it.
    """
    store = MemoryStore()
    put(store, A, weights({"a": b"a"}))
    if data is not None:
        put(store, B, data)
    put_index(store, {"a": A, "b": B, "c": B}, 30)
    (finding,) = found(store)
    assert (finding.code, finding.file) == (code, B)
    assert finding.message.endswith("; the index lists 2 tensors in it")
