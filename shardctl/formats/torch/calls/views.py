"""Tensors as views of a storage: offset, shape and strides, checked as torch checks them."""

from __future__ import annotations

import math
from typing import TypeGuard

from shardctl.formats.limits import MAX_DIMS, MAX_SIZE
from shardctl.formats.pickle.machine import Form, Machine
from shardctl.formats.pickle.values import Sequence, StorageRef, ViewRef
from shardctl.formats.torch.calls.types import torch_packing
from shardctl.model import Dtype, contiguous_strides

#: Shapes that are kept. A pickle can choose ones that Python's hash does not distinguish.
_MOST_FORMS = 1_000


def view_of(
    machine: Machine,
    storage: object,
    offset: object,
    shape: object,
    strides: object,
    dtype: object = None,
) -> ViewRef:
    """The tensor of a storage.

    `dtype` is that of the storage where it is None. Raises PickleFaultError.
    """
    if not isinstance(storage, StorageRef):
        raise machine.fault("a tensor is rebuilt from something that is not a storage")
    if dtype is None:
        dtype = storage.dtype
    if not isinstance(dtype, Dtype):
        raise machine.fault("a tensor is rebuilt from a storage without a type")
    if (
        not is_size(offset)
        or not are_sizes(shape)
        or not are_sizes(strides)
        or len(shape) != len(strides)
    ):
        raise machine.fault("a tensor's offset, shape or strides are malformed")
    form = machine.forms.get((shape, strides))
    if form is None:
        form = _form(machine, shape, strides)
    shape, plain, extent = form
    if offset + extent > 8 * storage.nbytes // dtype.bits:
        machine.note_refused("a tensor that reaches beyond its storage")
    if dtype.bits < 8:
        packed = torch_packing(dtype)
        if plain is not None or not shape:
            raise machine.fault(
                f"a strided tensor of {dtype.name}, whose elements are not whole bytes"
            )
        return ViewRef(storage, dtype, offset * packed, (*shape[:-1], shape[-1] * packed), None)
    return ViewRef(storage, dtype, offset, shape, plain)


def _form(machine: Machine, shape: tuple[int, ...], strides: tuple[int, ...]) -> Form:
    if math.prod(filter(None, shape)) > MAX_SIZE:
        raise machine.fault("a tensor has more elements than can be counted")
    plain = _unless_contiguous(shape, strides)
    form = Form(shape, plain, reach(shape, plain))
    if len(machine.forms) < _MOST_FORMS:
        machine.forms[shape, strides] = form
    return form


def reach(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> int:
    """Elements from a tensor's first to its last, both counted; without strides, all of them."""
    if 0 in shape:
        return 0
    if strides is None:
        return math.prod(shape)
    return 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))


def is_size(value: object) -> TypeGuard[int]:
    """Whether a value is a number of elements."""
    return type(value) is int and 0 <= value <= MAX_SIZE  # not isinstance: bool is an int there


def are_sizes(value: object) -> TypeGuard[tuple[int, ...]]:
    """Whether a value is a shape or strides."""
    if not isinstance(value, tuple) or len(value) > MAX_DIMS:
        return False
    for size in value:  # noqa: SIM110 - `all` of a generator takes three times as long
        if type(size) is not int or not 0 <= size <= MAX_SIZE:
            return False
    return True


def _unless_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """None where the elements are in order anyway.

    Strides of empty tensors and of lengths of 1 mean nothing.
    """
    if 0 in shape:
        return None
    usual = contiguous_strides(shape)
    if strides == usual:
        return None
    same = all(
        size == 1 or step == plain for size, step, plain in zip(shape, strides, usual, strict=True)
    )
    return None if same else strides


def numbers_of(value: object) -> tuple[int, ...] | None:
    """Return a tuple or list of sizes, one for each dimension; None for anything else."""
    items = value.items if isinstance(value, Sequence) else value
    if not isinstance(items, list | tuple) or len(items) > MAX_DIMS:
        return None
    return tuple(items) if all(map(is_size, items)) else None
