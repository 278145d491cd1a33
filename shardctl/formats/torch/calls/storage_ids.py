"""Torch's persistent ids: each names a storage.

Source: `persistent_load` in torch/serialization.py of torch 2.13, of its zip and its legacy files.
"""

from __future__ import annotations

from shardctl.formats.pickle.machine import Machine
from shardctl.formats.pickle.values import Global, PickleFaultError, StorageRef
from shardctl.formats.torch.calls.types import QUANTIZED_STORAGES, TYPED_STORAGES
from shardctl.formats.torch.calls.views import is_size
from shardctl.model import Dtype
from shardctl.text import escape

#: The kind of a storage whose elements have no type.
UNTYPED = "UntypedStorage"
#: Storage class → the dtype, where shardctl has it; the bytes of an element; torch's name.
_CLASSES: dict[str, tuple[Dtype | None, int, str]] = {
    "torch.storage.UntypedStorage": (None, 1, UNTYPED),
    "torch.UntypedStorage": (None, 1, UNTYPED),
}
for _module in ("torch", "torch.cuda"):
    for _name, _dtype in TYPED_STORAGES.items():
        _CLASSES[f"{_module}.{_name}"] = (_dtype, _dtype.itemsize, _name)
    for _name, _width in QUANTIZED_STORAGES.items():
        _CLASSES[f"{_module}.{_name}"] = (None, _width, _name)


def storage_of_zip(machine: Machine, value: object) -> tuple[StorageRef, StorageRef]:
    """The storage of a persistent id: `("storage", type, key, location, numel)`."""
    whole, _, more = _storage(machine, value)
    if more:
        raise machine.fault("a persistent id has items that torch's zip files do not have")
    return whole, whole


def storage_of_legacy(machine: Machine, value: object) -> tuple[StorageRef, StorageRef]:
    """The storage of a legacy persistent id, and the part of it that is meant.

    A sixth item names that part, unless it is None.
    """
    whole, width, more = _storage(machine, value)
    if len(more) != 1:
        raise machine.fault("a persistent id does not have the items of torch's legacy files")
    _take_key(machine, whole.key, (whole.key, None))
    if more[0] is None:
        return whole, whole
    return whole, _view_of(machine, whole, more[0], width)


def _storage(machine: Machine, value: object) -> tuple[StorageRef, int, tuple[object, ...]]:
    """The storage, the bytes of its elements, and the items after the five that all files have."""
    if isinstance(value, tuple) and value and value[0] == "module":
        raise PickleFaultError(
            "the file holds a whole model, not a state dict",
            machine.offset,
            hint="where it was made, save `model.state_dict()` instead of the model",
        )
    if not isinstance(value, tuple) or len(value) < 5 or value[0] != "storage":
        raise machine.fault("a persistent id is not that of a storage")
    _, kind, key, location, numel = value[:5]
    if not isinstance(kind, Global) or type(key) is not str or type(location) is not str:
        raise machine.fault("a persistent id is malformed")
    if not is_size(numel):
        raise machine.fault("a persistent id is malformed: the storage has no valid length")
    known = _CLASSES.get(kind.path)
    if known is None:
        raise machine.fault(f"{kind.path} is not a storage of numbers")
    dtype, width, name = known
    return StorageRef(key, dtype, numel * width, name, 0, location), width, value[5:]


def _view_of(machine: Machine, whole: StorageRef, metadata: object, width: int) -> StorageRef:
    """A legacy storage that is a part of another: (key, offset, size) in elements."""
    if not isinstance(metadata, tuple) or len(metadata) != 3:
        raise machine.fault("the view of a storage is malformed")
    key, offset, size = metadata
    if type(key) is not str or not is_size(offset) or not is_size(size):
        raise machine.fault("the view of a storage is malformed")
    if (offset + size) * width > whole.nbytes:
        raise machine.fault("the view of a storage lies outside it")
    _take_key(machine, key, (whole.key, offset * width, size * width, whole.kind))
    return StorageRef(
        whole.key, whole.dtype, size * width, whole.kind, offset * width, whole.location
    )


def _take_key(machine: Machine, key: str, meaning: tuple[object, ...]) -> None:
    """Note what a key means.

    Torch keeps storages and views in one dict, and the first one counts.
    """
    if machine.notes.setdefault(key, meaning) != meaning:
        raise machine.fault(f"the key '{escape(key[:100])}' names two different storages or views")
