"""The names of element types are those of torch, in both directions."""

from __future__ import annotations

import pytest

from shardctl.formats.torch.calls.types import (
    QUANTIZED_STORAGES,
    STORAGE_OF,
    TENSOR_CLASSES,
    TORCH_DTYPES,
    TORCH_NAME_OF,
    TYPED_STORAGES,
    torch_packing,
)
from shardctl.model import DTYPES

torch = pytest.importorskip("torch")


def test_every_dtype_has_the_width_of_torch() -> None:
    """A name of torch has the bytes that torch has for it; F4 is counted in pairs there."""
    for name, dtype in TORCH_DTYPES.items():
        width = getattr(torch, name).itemsize
        assert width * 8 == dtype.bits * torch_packing(dtype), name
    assert [torch_packing(DTYPES[name]) for name in ("F4", "F8_E8M0", "F32")] == [2, 1, 1]


def test_every_dtype_of_torch_is_known_or_quantised() -> None:
    """No element type of torch that has whole numbers or floats of known form is missing."""
    theirs = {name for name in dir(torch) if isinstance(getattr(torch, name), torch.dtype)}
    odd = ("q", "bit", "int1", "int2", "int3", "int4", "int5", "int6", "int7")
    rest = {
        name
        for name in theirs - TORCH_DTYPES.keys()
        if not name.removeprefix("u").startswith(odd) and name != "bcomplex32"
    }
    assert rest == set()


def test_the_first_spelling_of_torch_is_written() -> None:
    """Where torch has two names for a type, its own first one is used."""
    for dtype, name in TORCH_NAME_OF.items():
        assert str(getattr(torch, name)) == f"torch.{name}", dtype


def test_storage_classes_have_the_type_of_torch() -> None:
    """Each typed storage, and the tensor class of its name, has the dtype of torch's class."""
    for name, dtype in TYPED_STORAGES.items():
        assert TORCH_DTYPES[str(getattr(torch, name)._dtype).removeprefix("torch.")] is dtype
        assert STORAGE_OF[dtype.name] == name
    for name, dtype in TENSOR_CLASSES.items():
        theirs = getattr(torch, name).dtype if name != "Tensor" else torch.float32
        assert TORCH_DTYPES[str(theirs).removeprefix("torch.")] is dtype


def test_quantised_storages_have_the_width_of_torch() -> None:
    """The bytes of an element are those of the class."""
    for name, width in QUANTIZED_STORAGES.items():
        assert getattr(torch, name)._dtype.itemsize == width
