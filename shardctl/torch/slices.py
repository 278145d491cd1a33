"""What an index expression selects of a tensor, as another tensor to be read.

Only the bytes of the part are read, or where a step leaves out elements of a tensor that is put
together, those of the box around it.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import SupportsIndex

import torch

from shardctl.formats.torch.calls.types import torch_packing
from shardctl.model import DTYPES, Assembled, Box, Tensor, contiguous_strides, made_tensor
from shardctl.torch.dtypes import torch_shape

#: What a slice is asked for: integers, slices and `...`, one or several.
Index = object
#: An index for each dimension.
Whole = Sequence[slice | int]


def part_of(tensor: Tensor, index: Index) -> tuple[Tensor, tuple[slice | int, ...]]:
    """Return the tensor to read for an index expression, and the index of the part in it.

    Where torch has several elements in a byte it counts bytes, and so does the index; such a part
    has the type of bytes. Raises IndexError for what is out of range, TypeError for what is not an
    index, and ValueError for a step below one.
    """
    tensor = _in_bytes(tensor)
    whole = _for_each_dim(tensor, index)
    ranges = [_range(each, size) for each, size in zip(whole, tensor.shape, strict=True)]
    made = tensor.storage.made
    if made is None:
        return _view(tensor, whole, ranges), ()
    if not isinstance(made, Assembled) or made.grid != tensor.shape:
        return tensor, tuple(whole)
    within = (
        slice(None, None, each.step) if isinstance(asked, slice) else 0
        for asked, each in zip(whole, ranges, strict=True)
    )
    return _box(tensor, made, ranges), tuple(within)


def _in_bytes(tensor: Tensor) -> Tensor:
    packing = torch_packing(tensor.dtype)
    if packing == 1:
        return tensor
    if tensor.storage.made is not None or tensor.strides is not None:
        raise ValueError(f"'{tensor.name}' has elements of less than a byte: read it whole")
    return replace(
        tensor, dtype=DTYPES["U8"], shape=torch_shape(tensor), offset=tensor.offset // packing
    )


def _for_each_dim(tensor: Tensor, index: Index) -> list[slice | int]:
    """Return an index for every dimension."""
    asked = index if isinstance(index, tuple) else (index,)
    rest = [number for number, item in enumerate(asked) if item is ...]
    if len(rest) > 1:
        raise IndexError("an index can have only one `...`")
    items = [
        item if isinstance(item, slice) else _integer(item) for item in asked if item is not ...
    ]
    missing = len(tensor.shape) - len(items)
    if missing < 0:
        raise IndexError(f"too many indices for {len(tensor.shape)} dimensions")
    at = rest[0] if rest else len(items)
    return [*items[:at], *[slice(None)] * missing, *items[at:]]


def _integer(item: object) -> int:
    # Tensors and arrays of one element have an integer value, whatever else they would select.
    is_mask = isinstance(item, bool) or getattr(item, "dtype", None) == torch.bool
    if isinstance(item, SupportsIndex) and not is_mask and not getattr(item, "shape", ()):
        with suppress(TypeError):  # of a tensor or an array of another type
            return operator.index(item)
    raise TypeError(f"an index is an integer, a slice or `...`, not {type(item).__name__}")


def _range(index: slice | int, size: int) -> range:
    """Return the positions that an index selects along a dimension."""
    if isinstance(index, slice):
        start, stop, step = index.indices(size)
        if step < 1:
            raise ValueError("the step of a slice must be at least one")
        return range(start, stop, step)
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of range for a dimension of {size}")
    return range(index % size, index % size + 1)


def _view(tensor: Tensor, whole: Whole, ranges: Sequence[range]) -> Tensor:
    """Return the selected view of a tensor that lies in a file."""
    strides = contiguous_strides(tensor.shape) if tensor.strides is None else tensor.strides
    offset = tensor.offset
    shape, steps = list[int](), list[int]()
    for asked, chosen, stride in zip(whole, ranges, strides, strict=True):
        offset += chosen.start * stride if chosen else 0
        if isinstance(asked, slice):
            shape.append(len(chosen))
            steps.append(stride * chosen.step)
    return replace(
        tensor,
        shape=tuple(shape),
        offset=offset if 0 not in shape else 0,
        strides=None if _is_contiguous(shape, steps) else tuple(steps),
    )


def _box(tensor: Tensor, made: Assembled, ranges: Sequence[range]) -> Tensor:
    """Return the box around the selected elements of a tensor that is put together."""
    starts = [chosen.start for chosen in ranges]
    shape = tuple(chosen[-1] + 1 - chosen.start if chosen else 0 for chosen in ranges)
    if 0 in shape:
        empty = replace(made.boxes[0].tensor.storage, made=None)
        return replace(tensor, shape=shape, storage=empty)
    boxes = []
    for box in made.boxes:
        low = [max(one, other) for one, other in zip(starts, box.start, strict=True)]
        high = [
            min(one + length, other + size)
            for one, length, other, size in zip(
                starts, shape, box.start, box.tensor.shape, strict=True
            )
        ]
        if all(begin < end for begin, end in zip(low, high, strict=True)):
            inside = tuple(
                slice(begin - at, end - at)
                for begin, end, at in zip(low, high, box.start, strict=True)
            )
            part, _ = part_of(box.tensor, inside)
            begin = tuple(at - start for at, start in zip(low, starts, strict=True))
            boxes.append(Box(begin, part))
    return made_tensor(
        tensor.name, tensor.dtype, shape, Assembled(shape, tuple(boxes)), tensor.storage.key
    )


def _is_contiguous(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether elements follow one another; the stride of a single one does not matter."""
    plain = contiguous_strides(tuple(shape))
    return 0 in shape or all(
        size == 1 or stride == usual
        for size, stride, usual in zip(shape, strides, plain, strict=True)
    )
