"""What the pickles of torch call, without calling it: tensors, parameters and OrderedDicts as inert values.

Source: `torch/_utils.py`, `torch/_tensor.py` and `torch/serialization.py` of torch 2.13.
"""

from __future__ import annotations

import math
from typing import TypeGuard

from shardctl.formats.limits import MAX_DIMS, MAX_FLAGS, MAX_SIZE
from shardctl.formats.pickle.machine import Calls, Machine, kind_of
from shardctl.formats.pickle.values import (
    Global,
    Mapping,
    Opaque,
    PickleFaultError,
    Sequence,
    StorageRef,
    UnknownTensor,
    ViewRef,
)
from shardctl.formats.torch.types import (
    QUANTIZED_STORAGES,
    TORCH_DTYPES,
    TYPED_STORAGES,
    torch_packing,
)
from shardctl.model import Dtype, contiguous_strides
from shardctl.text import escape

#: What a parameter may be made of.
_TENSORS = (ViewRef, UnknownTensor, Opaque)
#: Attributes that, set on a tensor, change its values or its class.
_NO_ATTRIBUTES = ("data", "real", "imag", "__class__")


def storage_of_zip(machine: Machine, value: object) -> tuple[StorageRef, StorageRef]:
    """The storage of a persistent id: `("storage", type, key, location, numel)`."""
    whole, _, more = _storage(machine, value)
    if more:
        raise machine.fault("a persistent id has items that torch's zip files do not have")
    return whole, whole


def storage_of_legacy(machine: Machine, value: object) -> tuple[StorageRef, StorageRef]:
    """The storage of a legacy persistent id, and the part of it that a sixth item names, unless that is None."""
    whole, width, more = _storage(machine, value)
    if len(more) != 1:
        raise machine.fault("a persistent id has not the items that torch's legacy files have")
    return (whole, whole) if more[0] is None else (whole, _view_of(machine, whole, more[0], width))


def _storage(machine: Machine, value: object) -> tuple[StorageRef, int, tuple[object, ...]]:
    """The storage, the bytes of its elements, and the items after the five that both varieties of file have."""
    if isinstance(value, tuple) and value and value[0] == "module":
        raise PickleFaultError(
            "the file holds a whole model, not a state dict",
            machine.offset,
            hint="in the program that knows its class, save `model.state_dict()` instead of the model",
        )
    if not isinstance(value, tuple) or len(value) < 5 or value[0] != "storage":
        raise machine.fault("a persistent id is not that of a storage")
    _, kind, key, _location, numel = value[:5]
    if not isinstance(kind, Global) or not isinstance(key, str) or not _is_size(numel):
        raise machine.fault("a persistent id is malformed")
    typed = kind.module in ("torch", "torch.cuda")
    if str(kind) in ("torch.storage.UntypedStorage", "torch.UntypedStorage"):
        dtype, width, name = None, 1, "ByteStorage"
    elif typed and kind.name in TYPED_STORAGES:
        dtype, name = TYPED_STORAGES[kind.name], kind.name
        width = dtype.itemsize
    elif typed and kind.name in QUANTIZED_STORAGES:
        dtype, width, name = None, QUANTIZED_STORAGES[kind.name], kind.name
    else:
        raise machine.fault(f"{kind} is no storage of numbers")
    return StorageRef(key, dtype, numel * width, name), width, value[5:]


def _view_of(machine: Machine, whole: StorageRef, metadata: object, width: int) -> StorageRef:
    """A legacy storage that is a part of another: (key, offset, size) in elements."""
    if not isinstance(metadata, tuple) or len(metadata) != 3:
        raise machine.fault("the view of a storage is malformed")
    _, offset, size = metadata
    if not _is_size(offset) or not _is_size(size) or (offset + size) * width > whole.nbytes:
        raise machine.fault("the view of a storage lies outside it")
    return StorageRef(whole.key, whole.dtype, size * width, whole.kind, offset * width)


def _rebuild(
    machine: Machine, arguments: tuple[object, ...], dtype: object, extra: tuple[object, ...]
) -> ViewRef:
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, StorageRef) or not isinstance(dtype, Dtype):
        raise machine.fault("a tensor is rebuilt from what is no storage")
    if (
        not _is_size(offset)
        or not _are_sizes(shape)
        or not _are_sizes(strides)
        or len(shape) != len(strides)
    ):
        raise machine.fault("a tensor's offset, shape or strides are malformed")
    if math.prod(filter(None, shape)) > MAX_SIZE:
        raise machine.fault("a tensor has more elements than can be counted")
    for flags in extra:
        _refuse_lazy(machine, flags)
    plain = _unless_contiguous(shape, strides)
    packed = torch_packing(dtype)
    if packed > 1:
        if plain is not None or not shape:
            raise machine.fault(
                f"a strided tensor of {dtype.name}, whose elements are not whole bytes"
            )
        return ViewRef(storage, dtype, offset * packed, (*shape[:-1], shape[-1] * packed), None)
    return ViewRef(storage, dtype, offset, shape, plain)


def _refuse_lazy(machine: Machine, flags: object) -> None:
    """`conj` and `neg` change the values when they are read: dropping them would be silent damage."""
    if not isinstance(flags, Mapping) or len(flags.items) > MAX_FLAGS:
        raise machine.fault("a tensor's flags are malformed")
    pending = [escape(str(name)[:100]) for name, on in flags.items.items() if on]
    if pending:
        raise PickleFaultError(
            f"a tensor is to be changed when it is loaded ({', '.join(pending)})",
            machine.offset,
            hint="resolve it in torch (`resolve_conj()`, `resolve_neg()`) and save the checkpoint again",
        )


def _is_size(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MAX_SIZE  # not isinstance: bool is an int there


def _are_sizes(value: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and len(value) <= MAX_DIMS and all(map(_is_size, value))


def _unless_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """None where the elements stand in order anyway: strides of empty tensors and of lengths of 1 mean nothing."""
    if 0 in shape:
        return None
    usual = contiguous_strides(shape)
    if strides == usual:
        return None
    same = all(
        size == 1 or step == plain for size, step, plain in zip(shape, strides, usual, strict=True)
    )
    return None if same else strides


def _ordered_dict(machine: Machine, arguments: tuple[object, ...]) -> Mapping:
    made = Mapping()
    if arguments:
        pairs = arguments[0]
        if len(arguments) > 1 or not isinstance(pairs, Sequence | tuple):
            raise machine.fault("an OrderedDict is made of what are no pairs")
        listed = pairs.items if isinstance(pairs, Sequence) else pairs
        machine.count_pairs(len(listed))
        machine.push(made)
        for pair in listed:
            values = pair.items if isinstance(pair, Sequence) else pair
            if not isinstance(values, list | tuple) or len(values) != 2:
                raise machine.fault("an OrderedDict is made of what are no pairs")
            machine.set_items(list(values))
        machine.pop()
    return made


def _tensor(machine: Machine, arguments: tuple[object, ...]) -> ViewRef:
    """`_rebuild_tensor` (4 arguments) and `_rebuild_tensor_v2` (6, and flags)."""
    if len(arguments) not in (4, 6, 7):
        raise machine.fault("a tensor is rebuilt from another number of arguments")
    storage = arguments[0]
    dtype = storage.dtype if isinstance(storage, StorageRef) else None
    return _rebuild(machine, arguments, dtype, arguments[6:])


def _tensor_v3(machine: Machine, arguments: tuple[object, ...]) -> ViewRef | UnknownTensor:
    if len(arguments) not in (7, 8):
        raise machine.fault("a tensor is rebuilt from another number of arguments")
    name = arguments[6]
    dtype = (
        TORCH_DTYPES.get(name.name) if isinstance(name, Global) and name.module == "torch" else None
    )
    if dtype is None:
        return UnknownTensor(kind_of(name))
    return _rebuild(machine, arguments, dtype, arguments[7:])


def _parameter(machine: Machine, arguments: tuple[object, ...]) -> object:
    """The tensor itself: that it is a parameter says nothing about its bytes."""
    if len(arguments) not in (3, 4) or not isinstance(arguments[0], _TENSORS):
        raise machine.fault("a parameter without a tensor")
    for state in arguments[3:]:
        _refuse_values(machine, state)
    return arguments[0]


def _refuse_values(machine: Machine, state: object) -> None:
    """Attributes are left out, and so they must be none that would give the tensor other values."""
    for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
        if part is None or (
            isinstance(part, Mapping) and not any(name in part.items for name in _NO_ATTRIBUTES)
        ):
            continue
        raise machine.fault("a tensor's attributes are malformed, or give it other values")


def _from_type(machine: Machine, arguments: tuple[object, ...]) -> object:
    """A tensor with attributes of its own, `(function, type, arguments, state)`: only plain types are known."""
    if len(arguments) != 4 or not isinstance(inner := arguments[2], tuple):
        raise machine.fault("a tensor with attributes is malformed")
    function, kind, _, state = arguments
    if not isinstance(kind, Global) or str(kind) not in (
        "torch.Tensor",
        "torch.nn.parameter.Parameter",
    ):
        return Opaque(kind_of(kind))
    if isinstance(function, Global) and str(function) == _FROM_TYPE:
        raise machine.fault("a tensor with attributes is made of another one")
    _refuse_values(machine, state)
    return machine.call(function, inner)


def _size(machine: Machine, arguments: tuple[object, ...]) -> object:
    if len(arguments) != 1 or not isinstance(arguments[0], tuple):
        raise machine.fault("a torch.Size without a tuple")
    return arguments[0]


_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"

CALLS: Calls = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    _FROM_TYPE: _from_type,
    "torch.Size": _size,
}
