"""Which objects of a pickle hold tensors: none of those may count as "not a tensor".

A DTensor, a quantised tensor or a whole model is only named here, but the storages that it is made
of are known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from shardctl.formats.pickle.values import (
    TENSORS,
    EmptyTensor,
    Mapping,
    Opaque,
    Sequence,
    StorageRef,
    UnknownTensor,
    ViewRef,
)
from shardctl.formats.torch.calls.types import TENSOR_CLASSES

#: Kinds that are tensors or arrays though they may hold no storage: those without data, and those
#: whose data is in the pickle itself.
_TENSOR_KINDS = re.compile(
    r"torch\._utils\._rebuild_.*|torch\._tensor\._rebuild_.*|torch\.tensor\._rebuild_.*"
    r"|torch\.storage\._load_from_bytes|torch(?:\.cuda)?(?:\.sparse)?\.[A-Z][A-Za-z0-9]*(?:Tensor|Storage)"
    r"|torch\.storage\.(?:Untyped|Typed)Storage|torch\.nested\..*|torch\.distributed\.tensor\.DTensor"
    r"|numpy\.(?:core|_core)\.(?:multiarray\._reconstruct|numeric\._frombuffer)|numpy\.ndarray"
    r"|jax\._src\.array\..*|tensorflow\..*Tensor"
)
_CLASSES = frozenset(f"torch.{name}" for name in TENSOR_CLASSES)


def is_tensor_kind(kind: str) -> bool:
    """Whether an object of this kind is a tensor or an array by its name alone."""
    return kind in _CLASSES or _TENSOR_KINDS.fullmatch(kind) is not None


#: Types of values that hold nothing.
_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})


@dataclass(slots=True)
class Held:
    """What an object holds: its storages by key, and whether it is or holds any tensor at all."""

    storages: dict[str, StorageRef] = field(default_factory=dict)
    tensors: bool = False


class Search:
    """Looks for tensors below values.

    Each part without any is looked at once, however often it is used.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._without: set[int] = set()
        #: Every storage that was found below an object.
        self.storages: set[str] = set()

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for was looked at.

        A shared object can take too long.
        """
        return self._steps > 0

    def below(self, value: object) -> Held:
        """What a value holds, itself counted.

        A search that takes too long ends early: the value is taken to hold tensors then.
        """
        held = Held()
        seen: set[int] = set()
        todo = [value]
        while todo:
            part = todo.pop()
            if id(part) in self._without or id(part) in seen:
                continue
            seen.add(id(part))
            parts = _parts(part, held)
            self._steps -= 1 + len(parts)
            if self._steps <= 0:
                held.tensors = True
                return held
            todo.extend(part for part in parts if type(part) not in _PLAIN)
        if held.tensors:
            self.storages |= held.storages.keys()
        else:
            self._without |= seen
        return held


def _parts(part: object, held: Held) -> list[object]:
    """What a value is made of; what it is itself is noted in `held`."""
    if isinstance(part, tuple):
        return list(part)
    if isinstance(part, Sequence):
        return part.items
    if isinstance(part, Mapping):
        return [*part.items, *part.items.values(), *(part.attributes or ())]
    if isinstance(part, Opaque):
        held.tensors = held.tensors or is_tensor_kind(part.kind)
        return part.parts
    if isinstance(part, StorageRef):
        held.storages[part.key] = part
    held.tensors = held.tensors or isinstance(part, (*TENSORS, StorageRef))
    if isinstance(part, EmptyTensor):
        return [part.view]
    return [part.storage] if isinstance(part, ViewRef | UnknownTensor) else []
