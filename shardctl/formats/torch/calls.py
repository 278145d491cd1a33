"""What the pickles of torch call, without calling it.

Tensors, parameters and dicts become inert values.

Source: `torch/_utils.py`, `torch/_tensor.py`, `torch/nn/parameter.py` and `torch/serialization.py`
of torch 2.13; `torch_npu/utils/storage.py`.
"""

from __future__ import annotations

from shardctl.formats.limits import MAX_FLAGS
from shardctl.formats.pickle.machine import Calls, Dialect, Machine, StorageOf
from shardctl.formats.pickle.objects import kind_of
from shardctl.formats.pickle.values import (
    TENSORS,
    EmptyTensor,
    Global,
    Mapping,
    Opaque,
    PickleFaultError,
    Sequence,
    UnknownTensor,
    ViewRef,
)
from shardctl.formats.torch.memory import allocated
from shardctl.formats.torch.state import PARAMETER, attributes_of, build
from shardctl.formats.torch.types import TENSOR_CLASSES, TORCH_DTYPES
from shardctl.formats.torch.unread import is_tensor_kind
from shardctl.formats.torch.views import is_size, view_of
from shardctl.formats.torch.weights_only import unsafe
from shardctl.model import DTYPES, Dtype
from shardctl.text import escape

_FLOAT = DTYPES["F32"]
_ORDERED_DICT = "collections.OrderedDict"
_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"
#: Types whose tensors cannot require gradients.
_WHOLE_NUMBERS = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})


def _ordered_dict(machine: Machine, arguments: tuple[object, ...]) -> Mapping:
    machine.weigh_container()
    made = Mapping(_ORDERED_DICT)
    if arguments:
        pairs = arguments[0]
        if len(arguments) > 1 or not isinstance(pairs, Sequence | tuple):
            raise machine.fault("an OrderedDict is made of something that is not pairs")
        listed = pairs.items if isinstance(pairs, Sequence) else pairs
        machine.spend(_MIN_PAIR_BYTES * len(listed))
        for pair in listed:
            values = pair.items if isinstance(pair, Sequence) else pair
            if not isinstance(values, list | tuple) or len(values) != 2:
                raise machine.fault("an OrderedDict is made of something that is not pairs")
            machine.fill(made, list(values))
    return made


#: The shortest pair that a pickle can spell: more of them than that are the same ones used again.
_MIN_PAIR_BYTES = 5


def _new_ordered_dict(machine: Machine, arguments: tuple[object, ...]) -> Mapping:  # noqa: ARG001 - its `__new__` ignores them too
    machine.weigh_container()
    return Mapping(_ORDERED_DICT)


def _default_dict(machine: Machine, arguments: tuple[object, ...]) -> object:
    """A defaultdict of nothing yet: what it makes of a missing key is never asked for."""
    if len(arguments) > 1 or not all(isinstance(made, Global | None) for made in arguments):
        return Opaque("collections.defaultdict", list(arguments))
    machine.weigh_container()
    return Mapping("collections.defaultdict")


def _new_default_dict(machine: Machine, arguments: tuple[object, ...]) -> object:  # noqa: ARG001 - its `__new__` ignores them too
    machine.weigh_container()
    return Mapping("collections.defaultdict")


def _tensor(machine: Machine, arguments: tuple[object, ...]) -> ViewRef:
    """`_rebuild_tensor(storage, offset, size, stride)`."""
    if len(arguments) != 4:
        raise _wrong_number(machine)
    storage, offset, shape, strides = arguments
    return view_of(machine, storage, offset, shape, strides)


def _tensor_v2(machine: Machine, arguments: tuple[object, ...]) -> ViewRef:
    """`_rebuild_tensor_v2`: those four, requires_grad, hooks, and flags or nothing."""
    if len(arguments) not in (6, 7):
        raise _wrong_number(machine)
    storage, offset, shape, strides, gradient = arguments[:5]
    view = view_of(machine, storage, offset, shape, strides)
    if gradient is not False:
        _check_gradient(machine, gradient, view.dtype)
    if len(arguments) == 7:
        _refuse_lazy(machine, arguments[6])
    return view


def _tensor_v3(machine: Machine, arguments: tuple[object, ...]) -> ViewRef | UnknownTensor:
    """`_rebuild_tensor_v3`: as v2, with a dtype before the flags."""
    if len(arguments) not in (7, 8):
        raise _wrong_number(machine)
    name = arguments[6]
    module, _, short = name.path.rpartition(".") if isinstance(name, Global) else ("", "", "")
    dtype = TORCH_DTYPES.get(short) if module == "torch" else None
    if dtype is None:
        return UnknownTensor(kind_of(name), arguments[0])
    storage, offset, shape, strides, gradient = arguments[:5]
    view = view_of(machine, storage, offset, shape, strides, dtype)
    _check_gradient(machine, gradient, dtype)
    if gradient:
        machine.note_refused("_rebuild_tensor_v3 with requires_grad, which no torch loads")
    if len(arguments) == 8:
        _refuse_lazy(machine, arguments[7])
    return view


def _npu_tensor(machine: Machine, arguments: tuple[object, ...]) -> ViewRef:
    """torch_npu's rebuild: the six arguments of v2, and the format that the device had it in."""
    if len(arguments) != 7:
        raise _wrong_number(machine)
    return _tensor_v2(machine, arguments[:6])


def _device_tensor(machine: Machine, arguments: tuple[object, ...]) -> object:
    """A tensor of another device, saved as one of the CPU: that one, unless it would be changed."""
    if len(arguments) != 4:
        raise _wrong_number(machine)
    tensor, name, device, gradient = arguments
    if not isinstance(tensor, ViewRef):
        return Opaque("torch._utils._rebuild_device_tensor_from_cpu_tensor", [arguments], True)
    dtype = TORCH_DTYPES.get(name.path.removeprefix("torch.")) if isinstance(name, Global) else None
    if dtype is not tensor.dtype or device == "meta":
        return Opaque("torch._utils._rebuild_device_tensor_from_cpu_tensor", [arguments], True)
    _check_gradient(machine, gradient, tensor.dtype)
    return tensor


def _wrong_number(machine: Machine) -> PickleFaultError:
    return machine.fault("a tensor is rebuilt from a wrong number of arguments")


def _check_gradient(machine: Machine, value: object, dtype: Dtype) -> None:
    if value is not False and (value is not True or dtype.name in _WHOLE_NUMBERS):
        raise machine.fault("a tensor's requires_grad is not one that torch takes")


def _refuse_lazy(machine: Machine, flags: object) -> None:
    """`conj` and `neg` change the values on loading: dropping them would be silent damage.

    Torch looks for the keys and not at their values: `{"conj": False}` conjugates.
    """
    if flags is None:
        return
    if not isinstance(flags, Mapping) or len(flags.items) > MAX_FLAGS:
        raise machine.fault("a tensor's flags are malformed")
    if flags.items:
        pending = ", ".join(escape(str(name)[:100]) for name in flags.items)
        raise PickleFaultError(
            f"a tensor is changed when it is loaded ({pending})",
            machine.offset,
            hint="resolve it in torch (`resolve_conj()`, `resolve_neg()`) and save the checkpoint "
            "again",
        )


def _parameter(machine: Machine, arguments: tuple[object, ...]) -> object:
    """`_rebuild_parameter(data, requires_grad, hooks)`."""
    if len(arguments) != 3:
        raise machine.fault("a parameter is rebuilt from a wrong number of arguments")
    return _as_parameter(machine, arguments[0], arguments[1])


def _parameter_with_state(machine: Machine, arguments: tuple[object, ...]) -> object:
    """`_rebuild_parameter_with_state`: those three, and attributes."""
    if len(arguments) != 4:
        raise machine.fault("a parameter is rebuilt from a wrong number of arguments")
    tensor = _as_parameter(machine, arguments[0], arguments[1])
    return _with_attributes(machine, tensor, arguments[3])


def _as_parameter(machine: Machine, tensor: object, gradient: object) -> object:
    """The tensor itself: that it is a parameter says nothing about its bytes."""
    if isinstance(tensor, EmptyTensor) and tensor.view is not None:
        tensor = tensor.view
    if not _may_be_tensor(tensor):
        raise machine.fault("a parameter without a tensor")
    _check_gradient(machine, gradient, tensor.dtype if isinstance(tensor, ViewRef) else _FLOAT)
    return tensor


def _may_be_tensor(value: object) -> bool:
    """Whether a value is a tensor, or an object of a class that is not known here."""
    if isinstance(value, Opaque):
        return is_tensor_kind(value.kind) or bool(unsafe((value.kind,)))
    return isinstance(value, ViewRef | UnknownTensor)


def _with_attributes(machine: Machine, tensor: object, state: object) -> object:
    """The tensor; where its attributes hold tensors too, an object that is only named."""
    values = attributes_of(machine, state)
    if any(isinstance(value, (*TENSORS, Mapping, Sequence, tuple, Opaque)) for value in values):
        return TensorWithAttributes.of(tensor, values)
    return tensor


class TensorWithAttributes(Opaque):
    """A tensor whose own attributes are more than plain values.

    It is read as that tensor if they hold no tensors.
    """

    __slots__ = ()

    @classmethod
    def of(cls, tensor: object, values: list[object]) -> TensorWithAttributes:
        """The tensor is the first part, the attributes' values are the others."""
        return cls("torch.Tensor with tensors as attributes", [tensor, *values], True)


def _from_type(machine: Machine, arguments: tuple[object, ...]) -> object:
    """A tensor with attributes: `(function, type, arguments, state)`.

    Only plain types are known.
    """
    if len(arguments) != 4 or not isinstance(inner := arguments[2], tuple):
        raise machine.fault("a tensor with attributes is malformed")
    function, kind, _, state = arguments
    if not isinstance(kind, Global) or kind.path not in ("torch.Tensor", PARAMETER):
        return Opaque(kind_of(kind), [arguments], True)
    if isinstance(function, Global) and function.path == _FROM_TYPE:
        raise machine.fault("a tensor with attributes is made of another one")
    tensor = machine.call(function, inner)
    if not _may_be_tensor(tensor):
        raise machine.fault("a tensor with attributes is made of something that is not a tensor")
    return _with_attributes(machine, tensor, state)


def _new_parameter(machine: Machine, arguments: tuple[object, ...]) -> object:
    """`Parameter(data=None, requires_grad=True)`."""
    if not arguments:
        return EmptyTensor(PARAMETER, _FLOAT)
    if len(arguments) > 2:
        raise machine.fault("a parameter is rebuilt from a wrong number of arguments")
    return _as_parameter(machine, arguments[0], arguments[1] if len(arguments) == 2 else True)


def _legacy_tensor(path: str, dtype: Dtype) -> Calls:
    """The constructor of a tensor class.

    It makes an empty tensor, to be filled by BUILD; or shares another one.
    """

    def make(machine: Machine, arguments: tuple[object, ...]) -> object:
        if not arguments:
            return EmptyTensor(path, dtype)
        tensor = arguments[0]
        if len(arguments) == 1 and isinstance(tensor, ViewRef) and tensor.dtype is dtype:
            return tensor
        return machine.unknown(Global(path), arguments)

    return {path: make}


def _size(machine: Machine, arguments: tuple[object, ...]) -> object:
    sizes = arguments[0] if len(arguments) == 1 else None
    if not isinstance(sizes, tuple) or not all(map(is_size, sizes)):
        raise machine.fault("a torch.Size of something other than sizes")
    return sizes


def _encode(machine: Machine, arguments: tuple[object, ...]) -> object:
    """`_codecs.encode(text, "latin1")`: bytes, as protocol 2 and older write them."""
    if len(arguments) == 2 and isinstance(arguments[0], str) and arguments[1] == "latin1":
        machine.spend(len(arguments[0]))
        return arguments[0].encode("latin-1")
    return Opaque("_codecs.encode", [arguments])


_TENSOR_CLASSES: Calls = {}
for _name, _dtype in TENSOR_CLASSES.items():
    for _module in ("torch", "torch.cuda"):
        _TENSOR_CLASSES |= _legacy_tensor(f"{_module}.{_name}", _dtype)

_CALLS: Calls = {
    _ORDERED_DICT: _ordered_dict,
    "collections.defaultdict": _default_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _device_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter_with_state,
    "torch_npu.utils.storage._rebuild_npu_tensor": _npu_tensor,
    _FROM_TYPE: _from_type,
    PARAMETER: _new_parameter,
    "torch.Size": _size,
    "_codecs.encode": _encode,
    **_TENSOR_CLASSES,
}
#: Constructors without `__init__`: what NEWOBJ calls.
_NEWS: Calls = {
    _ORDERED_DICT: _new_ordered_dict,
    "collections.defaultdict": _new_default_dict,
    PARAMETER: _new_parameter,
    **_TENSOR_CLASSES,
}


def dialect(storage_of: StorageOf) -> Dialect:
    """Torch's pickles; `storage_of` reads the persistent ids of one kind of file."""
    return Dialect(_CALLS, _NEWS, storage_of, build, allocated)
