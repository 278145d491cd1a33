"""torch's element types as those of `shardctl.model`, and which tensors are plain data."""

from __future__ import annotations

import torch

from shardctl.errors import InputError
from shardctl.formats.torch.calls.types import TORCH_DTYPES, TORCH_NAME_OF, torch_packing
from shardctl.model import Dtype, Tensor
from shardctl.text import escape


def dtype_of(dtype: torch.dtype) -> Dtype:
    """Return the element type for one of torch. Raises KeyError where files cannot hold it."""
    return TORCH_DTYPES[str(dtype).removeprefix("torch.")]


def torch_dtype(tensor: Tensor) -> torch.dtype:
    """Return torch's type of a tensor's elements; raises InputError where torch has none."""
    found = getattr(torch, TORCH_NAME_OF.get(tensor.dtype.name, ""), None)
    if found is None:
        raise InputError(
            f"torch {torch.__version__} has no type for {tensor.dtype.name}, which tensor "
            f"'{escape(tensor.name)}' has",
            hint="use a newer torch, or convert the tensor with the program that made it",
            tensor=tensor.name,
        )
    return found


def torch_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return a tensor's shape as torch counts it: elements of less than a byte in groups."""
    packed = torch_packing(tensor.dtype)
    if packed == 1 or not tensor.shape:
        return tensor.shape
    return (*tensor.shape[:-1], tensor.shape[-1] // packed)


def not_plain(tensor: torch.Tensor) -> str | None:
    """Return why the elements of a tensor are not one strided range of memory, or None."""
    if torch.nn.parameter.is_lazy(tensor):
        return "has no shape yet: run the model once"
    kind = type(tensor)
    # Such classes keep their data in other tensors: DTensor, fake tensors, those of torchao.
    if kind.__torch_dispatch__ != torch.Tensor.__torch_dispatch__:
        return f"is a {kind.__module__}.{kind.__qualname__}, which is not plain data"
    if tensor.is_nested or tensor.layout != torch.strided:
        return f"has the layout {'nested' if tensor.is_nested else tensor.layout}"
    if tensor.is_quantized:
        return "is a quantised tensor, whose scale no file would hold"
    if str(tensor.dtype).removeprefix("torch.") not in TORCH_DTYPES:
        return f"has elements of {tensor.dtype}, which files cannot hold"
    return None
