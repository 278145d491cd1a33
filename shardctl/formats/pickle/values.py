"""The inert values that a pickle is read into: what is named, never imported; what would be built, never called.

What is made for each tensor has `Final` fields in place of a frozen class, as in `model`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from shardctl.model import Dtype


class PickleFaultError(Exception):
    """What is wrong with a pickle, and at which byte of it. Turned into a finding by the reader."""

    def __init__(
        self, message: str, offset: int, hint: str = "save the checkpoint again with torch.save"
    ) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


class PickleCutShortError(PickleFaultError):
    """The bytes end within the pickle: there may be more of it where they came from."""


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """A name that real unpickling would import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """Something that real unpickling would build, and that is only named here."""

    kind: str


@dataclass(slots=True, eq=False)
class StorageRef:
    """A storage as a persistent id names it. `nbytes` is its length; `offset` (bytes) that of a legacy view of it.

    `kind` is the type of its elements; torch takes an untyped storage, which has none, for one of
    uint8.
    """

    key: Final[str]
    dtype: Final[Dtype | None]
    nbytes: Final[int]
    kind: Final[str]
    offset: Final[int] = 0


@dataclass(slots=True, eq=False)
class ViewRef:
    """A tensor: `offset`, `shape` and `strides` in elements; `strides` None where it is contiguous."""

    storage: Final[StorageRef]
    dtype: Final[Dtype]
    offset: Final[int]
    shape: Final[tuple[int, ...]]
    strides: Final[tuple[int, ...] | None]


@dataclass(frozen=True, slots=True, eq=False)
class UnknownTensor:
    """A tensor of an element type that nothing here knows; `dtype` is the pickle's own name of it."""

    dtype: str


@dataclass(slots=True, eq=False)
class Mapping:
    """A dict (or OrderedDict) in the order of its items."""

    items: dict[object, object] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Sequence:
    """A list, tuple or set; `kind` says which."""

    kind: str
    items: list[object] = field(default_factory=list)
