"""The inert values that a pickle is read into: nothing is imported, and nothing is called.

What is made for each tensor has `Final` fields in place of a frozen class, as in `model`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from shardctl.model import Dtype

_DEFAULT_HINT = "fetch the file again, or save a plain state dict in the program that made it"


class PickleFaultError(Exception):
    """What is wrong with a pickle, and at which byte of it. Turned into a finding by the reader."""

    def __init__(self, message: str, offset: int, hint: str = _DEFAULT_HINT) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


class PickleCutShortError(PickleFaultError):
    """The bytes end within the pickle: there may be more of it where they came from."""


@dataclass(slots=True, eq=False)
class Global:
    """A name that unpickling would import; `path` is `module.name`."""

    path: Final[str]

    def __str__(self) -> str:
        return self.path


@dataclass(slots=True, eq=False)
class Opaque:
    """An object that unpickling would build, and that is only named here.

    `parts` are the values that it is made of: arguments, state, items. `shares_tensor` says that it
    may be one of the tensors among them, so that changing it changes that tensor.
    """

    kind: Final[str]
    parts: Final[list[object]] = field(default_factory=list)
    shares_tensor: Final[bool] = False


@dataclass(slots=True, eq=False)
class StorageRef:
    """A storage as a persistent id names it; `nbytes` is its length.

    `offset` (bytes) is where a legacy view of it begins. `kind` is the type of its elements; torch
    reads an untyped storage, which has no type, as uint8. `location` is the device that it was
    saved from.
    """

    key: Final[str]
    dtype: Final[Dtype | None]
    nbytes: Final[int]
    kind: Final[str]
    offset: Final[int] = 0
    location: Final[str] = "cpu"


@dataclass(slots=True, eq=False)
class ViewRef:
    """A tensor: `offset`, `shape`, `strides` in elements; `strides` is None if it is contiguous."""

    storage: Final[StorageRef]
    dtype: Final[Dtype]
    offset: Final[int]
    shape: Final[tuple[int, ...]]
    strides: Final[tuple[int, ...] | None]


@dataclass(slots=True, eq=False)
class UnknownTensor:
    """A tensor of an element type that is not known here; `dtype` is the pickle's name of it."""

    dtype: Final[str]
    storage: Final[object] = None


@dataclass(slots=True, eq=False)
class EmptyTensor:
    """A tensor that is made empty and filled later by BUILD, as torch 0.3 and older wrote them.

    `view` is None until then.
    """

    kind: Final[str]
    dtype: Final[Dtype]
    view: ViewRef | None = None


@dataclass(slots=True, eq=False)
class Mapping:
    """A dict, in the order of its items.

    `kind` is its class. `attributes` are those of the object.
    """

    kind: Final[str] = "builtins.dict"
    items: dict[object, object] = field(default_factory=dict)
    attributes: list[object] | None = None


@dataclass(slots=True, eq=False)
class Sequence:
    """A list or set; `kind` says which."""

    kind: Final[str]
    items: list[object] = field(default_factory=list)


#: What an entry of a state dict may be to count as a tensor.
TENSORS = (ViewRef, UnknownTensor, EmptyTensor)
