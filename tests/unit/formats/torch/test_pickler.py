"""The pickles that are written hold what torch's own unpickler reads, in the opcodes that torch
itself writes.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from typing import Any

import pytest

from shardctl.formats.pickle.values import Mapping, ViewRef
from shardctl.formats.torch.calls.types import STORAGE_OF, TORCH_NAME_OF
from shardctl.formats.torch.pickler import View, pickle_state_dict
from shardctl.formats.torch.unpickle import unpickle
from shardctl.formats.torch.weights_only import unsafe
from shardctl.model import DTYPES, contiguous_strides


def _view(
    name: str, key: str = "0", dtype: str = "F32", shape: tuple[int, ...] = (2, 3), offset: int = 0
) -> View:
    count = offset + math.prod(shape)
    nbytes = count * max(DTYPES[dtype].bits // 8, 1)
    return View(name, key, DTYPES[dtype], nbytes, offset, shape, contiguous_strides(shape))


def _read(views: list[View]) -> dict[str, ViewRef]:
    root = unpickle(pickle_state_dict(views)).root
    assert isinstance(root, Mapping)
    return {str(name): view for name, view in root.items.items() if isinstance(view, ViewRef)}


@pytest.mark.parametrize("dtype", sorted(set(TORCH_NAME_OF) - {"F4"}))
def test_dtypes(dtype: str) -> None:
    """Every dtype that torch has comes back with offset, shape, strides and the storage's bytes."""
    view = _view("w", dtype=dtype, offset=5)
    (found,) = _read([view]).values()
    assert (found.dtype.name, found.offset, found.shape, found.strides) == (dtype, 5, (2, 3), None)
    assert found.storage.nbytes == view.storage_bytes
    assert (found.storage.dtype is None) == (dtype not in STORAGE_OF)


def test_packed_pairs() -> None:
    """Of F4 torch counts pairs, and shardctl elements."""
    (found,) = _read([View("w", "0", DTYPES["F4"], 6, 0, (2, 3), (3, 1))]).values()
    assert (found.dtype.name, found.shape, found.storage.nbytes) == ("F4", (2, 6), 6)


@pytest.mark.parametrize(
    "number", [0, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**40, 2**62]
)
def test_integers(number: int) -> None:
    """Numbers of every width come back."""
    view = View("w", "0", DTYPES["U8"], number + 1, number, (1,), (1,))
    (found,) = _read([view]).values()
    assert found.offset == number
    assert found.storage.nbytes == number + 1


def test_many_names() -> None:
    """More names than one batch and than one byte of memo places keep their order."""
    views = [_view(f"n{number}", str(number)) for number in range(2500)]
    found = _read(views)
    assert list(found) == [view.name for view in views]
    assert [view.storage.key for view in found.values()] == [view.key for view in views]


def test_tied_tensors_are_one_memo_entry() -> None:
    """One tensor under two names is one object to an unpickler, another view of the
    storage is not.
    """
    offsets = {"a": 0, "b": 0, "c": 2}
    found = _read(
        [
            View(name, "0", DTYPES["F32"], 32, offset, (2, 3), (3, 1))
            for name, offset in offsets.items()
        ]
    )
    assert found["a"] is found["b"]
    assert found["c"] is not found["a"]


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (1, 2, 3), (1, 2, 3, 4), (1,) * 20])
def test_shapes(shape: tuple[int, ...]) -> None:
    """Shapes of any number of dimensions come back."""
    (found,) = _read([_view("w", shape=shape)]).values()
    assert found.shape == shape


def test_opcodes_are_those_of_torch() -> None:
    """The opcodes are a subset of those of torch.save, and none that `weights_only` does
    not know.
    """
    import torch

    tensors = {
        "a": torch.ones(2, 3),
        "b": torch.ones(3, dtype=torch.uint16),
        "c": torch.ones(1, 2, 3, 4),
    }
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    theirs = {
        op.name for op, _, _ in pickletools.genops(zipfile.ZipFile(buffer).read("archive/data.pkl"))
    }
    ours = pickle_state_dict(
        [_view("a"), _view("b", "1", "U16", (3,)), _view("c", "2", shape=(1, 2, 3, 4))]
    )
    assert {op.name for op, _, _ in pickletools.genops(ours)} <= theirs
    assert unsafe(unpickle(ours).globals) == ()


def test_python_reads_it() -> None:
    """Python's own unpickler, with torch's functions stubbed, sees the same arguments."""
    calls: list[tuple[Any, ...]] = []

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return (
                (lambda *arguments: calls.append(arguments))
                if name.startswith("_rebuild")
                else f"{module}.{name}"
            )

        def persistent_load(self, pid: Any) -> Any:
            return pid

    class Plain(Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return dict if name == "OrderedDict" else super().find_class(module, name)

    Plain(io.BytesIO(pickle_state_dict([_view("w", offset=7)]))).load()
    assert calls == [
        (("storage", "torch.FloatStorage", "0", "cpu", 13), 7, (2, 3), (3, 1), False, {})
    ]
