"""Statistics of the tensors that are shown."""

from __future__ import annotations

import struct
import sys

import pytest

from shardctl.commands.inspect import Inspection, inspect
from shardctl.commands.numbers import with_statistics
from shardctl.errors import UsageError
from shardctl.formats.registry import writer_of
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.streams.statistics import Statistics
from shardctl.testing.builders import materialise, safetensors_bytes
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put
from tests.support.observers import Counting


@pytest.fixture
def store() -> MemoryStore:
    """A store with `m`: `a` and `b` of F32, and `i` of I32."""
    made = MemoryStore()
    tensors = {
        "a": ("F32", [2], struct.pack("<2f", 1, 3)),
        "b": ("F32", [1], struct.pack("<f", float("nan"))),
        "i": ("I32", [1], bytes(4)),
    }
    put(made, "m/model.safetensors", safetensors_bytes(tensors))
    return made


def found_in(store: MemoryStore, *globs: str) -> Inspection:
    """What is shown of `m`."""
    return inspect(store, "m", key=None, globs=globs)


def test_each_tensor_has_its_statistics(store: MemoryStore) -> None:
    """Those of floating-point types are summed up, and the observer gets their bytes."""
    found, observer = found_in(store), Counting()
    assert found.statistics is None
    summed = with_statistics(found, store, found.tensors, observe=observer)
    assert summed.statistics == {
        "a": Statistics(1, 3, 2, 0, 0, 0),
        "b": Statistics(None, None, None, 1, 0, 0),
        "i": None,
    }
    assert observer.advanced == observer.sizes == {"m": 12}


def test_only_some_are_read(store: MemoryStore) -> None:
    """What a glob leaves out is not read, and neither is what is not asked for."""
    found, observer = found_in(store, "[ab]"), Counting()
    summed = with_statistics(found, store, found.tensors[:1], observe=observer)
    assert summed.statistics == {"a": Statistics(1, 3, 2, 0, 0, 0)}
    assert observer.advanced == {"m": 8}


def test_tied_tensors_are_read_once() -> None:
    """Each name has the statistics of the bytes that they share."""
    store, observer = MemoryStore(), Counting()
    storage = Storage(Extent("x", 0, 8), "0")
    tied = [Tensor(name, DTYPES["F32"], (2,), storage) for name in ("a", "b")]
    data = materialise(writer_of("bin").lay_out(tied, {}), {"x": struct.pack("<2f", 0, 4)})
    put(store, "m/pytorch_model.bin", data)
    found = found_in(store)
    # Without the first name, as --top can leave it out, the second one is read.
    for tensors in (found.tensors, found.tensors[1:]):
        summed = with_statistics(found, store, tensors, observe=observer)
        assert summed.statistics == dict.fromkeys(
            (tensor.name for tensor in tensors), Statistics(0, 4, 2, 0, 0, 1)
        )
    assert observer.advanced == {"m": 16}


def test_without_numpy(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where numpy is not installed, the error names what to install."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    found = found_in(store)
    with pytest.raises(UsageError, match="numpy") as error:
        with_statistics(found, store, found.tensors)
    assert "shardctl[numbers]" in error.value.hint
