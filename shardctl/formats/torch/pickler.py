"""The few pickle opcodes (protocol 2) that a flat state dict needs.

They are what torch.save writes for a dict of tensors.

Source: `Tensor._reduce_ex_internal` and `_save` of torch 2.13. One tensor under two names is one
memo entry.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shardctl.formats.torch.types import STORAGE_OF, TORCH_NAME_OF
from shardctl.model import Dtype

_PROTO, _STOP = b"\x80\x02", b"."
_EMPTY_DICT, _EMPTY_TUPLE, _MARK = b"}", b")", b"("
_TUPLE, _REDUCE, _PERSID, _SETITEMS, _NEWFALSE = b"t", b"R", b"Q", b"u", b"\x89"
#: Items between two SETITEMS, as pickle's own writer batches them.
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class View:
    """A tensor as a pickle describes it.

    `offset`, `shape` and `strides` count elements as torch does. `shared`: another view may be of
    the same storage, and so be tied to this one.
    """

    name: str
    key: str
    dtype: Dtype
    storage_bytes: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    shared: bool = True

    @property
    def identity(self) -> tuple[object, ...] | None:
        """Equal for views that are one tensor under several names.

        None where it is empty, and tied to nothing.
        """
        if 0 in self.shape:
            return None
        return (self.key, self.dtype.name, self.offset, self.shape, self.strides)


def pickle_state_dict(views: Iterable[View]) -> bytes:
    """The pickle of a dict from names to these tensors."""
    writer = _Writer()
    writer.state_dict(iter(views))
    return bytes(writer.made)


class _Writer:
    def __init__(self) -> None:
        self.made = bytearray()
        self._memo: dict[object, int] = {}
        self._places = 0

    def state_dict(self, views: Iterator[View]) -> None:
        self.made += _PROTO + _EMPTY_DICT
        while some := list(itertools.islice(views, _BATCH)):
            self.made += _MARK
            for view in some:
                self._text(view.name, remember=False)
                self._tensor(view)
            self.made += _SETITEMS
        self.made += _STOP

    def _tensor(self, view: View) -> None:
        identity = view.identity if view.shared else None
        if identity is not None and self._recalled(identity):
            return
        typed = STORAGE_OF.get(view.dtype.name)
        self._global("torch._utils", "_rebuild_tensor_v2" if typed else "_rebuild_tensor_v3")
        self.made += _MARK
        self._storage(view, typed)
        self._int(view.offset)
        self._ints(view.shape)
        self._ints(view.strides)
        self.made += _NEWFALSE  # requires_grad
        self._global("collections", "OrderedDict")  # backward hooks: none
        self.made += _EMPTY_TUPLE + _REDUCE
        if typed is None:
            self._global("torch", TORCH_NAME_OF[view.dtype.name])
        self.made += _TUPLE + _REDUCE
        if 0 not in view.shape:
            self._remember(identity)

    def _storage(self, view: View, typed: str | None) -> None:
        self.made += _MARK
        self._text("storage")
        if typed is None:
            self._global("torch.storage", "UntypedStorage")
        else:
            self._global("torch", typed)
        self._text(view.key, remember=False)
        self._text("cpu")
        self._int(view.storage_bytes // view.dtype.itemsize if typed else view.storage_bytes)
        self.made += _TUPLE + _PERSID

    def _recalled(self, value: object) -> bool:
        place = self._memo.get(value)
        if place is None:
            return False
        self.made += b"h" + bytes([place]) if place < 256 else b"j" + struct.pack("<I", place)
        return True

    def _remember(self, value: object | None) -> None:
        """Give the value on the stack a place in the memo.

        One that is None will not be asked for again.
        """
        place = self._places
        self._places += 1
        if value is not None:
            self._memo[value] = place
        self.made += b"q" + bytes([place]) if place < 256 else b"r" + struct.pack("<I", place)

    def _text(self, text: str, *, remember: bool = True) -> None:
        if remember and self._recalled(text):
            return
        data = text.encode()
        self.made += b"X" + struct.pack("<I", len(data)) + data
        if remember:
            self._remember(text)

    def _global(self, module: str, name: str) -> None:
        if not self._recalled((module, name)):
            self.made += f"c{module}\n{name}\n".encode("ascii")
            self._remember((module, name))

    def _ints(self, values: tuple[int, ...]) -> None:
        if len(values) <= 3:
            for value in values:
                self._int(value)
            self.made += (_EMPTY_TUPLE, b"\x85", b"\x86", b"\x87")[len(values)]
            return
        self.made += _MARK
        for value in values:
            self._int(value)
        self.made += _TUPLE

    def _int(self, value: int) -> None:
        if value < 0x100:
            self.made += b"K" + bytes([value])
        elif value < 0x10000:
            self.made += b"M" + struct.pack("<H", value)
        elif value < 0x80000000:
            self.made += b"J" + struct.pack("<i", value)
        else:
            data = value.to_bytes(value.bit_length() // 8 + 1, "little")
            self.made += b"\x8a" + bytes([len(data)]) + data
