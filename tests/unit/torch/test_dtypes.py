"""Element types of torch and of files are distinguished, and what is not plain data is refused."""

from __future__ import annotations

from typing import Any

import pytest

from shardctl.errors import InputError
from shardctl.formats.torch.calls.types import TORCH_NAME_OF
from shardctl.model import DTYPES, Dtype, Extent, Storage, Tensor

torch = pytest.importorskip("torch")


def tensor(dtype: Dtype, shape: tuple[int, ...] = (4,)) -> Tensor:
    """A tensor of a type."""
    return Tensor("w", dtype, shape, Storage(Extent("f", 0, 64), "0"))


@pytest.mark.parametrize("name", TORCH_NAME_OF)
def test_types_are_found_in_both_directions(name: str) -> None:
    """Every type that torch has is the same there and back."""
    from shardctl.torch.dtypes import dtype_of, torch_dtype

    assert dtype_of(torch_dtype(tensor(DTYPES[name]))) is DTYPES[name]


def test_a_type_that_torch_lacks_is_refused() -> None:
    """The tensor is named, safe to print."""
    from shardctl.torch.dtypes import dtype_of, torch_dtype

    odd = Tensor("w\x1b", Dtype("F6_E2M3", 6), (4,), Storage(Extent("f", 0, 64), "0"))
    with pytest.raises(InputError, match="has no type for F6_E2M3") as caught:
        torch_dtype(odd)
    assert "\x1b" not in caught.value.message
    with pytest.raises(KeyError):
        dtype_of(torch.quint8)


def test_shapes_of_packed_types_are_halved() -> None:
    """Torch counts F4 in pairs."""
    from shardctl.torch.dtypes import torch_shape

    assert torch_shape(tensor(DTYPES["F4"], (3, 8))) == (3, 4)
    assert torch_shape(tensor(DTYPES["F4"], ())) == ()
    assert torch_shape(tensor(DTYPES["F32"], (3, 8))) == (3, 8)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.eye(2).to_sparse(), "has the layout torch.sparse_coo"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "quantised"),
        (torch.nn.parameter.UninitializedParameter, "has no shape yet"),
        (lambda: torch.ones(2).t(), None),
        (lambda: torch.ones(2, dtype=torch.complex64).conj(), None),
        (lambda: torch.ones(2, device="meta"), None),
        (lambda: torch.nn.Parameter(torch.ones(2)), None),
    ],
)
def test_what_is_plain_data(make: Any, words: str | None) -> None:
    """Other layouts, scales and tensors without a shape are said to be that."""
    from shardctl.torch.dtypes import not_plain

    reason = not_plain(make())
    if words is None:
        assert reason is None
    else:
        assert reason is not None
        assert words in reason


def test_a_class_with_data_elsewhere_is_not_plain() -> None:
    """A tensor that dispatches by itself keeps its data in others."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from shardctl.torch.dtypes import not_plain

    with FakeTensorMode():
        fake = torch.ones(2)
    reason = not_plain(fake)
    assert reason is not None
    assert "FakeTensor, which is not plain data" in reason
