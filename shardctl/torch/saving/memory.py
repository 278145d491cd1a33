"""The memory of tensors as bytes, and as a store: a state dict is read like a file.

All storages are ranges of one file, in the order in which they are first used, with gaps in
between. The bytes of a CPU tensor are not copied; those of another device pass through a buffer of
the size that is asked for.
"""

from __future__ import annotations

import bisect
import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from shardctl.errors import MissingError, StorageError
from shardctl.model import Extent, Version
from shardctl.stores.base import Entry, EntryKind, Reader, Writer
from shardctl.stores.closing import Closing

#: The name of the file that the storages are ranges of.
WEIGHTS = "state_dict"
#: Storages begin at multiples of so many bytes, as in torch's files.
_ALIGNMENT = 64
_READ, _WRITE = 0x100, 0x200  # PyBUF_READ and PyBUF_WRITE of CPython's object.h

_view = ctypes.pythonapi.PyMemoryView_FromMemory
_view.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)
_view.restype = ctypes.py_object


def memory_of(storage: torch.UntypedStorage, offset: int, length: int) -> memoryview:
    """Return bytes of a CPU storage, to be read. They are valid as long as the storage lives."""
    view: memoryview = _view(storage.data_ptr() + offset, length, _READ)
    return view


def writable_memory(tensor: torch.Tensor) -> memoryview:
    """Return the bytes of a contiguous CPU tensor, valid as long as the tensor lives."""
    view: memoryview = _view(tensor.data_ptr(), tensor.nbytes, _WRITE)
    return view


@dataclass(slots=True)
class Storages:
    """The storages of a state dict, each once, and the range of the file that each one has."""

    _found: list[torch.UntypedStorage] = field(default_factory=list)
    _begins: list[int] = field(default_factory=list)
    _numbers: dict[tuple[str, int, int], int] = field(default_factory=dict)
    nbytes: int = 0

    def add(self, storage: torch.UntypedStorage) -> tuple[int, Extent]:
        """Return the number of a storage and its range; equal for tensors that share it."""
        nbytes = storage.nbytes()
        # Empty storages have no memory by which to tell them apart.
        identity = (str(storage.device), storage.data_ptr(), nbytes)
        number = self._numbers.get(identity) if nbytes else None
        if number is None:
            number = len(self._found)
            self._numbers[identity] = number
            self._found.append(storage)
            self._begins.append(self.nbytes)
            end = self.nbytes + nbytes
            # At least a byte of a gap, so that no copy reaches from one storage into the next.
            self.nbytes = end + _ALIGNMENT - end % _ALIGNMENT
        return number, Extent(WEIGHTS, self._begins[number], nbytes)

    def view(self, offset: int, length: int) -> memoryview:
        """Return bytes of one storage, by their place in the file."""
        number = bisect.bisect_right(self._begins, offset) - 1
        storage, begin = self._found[number], offset - self._begins[number]
        if begin + length > storage.nbytes():
            raise StorageError(
                "the memory of a tensor was freed while it was saved",
                hint="keep the state dict as it is until it is saved",
                file=WEIGHTS,
                offset=offset,
            )
        if storage.device.type == "cpu":
            return memory_of(storage, begin, length)
        return from_device(storage, begin, length)


def from_device(storage: torch.UntypedStorage, begin: int, length: int) -> memoryview:
    """Return a copy of bytes that are not in the memory of the CPU."""
    buffer = bytearray(length)
    if length:
        flat = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
        torch.frombuffer(buffer, dtype=torch.uint8).copy_(flat[begin : begin + length])
    return memoryview(buffer)


class StoragesReader(Closing):
    """The file of the storages, open."""

    path = WEIGHTS

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self.version = Version(storages.nbytes, "")

    def read(self, offset: int, length: int) -> bytes:
        """Return a copy of bytes of one storage."""
        return bytes(self.view(offset, length))

    def view(self, offset: int, length: int) -> memoryview:
        """Return bytes of one storage."""
        return self._storages.view(offset, length)

    def current(self) -> Version:
        """Return the version, which says nothing about the contents."""
        return self.version

    def will_stream(self) -> None:
        """Do nothing: memory needs no hint."""


class BytesReader(Closing):
    """A small file that is made here, such as a config."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self._data = data
        self.version = Version(len(data), "")

    def read(self, offset: int, length: int) -> bytes:
        """Return some of the bytes."""
        return self._data[offset : offset + length]

    def current(self) -> Version:
        """Return the version, which says nothing about the contents."""
        return self.version

    def will_stream(self) -> None:
        """Do nothing: memory needs no hint."""


class MemoryOfModel:
    """A store with one directory, "", that holds the file of the storages and companion files.

    It is only read. `list` shows the companions alone: the storages are not a file to copy.
    """

    def __init__(self, storages: Storages, companions: Mapping[str, bytes]) -> None:
        self._storages = storages
        self._companions = companions

    def join(self, directory: str, *names: str) -> str:
        """Return the path of a name."""
        return "/".join(filter(None, (directory, *names)))

    def split(self, path: str) -> tuple[str, str]:
        """Return the directory and the last name of a path."""
        directory, _, name = path.rpartition("/")
        return directory, name

    def same(self, one: str, other: str) -> bool:
        """Whether two paths are one, and lead to something."""
        return one == other and self.kind(one) is not None

    def kind(self, path: str) -> EntryKind | None:
        """Return `file`, `directory`, or None where there is neither."""
        if path == WEIGHTS or path in self._companions:
            return "file"
        return "directory" if path == "" else None

    def version(self, path: str) -> Version:
        """Return the version of a file."""
        return self.open(path).version

    def list(self, directory: str) -> list[Entry]:  # noqa: ARG002 - there is only one
        """Return the companion files, sorted."""
        return [
            Entry(name, "file", None, len(data)) for name, data in sorted(self._companions.items())
        ]

    def open(self, path: str) -> Reader:
        """Open a file; raises MissingError."""
        if path == WEIGHTS:
            return StoragesReader(self._storages)
        if path in self._companions:
            return BytesReader(path, self._companions[path])
        raise MissingError(f"'{path}' does not exist", hint="check the path", file=path)

    def create(self, path: str, nbytes: int) -> Writer:  # noqa: ARG002 - nothing can be written
        """Raise StorageError: the store is only read."""
        raise _only_read(path)

    def make_directory(self, path: str) -> None:
        """Raise StorageError: the store is only read."""
        raise _only_read(path)

    def rename(self, old: str, new: str) -> None:  # noqa: ARG002 - (the same)
        """Raise StorageError: the store is only read."""
        raise _only_read(old)

    def remove(self, path: str) -> None:
        """Raise StorageError: the store is only read."""
        raise _only_read(path)


def _only_read(path: str) -> StorageError:
    return StorageError(
        f"'{path}' is memory of a model, which is only read",
        hint="write to a directory",
        file=path,
    )
