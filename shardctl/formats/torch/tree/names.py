"""What the entries of a pickle's tree are called, where their keys are not texts or read alike."""

from __future__ import annotations

from typing import Any

from shardctl.formats.pickle.objects import kind_of
from shardctl.formats.pickle.values import (
    Global,
    Mapping,
    Opaque,
    Sequence,
    StorageRef,
    UnknownTensor,
    ViewRef,
)
from shardctl.model import MadeName


def name_of(key: object, holder: Mapping | Sequence | tuple[object, ...]) -> str:
    """What an item is called. The places of a list are its names; of a dict, only texts are."""
    if isinstance(key, str):
        return key
    return MadeName(key_text(key)) if isinstance(holder, Mapping) else str(key)


def apart(tree: dict[str, Any], text: str, key: object) -> str:
    """Another name for one of two entries whose keys read alike, as 1 and "1" do.

    A text keeps its name.
    """
    other = MadeName(f"{text} (2)")
    number = 2
    while other in tree:
        number += 1
        other = MadeName(f"{text} ({number})")
    if isinstance(key, str):
        tree[other] = tree.pop(text)
        return text
    return other


def key_text(key: object) -> str:
    """The text of a key that is not one."""
    if isinstance(key, tuple):
        return f"({', '.join(map(key_text, key))})"
    if isinstance(key, Global | Opaque | Sequence | StorageRef | ViewRef | UnknownTensor):
        return f"<{kind_of(key)}>"
    return str(key)
