"""What differs between two checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shardctl.commands.diff import Difference, Side, diff
from shardctl.errors import MissingError, UsageError
from shardctl.planning.request import Conversion, Selection, Transform
from shardctl.stores.local.store import LocalStore
from shardctl.streams.statistics import Distance
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights


def store_of(
    a: dict[str, bytes], b: dict[str, bytes], b_format: str = "safetensors"
) -> MemoryStore:
    """A store with one checkpoint in `a`, and another in `b`."""
    store = MemoryStore()
    put(store, "a/model.safetensors", weights(a))
    name = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}[b_format]
    put(store, f"b/{name}", weights(b, b_format))
    return store


def found_in(store: MemoryStore, **how: object) -> Difference:
    """What differs between the two."""
    return diff(Side(store, "a"), Side(store, "b"), **how)  # type: ignore[arg-type] # as given


@pytest.mark.parametrize("other", ["safetensors", "bin"])
def test_equal_checkpoints(other: str) -> None:
    """In any format and order, the same tensors are the same."""
    found = found_in(store_of({"x": b"1", "y": b"22"}, {"y": b"22", "x": b"1"}, other))
    assert (found.same, found.equal, found.changes) == (True, 2, ())


def test_each_kind_of_difference() -> None:
    """A tensor too many or too few, another shape, and other bytes, in the order of A."""
    a = {"bytes": b"12", "removed": b"1", "same": b"1", "shape": b"1"}
    found = found_in(store_of(a, {"shape": b"12", "added": b"1", "same": b"1", "bytes": b"13"}))
    assert [(change.name, change.what) for change in found.changes] == [
        (name, name) for name in ("bytes", "removed", "shape", "added")
    ]
    assert (found.same, found.equal) == (False, 1)


def test_a_selection_of_the_other() -> None:
    """B is renamed and narrowed as a writer does; what is left out is counted."""
    store = store_of({"x": b"1"}, {"m.x": b"1", "m.y": b"2"})
    found = found_in(store, transform=Transform(Selection(exclude=("*.y",), strip_prefix="m.")))
    assert (found.same, found.left_out) == (True, 1)
    with pytest.raises(UsageError):
        found_in(store, transform=Transform(Selection(exclude=("z",))))


def test_a_copy_in_another_type(tmp_path: Path) -> None:
    """B is converted as it is read, and compared bit by bit; what differs is said as ever."""
    floats = {"x": torch.randn(100), "y": torch.randn(3)}
    store, a, b = LocalStore(), str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")
    save_file({"x": floats["x"].half(), "y": floats["y"]}, a)
    save_file(floats, b)
    transform = Transform(conversion=Conversion("F16"))
    found = diff(Side(store, a), Side(store, b), transform=transform)
    assert [(change.name, change.what) for change in found.changes] == [("y", "dtype")]
    transform = Transform(conversion=Conversion("F16", keep=("y",)))
    assert diff(Side(store, a), Side(store, b), transform=transform).same


def test_what_does_not_exist() -> None:
    """Without a checkpoint on either side there is an error."""
    with pytest.raises(MissingError):
        diff(Side(MemoryStore(), "a"), Side(MemoryStore(), "b"))


def test_how_far_apart() -> None:
    """With `stats`, the elements that changed and the largest and mean difference, across types
    too; for integers there is nothing to say.
    """
    store = MemoryStore()
    one = torch.tensor([1.0, 2.0, 3.0, float("nan")])
    other = torch.tensor([1.0, 2.5, 3.0, float("nan")])

    def raw(values: torch.Tensor) -> bytes:
        return bytes(values.view(torch.uint8).tolist())

    whole = ("I32", [1], b"1234")
    put(store, "a/model.safetensors", weights_of({"w": ("F32", [4], raw(one)), "i": whole}))
    put(
        store,
        "b/model.safetensors",
        weights_of({"w": ("BF16", [4], raw(other.bfloat16())), "i": ("I32", [1], b"1235")}),
    )
    found = {change.name: change for change in found_in(store, stats=True).changes}
    assert found["w"].what == "dtype"
    assert found["w"].distance == Distance(1, 0.5, 0.5 / 3)
    assert (found["i"].what, found["i"].distance) == ("bytes", None)


def weights_of(tensors: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    """A safetensors file."""
    from shardctl.testing.builders import safetensors_bytes

    return safetensors_bytes(tensors)
