"""BUILD in torch's pickles: what an object's state may be, and which objects may be given one.

Giving a state to a tensor, or to an object that may be one, would change values that are read
elsewhere: that is refused. Source: `Tensor.__setstate__` and `_set_obj_state` of torch 2.13.
"""

from __future__ import annotations

from collections import OrderedDict

from shardctl.formats.pickle.machine import Machine
from shardctl.formats.pickle.values import (
    EmptyTensor,
    Mapping,
    Opaque,
    ViewRef,
)
from shardctl.formats.torch.calls.views import view_of
from shardctl.formats.torch.weights_only import unsafe

#: Attributes of a tensor that cannot be set, or that change its values when they are.
RESERVED_ATTRIBUTES = frozenset(
    {
        "T", "H", "mT", "mH", "_cdata", "_version", "grad_fn", "_grad_fn", "is_leaf",
        "retains_grad", "data", "_grad", "grad", "_base", "volatile", "output_nr",
        "requires_grad", "_backward_hooks", "_post_accumulate_grad_hooks", "name", "shape",
        "is_cuda", "is_mtia", "is_cpu", "is_xla", "is_xpu", "is_ipu", "is_sparse",
        "is_sparse_csr", "is_mkldnn", "is_mps", "is_maia", "is_vulkan", "is_quantized",
        "is_meta", "is_nested", "_has_symbolic_sizes_strides", "_python_dispatch", "dtype",
        "layout", "device", "ndim", "nbytes", "itemsize", "real", "imag", "grad_dtype",
    }
)  # fmt: skip
PARAMETER = "torch.nn.parameter.Parameter"
_METHODS = frozenset(dir(OrderedDict))


def build(machine: Machine, target: object, state: object) -> None:
    """Give `target` its state.

    Raises PickleFaultError for what torch refuses, or what changes a tensor.
    """
    if isinstance(target, Opaque):
        if target.shares_tensor:
            raise machine.fault(f"BUILD on a {target.kind} that holds a tensor")
        if not unsafe((target.kind,)) and target.kind != "collections.Counter":
            raise machine.fault(f"BUILD on a {target.kind}, which has no state")
        target.parts.append(state)
    elif isinstance(target, EmptyTensor):
        _fill(machine, target, state)
    elif isinstance(target, ViewRef) and isinstance(state, tuple) and len(state) == 3:
        _check_flags(machine, state)
    elif isinstance(target, Mapping) and target.kind == "collections.OrderedDict":
        _set_attributes(machine, target, state)
    else:
        raise machine.fault("BUILD on a value that has no state")


def _check_flags(machine: Machine, state: tuple[object, ...]) -> None:
    """`(requires_grad, volatile, hooks)`: the state of a parameter of torch 0.3.

    It leaves the parameter's values alone.
    """
    if not isinstance(state[0], bool) or not isinstance(state[2], Mapping | None):
        raise machine.fault("BUILD gives a tensor other values")


def _set_attributes(machine: Machine, target: Mapping, state: object) -> None:
    """The attributes of an OrderedDict, such as the `_metadata` of a state dict."""
    if not isinstance(state, Mapping):
        raise machine.fault("the attributes of an OrderedDict are not a dict")
    for name in state.items:
        if not isinstance(name, str) or name in _METHODS:
            raise machine.fault("an attribute of an OrderedDict replaces a method, or is not text")
    if state.items:
        target.attributes = [*(target.attributes or ()), state]


def _fill(machine: Machine, target: EmptyTensor, state: object) -> None:
    """The state of a tensor of torch 0.3.

    It is `(storage, offset, size, strides)`, or a Variable's five.
    """
    if target.view is not None or not isinstance(state, tuple):
        raise machine.fault("the state of a tensor is malformed, or is given twice")
    view: ViewRef | None = None
    parameter = target.kind == PARAMETER
    if len(state) == 4 and not parameter:
        view = view_of(machine, *state[:4])
    elif len(state) == 5 and isinstance(state[0], ViewRef | EmptyTensor):
        if not parameter:
            machine.note_refused("BUILD with the state of a Variable")
        view = state[0].view if isinstance(state[0], EmptyTensor) else state[0]
    if view is None or view.dtype is not target.dtype:
        raise machine.fault("the state of a tensor is malformed, or of another type")
    target.view = view


def attributes_of(machine: Machine, state: object) -> list[object]:
    """The values of a tensor's own attributes, which are left out.

    Raises PickleFaultError for those that torch refuses.
    """
    values: list[object] = []
    for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
        if part is None:
            continue
        if not isinstance(part, Mapping):
            raise machine.fault("a tensor's attributes are not a dict")
        for name in part.items:
            if not isinstance(name, str) or name in RESERVED_ATTRIBUTES or name[:2] == "__":
                raise machine.fault(
                    "an attribute of a tensor gives it other values, or is not text"
                )
        values.extend(part.items.values())
    return values
