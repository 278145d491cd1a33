"""Objects that are only named: what calling something would give, and what it would be made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeGuard

from shardctl.formats.pickle.values import TENSORS, Global, Mapping, Opaque, Sequence, StorageRef

#: Functions of the standard library that make an object of the class that is their first argument.
_MAKERS = frozenset(
    {
        "copyreg._reconstructor",
        "copy_reg._reconstructor",
        "copyreg.__newobj__",
        "copyreg.__newobj_ex__",
        "torch._utils._rebuild_wrapper_subclass",
    }
)
#: How deep arguments are searched for a tensor that the result may be.
_DEPTH = 3


def constructed(function: object, arguments: tuple[object, ...]) -> Opaque | None:
    """What calling `function` gives; None where it cannot be called."""
    if not isinstance(function, Global | Opaque):
        return None
    kind = kind_of(function)
    if kind in _MAKERS and arguments and isinstance(arguments[0], Global):
        kind = kind_of(arguments[0])
    parts: list[object] = [] if not arguments else [arguments]
    if isinstance(function, Opaque):
        parts.append(function)
    return Opaque(kind, parts, any(_may_be_tensor(part, _DEPTH) for part in parts))


def _may_be_tensor(value: object, depth: int) -> bool:
    """Whether an object that is made of this value could be, or change, a tensor that is read."""
    if isinstance(value, (*TENSORS, StorageRef)):
        return True
    if isinstance(value, Opaque):
        return value.shares_tensor
    if isinstance(value, tuple) and depth:
        return any(_may_be_tensor(part, depth - 1) for part in value[:_SHOWN_ARGUMENTS])
    return False


#: No known constructor takes a tensor after so many others.
_SHOWN_ARGUMENTS = 16


def takes_items(target: object) -> TypeGuard[Opaque]:
    """Whether items can be set on, or appended to, an object.

    They cannot where that would change a tensor that is read.
    """
    return isinstance(target, Opaque) and not target.shares_tensor


def kind_of(value: object) -> str:
    """What a value is, or what calling it gives, as `module.name`."""
    if isinstance(value, Opaque | Mapping):
        return value.kind
    if isinstance(value, Global):
        return value.path
    if isinstance(value, Sequence):
        return f"builtins.{value.kind}"
    if isinstance(value, StorageRef):
        return "torch.storage.TypedStorage"
    if isinstance(value, TENSORS):
        return "torch.Tensor"
    return _BUILTINS[type(value)]


#: Names of the other values' types; made once, since every entry that is not a tensor has one.
_BUILTINS: dict[type, str] = {
    kind: f"builtins.{kind.__name__}" for kind in (str, bytes, int, float, bool, tuple, type(None))
}


def fields_of(value: object) -> dict[object, object]:
    """Return the attributes of an object; none where it has none."""
    found = list(dicts_in(value.parts)) if isinstance(value, Opaque) else []
    return found[0] if len(found) == 1 else {}


def dicts_in(parts: Iterable[object]) -> Iterator[dict[object, object]]:
    """Yield the dicts among the parts of an object, and in the pairs of states among them."""
    for part in parts:
        for each in part if isinstance(part, tuple) else (part,):
            if isinstance(each, Mapping):
                yield each.items
