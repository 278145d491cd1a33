"""Builds torch's legacy files by hand, so that any part of one can be wrong."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
SYSTEM = {
    "protocol_version": PROTOCOL,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}


class _Name:
    """Pickled as the name of a global, without importing it."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name


class _Storage:
    def __init__(self, pid: object) -> None:
        self.pid = pid


class _View:
    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...]) -> None:
        self.arguments: tuple[object, ...] = (storage, offset, shape, _strides(shape), False, {})


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


class _Pickler(pickle._Pickler):
    """The pickler in Python, since that in C refuses names that do not exist here."""

    write: Callable[[bytes], object]  # set by the base class; its type hints leave this out

    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, _Storage) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Name):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, _View):
            self.save(_Name("torch._utils", "_rebuild_tensor_v2"))
            self.save(obj.arguments)
            self.write(b"R")
        else:
            super().save(obj, save_persistent_id)  # type: ignore[misc] # not in the type hints


def dump(value: object) -> bytes:
    """The pickle of a value that may hold names and storages."""
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump(value)
    return buffer.getvalue()


def legacy(
    *,
    storages: Mapping[str, Sequence[float]] | Mapping[str, range],
    tensors: Mapping[str, tuple[str, object, int, tuple[int, ...]]],
    magic: object = MAGIC,
    protocol: object = PROTOCOL,
    system: object = SYSTEM,
    keys: object = None,
    root: bytes | None = None,
    counts: Mapping[str, int] | None = None,
) -> bytes:
    """A file of float32 storages; each tensor is (storage key, view metadata, offset, shape).

    The other arguments put something else in place of a part; `counts` are false numbers of
    elements.
    """
    kind = _Name("torch", "FloatStorage")
    views = {
        name: _View(
            _Storage(("storage", kind, key, "cpu", len(storages[key]), view)), offset, shape
        )
        for name, (key, view, offset, shape) in tensors.items()
    }
    listed = list(storages) if keys is None else keys
    parts = [
        dump(magic),
        dump(protocol),
        dump(system),
        dump(views) if root is None else root,
        dump(listed),
    ]
    for key, values in storages.items():
        parts += [struct.pack("<q", (counts or {}).get(key, len(values))), _floats(values)]
    return b"".join(parts)


def _floats(values: Iterable[float]) -> bytes:
    return b"".join(struct.pack("<f", value) for value in values)
