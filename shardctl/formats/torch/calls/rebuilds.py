"""What torch's functions that make a tensor of a storage give, without calling them.

Source: `torch/_utils.py` of torch 2.13; `torch_npu/utils/storage.py`.
"""

from __future__ import annotations

from shardctl.formats.hazards import LAZY
from shardctl.formats.limits import MAX_FLAGS
from shardctl.formats.pickle.machine import Calls, Machine
from shardctl.formats.pickle.objects import kind_of
from shardctl.formats.pickle.values import (
    Global,
    Mapping,
    Opaque,
    PickleFaultError,
    UnknownTensor,
    ViewRef,
)
from shardctl.formats.torch.calls.types import TORCH_DTYPES
from shardctl.formats.torch.calls.views import view_of
from shardctl.model import Dtype

_DEVICE_TENSOR = "torch._utils._rebuild_device_tensor_from_cpu_tensor"
#: Types whose tensors cannot require gradients.
_WHOLE_NUMBERS = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})


def _tensor(machine: Machine, arguments: tuple[object, ...]) -> ViewRef:
    """`_rebuild_tensor(storage, offset, size, stride)`."""
    if len(arguments) != 4:
        raise _wrong_number(machine)
    storage, offset, shape, strides = arguments
    return view_of(machine, storage, offset, shape, strides)


def _tensor_v2(machine: Machine, arguments: tuple[object, ...]) -> ViewRef | Opaque:
    """`_rebuild_tensor_v2`: those four, requires_grad, hooks, and flags or nothing."""
    if len(arguments) not in (6, 7):
        raise _wrong_number(machine)
    storage, offset, shape, strides, gradient = arguments[:5]
    view = view_of(machine, storage, offset, shape, strides)
    if gradient is not False:
        check_gradient(machine, gradient, view.dtype)
    return view if len(arguments) == 6 else _unless_lazy(machine, view, arguments[6])


def _tensor_v3(machine: Machine, arguments: tuple[object, ...]) -> ViewRef | UnknownTensor | Opaque:
    """`_rebuild_tensor_v3`: as v2, with a dtype before the flags."""
    if len(arguments) not in (7, 8):
        raise _wrong_number(machine)
    dtype = _dtype_of(arguments[6])
    if dtype is None:
        return UnknownTensor(kind_of(arguments[6]), arguments[0])
    storage, offset, shape, strides, gradient = arguments[:5]
    view = view_of(machine, storage, offset, shape, strides, dtype)
    check_gradient(machine, gradient, dtype)
    if gradient:
        machine.note_refused("_rebuild_tensor_v3 with requires_grad, which no torch loads")
    return view if len(arguments) == 7 else _unless_lazy(machine, view, arguments[7])


def _npu_tensor(machine: Machine, arguments: tuple[object, ...]) -> ViewRef | Opaque:
    """torch_npu's rebuild: the six arguments of v2, and the format that the device had it in."""
    if len(arguments) != 7:
        raise _wrong_number(machine)
    return _tensor_v2(machine, arguments[:6])


def _device_tensor(machine: Machine, arguments: tuple[object, ...]) -> object:
    """A tensor of another device, saved as one of the CPU: that one, unless it would be changed."""
    if len(arguments) != 4:
        raise _wrong_number(machine)
    tensor, name, device, gradient = arguments
    if not isinstance(tensor, ViewRef) or device == "meta" or _dtype_of(name) is not tensor.dtype:
        return Opaque(_DEVICE_TENSOR, [arguments], True)
    check_gradient(machine, gradient, tensor.dtype)
    return tensor


def _dtype_of(name: object) -> Dtype | None:
    """The dtype that `torch.NAME` is; None for one that is not known, and for other values."""
    module, _, short = name.path.rpartition(".") if isinstance(name, Global) else ("", "", "")
    return TORCH_DTYPES.get(short) if module == "torch" else None


def _wrong_number(machine: Machine) -> PickleFaultError:
    return machine.fault("a tensor is rebuilt from a wrong number of arguments")


def check_gradient(machine: Machine, value: object, dtype: Dtype) -> None:
    """Raise PickleFaultError where a tensor of that type cannot have this `requires_grad`."""
    if value is not False and (value is not True or dtype.name in _WHOLE_NUMBERS):
        raise machine.fault("a tensor's requires_grad is not one that torch takes")


def _unless_lazy(machine: Machine, view: ViewRef, flags: object) -> ViewRef | Opaque:
    """The tensor; where it has flags, an object that is only named.

    `conj` and `neg` change the values on loading: dropping them would be silent damage. Torch looks
    for the keys and not at their values: `{"conj": False}` conjugates.
    """
    if flags is None:
        return view
    if not isinstance(flags, Mapping) or len(flags.items) > MAX_FLAGS:
        raise machine.fault("a tensor's flags are malformed")
    if not flags.items:
        return view
    pending = ", ".join(str(name)[:100] for name in flags.items)
    return Opaque(f"{LAZY} ({pending})", [view], True)


#: Those functions, by name.
REBUILDS: Calls = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    _DEVICE_TENSOR: _device_tensor,
    "torch_npu.utils.storage._rebuild_npu_tensor": _npu_tensor,
}
