"""What is shown of a checkpoint: sums, ties, and the tensors that a glob chooses."""

from __future__ import annotations

import json

import pytest

from shardctl.commands.inspect import FileSums, Inspection, inspect, inspect_checkpoint
from shardctl.errors import FormatError, MissingError
from shardctl.findings import strict
from shardctl.formats.registry import writer_of
from shardctl.layout import Layout
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.source.locate import find_source
from shardctl.source.read import read_checkpoint
from shardctl.testing.builders import materialise
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights


def inspected(store: MemoryStore, source: str, *globs: str) -> Inspection:
    """A checkpoint summed up."""
    located = find_source(store, source)
    checkpoint = read_checkpoint(store, located, strict, nested=True)
    return inspect_checkpoint(store, source, located, checkpoint, globs, ())


def tied(format_name: str = "bin") -> bytes:
    """A file of F32 `a`, and `b` that is the same storage, and an I64 `c`."""
    one, other = Storage(Extent("x", 0, 40), "0"), Storage(Extent("x", 40, 80), "1")
    tensors = [
        Tensor("a", DTYPES["F32"], (10,), one),
        Tensor("b", DTYPES["F32"], (10,), one),
        Tensor("c", DTYPES["I64"], (10,), other),
    ]
    layout: Layout = writer_of(format_name).lay_out(tensors, {})
    return materialise(layout, {"x": bytes(range(120))})


def test_files_and_sums() -> None:
    """Every file has its size and the bytes of its tensors; the whole is their sum."""
    store = MemoryStore()
    data = weights({"a": b"1" * 10, "b": b"2" * 20})
    put(store, "m/model.safetensors", data)
    found = inspected(store, "m")
    assert found.files == (FileSums("model.safetensors", len(data), 2, 30),)
    assert (found.total_size, found.total_parameters) == (30, 30)
    assert (found.index_name, found.source) == (None, "m")


def test_tied_tensors_count_once() -> None:
    """The second name of a storage adds neither bytes nor parameters, and says whose it is."""
    store = MemoryStore()
    put(store, "m/pytorch_model.bin", tied())
    found = inspected(store, "m")
    assert found.tied_to == {"b": "a"}
    assert [tensor.name for tensor in found.tensors] == ["a", "b", "c"]
    assert (found.total_size, found.total_parameters) == (120, 20)


def test_recorded_aliases_are_shown() -> None:
    """A name that only metadata records is a tensor at the end of the list, tied to the one with
    the bytes.
    """
    store = MemoryStore()
    put(store, "m/model.safetensors", weights({"a": b"1" * 10}, metadata={"z": "a", "author": "a"}))
    found = inspected(store, "m")
    assert dict(found.tied_to) == {"z": "a", "author": "a"}
    assert found.tensors[1].span == found.tensors[0].span
    assert found.total_parameters == 10


def test_a_glob_chooses_tensors() -> None:
    """Only matching tensors are shown and summed, an alias with the tensor that it repeats; case
    matters.
    """
    store = MemoryStore()
    put(
        store,
        "m/model.safetensors",
        weights({"a.w": b"1" * 10, "b.w": b"2" * 20}, metadata={"z": "b.w"}),
    )
    found = inspected(store, "m", "a.*")
    assert [tensor.name for tensor in found.tensors] == ["a.w"]
    assert found.total_size == 10
    assert [tensor.name for tensor in inspected(store, "m", "b*").tensors] == ["b.w", "z"]
    with pytest.raises(MissingError):
        inspected(store, "m", "A.*")


def test_a_glob_that_matches_nothing_names_what_is_near() -> None:
    """The hint has the nearest names, and a glob that would match parts of names."""
    store = MemoryStore()
    put(store, "m/model.safetensors", weights({"encoder.weight": b"1"}))
    with pytest.raises(MissingError) as caught:
        inspected(store, "m", "encoder.wieght")
    assert "encoder.weight" in caught.value.hint
    assert "'*encoder.wieght*'" in caught.value.hint
    with pytest.raises(MissingError) as caught:
        inspected(store, "m", "zzz\n")
    assert "did you mean" not in caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


def test_shards_in_directories_below_keep_their_names() -> None:
    """Two shards with one file name are distinguished by the directory that the index names."""
    store = MemoryStore()
    put(store, "m/one/model.safetensors", weights({"a": b"1"}))
    put(store, "m/two/model.safetensors", weights({"b": b"2"}))
    names = {"a": "one/model.safetensors", "b": "two/model.safetensors"}
    whole = {"metadata": {"total_size": 2}, "weight_map": names}
    put(store, "m/model.safetensors.index.json", json.dumps(whole).encode())
    found = inspected(store, "m")
    assert [file.name for file in found.files] == list(names.values())
    assert found.index_name == "model.safetensors.index.json"


def test_a_file_that_its_name_does_not_promise_is_noted() -> None:
    """A safetensors file that is called .bin is shown, and a note says so."""
    store = MemoryStore()
    put(store, "m/pytorch_model.bin", weights({"a": b"1"}))
    found = inspect(store, "m", key=None)
    assert [tensor.name for tensor in found.tensors] == ["a"]
    assert [note[:60] for note in found.notes] == [
        "'m/pytorch_model.bin': the file is of the format 'safetensor"
    ]


def test_several_globs_are_alternatives() -> None:
    """A tensor is shown that one of several globs matches, and each has to match something."""
    store = MemoryStore()
    put(store, "m.safetensors", weights({"a.bias": b"1", "a.weight": b"2", "b.bias": b"3"}))
    found = inspect(store, "m.safetensors", key=None, globs=("*.bias", "a.*"))
    assert [tensor.name for tensor in found.tensors] == ["a.bias", "a.weight", "b.bias"]
    found = inspect(store, "m.safetensors", key=None, globs=("b.*", "a.w*"))
    assert [tensor.name for tensor in found.tensors] == ["a.weight", "b.bias"]
    with pytest.raises(MissingError, match="'x'"):
        inspect(store, "m.safetensors", key=None, globs=("a.*", "x"))


def test_what_is_left_of_a_damaged_set_is_shown() -> None:
    """Of a set with a missing and a truncated shard the rest is shown, with a warning for each."""
    store = MemoryStore()
    put(store, "m/model-00001-of-00003.safetensors", weights({"a": b"1"}))
    put(store, "m/model-00002-of-00003.safetensors", weights({"b": b"2", "c": b"34"})[:-2])
    found = inspect(store, "m", key=None)
    assert [tensor.name for tensor in found.tensors] == ["a", "b"]
    assert len(found.warnings) == 2
    assert any("number 3" in warning for warning in found.warnings)
    assert any("cuts off 1 tensor" in warning for warning in found.warnings)
    put(store, "n/model.safetensors", b"\0" * 100)
    with pytest.raises(FormatError):
        inspect(store, "n", key=None)
