"""Parameters and tensors with attributes: the tensor itself, or an object that is only named.

Source: `torch/_utils.py`, `torch/_tensor.py` and `torch/nn/parameter.py` of torch 2.13.
"""

from __future__ import annotations

from shardctl.formats.pickle.machine import Calls, Machine
from shardctl.formats.pickle.objects import kind_of
from shardctl.formats.pickle.values import (
    TENSORS,
    EmptyTensor,
    Global,
    Mapping,
    Opaque,
    Sequence,
    UnknownTensor,
    ViewRef,
)
from shardctl.formats.torch.calls.rebuilds import check_gradient
from shardctl.formats.torch.calls.state import PARAMETER, attributes_of
from shardctl.formats.torch.tree.unread import is_tensor_kind
from shardctl.formats.torch.weights_only import unsafe
from shardctl.model import DTYPES

_FLOAT = DTYPES["F32"]
_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"


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
    check_gradient(machine, gradient, tensor.dtype if isinstance(tensor, ViewRef) else _FLOAT)
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


#: The functions that make them, by name, and the constructor that NEWOBJ calls.
PARAMETERS: Calls = {
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter_with_state,
    _FROM_TYPE: _from_type,
    PARAMETER: _new_parameter,
}
PARAMETER_NEWS: Calls = {PARAMETER: _new_parameter}
