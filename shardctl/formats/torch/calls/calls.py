"""What the pickles of torch call, without calling it.

Tensors, parameters and dicts become inert values.

Source: `torch/serialization.py` of torch 2.13, and the sources that `rebuilds` and `parameters`
name.
"""

from __future__ import annotations

from shardctl.formats.pickle.machine import Calls, Dialect, Machine, StorageOf
from shardctl.formats.pickle.values import (
    EmptyTensor,
    Global,
    Mapping,
    Opaque,
    Sequence,
    ViewRef,
)
from shardctl.formats.torch.calls.memory import allocated
from shardctl.formats.torch.calls.parameters import PARAMETER_NEWS, PARAMETERS
from shardctl.formats.torch.calls.rebuilds import REBUILDS
from shardctl.formats.torch.calls.state import build
from shardctl.formats.torch.calls.types import TENSOR_CLASSES
from shardctl.formats.torch.calls.views import is_size
from shardctl.model import Dtype

_ORDERED_DICT = "collections.OrderedDict"


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
    **REBUILDS,
    **PARAMETERS,
    "torch.Size": _size,
    "_codecs.encode": _encode,
    **_TENSOR_CLASSES,
}
#: Constructors without `__init__`: what NEWOBJ calls.
_NEWS: Calls = {
    _ORDERED_DICT: _new_ordered_dict,
    "collections.defaultdict": _new_default_dict,
    **PARAMETER_NEWS,
    **_TENSOR_CLASSES,
}


def dialect(storage_of: StorageOf) -> Dialect:
    """Torch's pickles; `storage_of` reads the persistent ids of one kind of file."""
    return Dialect(_CALLS, _NEWS, storage_of, build, allocated)
