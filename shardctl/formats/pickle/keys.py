"""The keys of dictionaries: two that Python takes for equal are one key here too.

Python hashes numbers to themselves, so a pickle could choose keys that all collide. Texts cannot be
chosen so, and a number is compared by its text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from shardctl.formats.limits import MAX_KEY_PARTS
from shardctl.formats.pickle.values import TENSORS, Global, Opaque, Sequence, StorageRef

#: Objects that Python does not take as keys.
_UNHASHABLE = frozenset(
    {
        "builtins.bytearray",
        "__builtin__.bytearray",
        "builtins.set",
        "__builtin__.set",
        "collections.Counter",
    }
)


class KeyRefusedError(Exception):
    """The value cannot be the key of a dictionary; the message says why."""


@dataclass(frozen=True, slots=True)
class NumberKey:
    """A number as a key: `canonical` is equal for numbers that Python takes for equal."""

    canonical: str
    shown: str = field(compare=False)

    def __str__(self) -> str:
        return self.shown


def key_of(value: object) -> object:
    """The value as a key that is cheap and safe to compare; raises KeyRefusedError."""
    return _key(value, MAX_KEY_PARTS)


def _key(value: object, parts: int) -> object:
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, tuple):
        if len(value) > parts:
            raise KeyRefusedError(f"a dict key of {len(value):,} parts")
        return tuple(_key(part, parts // 2) for part in value)
    if isinstance(value, Opaque):
        if value.kind in _UNHASHABLE:
            raise KeyRefusedError(f"a dict key is a {value.kind}")
        return value
    if value is None or isinstance(value, (str, bytes, Global, StorageRef, *TENSORS)):
        return value
    if isinstance(value, Sequence) and value.kind == "frozenset":
        return value
    raise KeyRefusedError("a dict key is a container")


def _number(value: float) -> NumberKey | Opaque:
    if isinstance(value, float):
        if math.isnan(value):
            return Opaque("builtins.float")  # equal to no other key
        canonical = str(int(value)) if value.is_integer() else repr(value)
    else:
        canonical = str(int(value))  # True is 1
    shown = canonical if type(value) is int else str(value)
    return NumberKey(canonical, shown)
