"""The few pickle opcodes (protocol 2) that a flat state dict needs: what torch.save writes for a dict of tensors.

Source: `Tensor._reduce_ex_internal` and `_save` of torch 2.13. One tensor under two names is one memo entry.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from shardctl.formats.torch_types import STORAGE_OF, TORCH_NAME_OF
from shardctl.model import Dtype

_PROTO, _STOP = b"\x80\x02", b"."
_EMPTY_DICT, _EMPTY_TUPLE, _MARK = b"}", b")", b"("
_TUPLE, _REDUCE, _PERSID, _SETITEMS, _NEWFALSE = b"t", b"R", b"Q", b"u", b"\x89"
#: Items between two SETITEMS, as pickle's own writer batches them.
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class View:
    """A tensor as a pickle describes it: `offset`, `shape` and `strides` count elements as torch does."""

    name: str
    key: str
    dtype: Dtype
    storage_bytes: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def identity(self) -> tuple[object, ...] | None:
        """Equal for views that are one tensor under several names; None where it is empty, and tied to nothing."""
        if 0 in self.shape:
            return None
        return (self.key, self.dtype.name, self.offset, self.shape, self.strides)


def pickle_state_dict(views: Iterable[View]) -> bytes:
    """The pickle of a dict from names to these tensors."""
    writer = _Writer()
    writer.state_dict(list(views))
    return b"".join(writer.parts)


class _Writer:
    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._memo: dict[object, int] = {}

    def state_dict(self, views: list[View]) -> None:
        self.parts += [_PROTO, _EMPTY_DICT]
        for begin in range(0, len(views), _BATCH):
            self.parts.append(_MARK)
            for view in views[begin : begin + _BATCH]:
                self._text(view.name, remember=False)
                self._tensor(view)
            self.parts.append(_SETITEMS)
        self.parts.append(_STOP)

    def _tensor(self, view: View) -> None:
        identity = view.identity
        if identity is not None and self._recalled(identity):
            return
        typed = STORAGE_OF.get(view.dtype.name)
        self._global("torch._utils", "_rebuild_tensor_v2" if typed else "_rebuild_tensor_v3")
        self.parts.append(_MARK)
        self._storage(view, typed)
        self._int(view.offset)
        self._ints(view.shape)
        self._ints(view.strides)
        self.parts.append(_NEWFALSE)  # requires_grad
        self._global("collections", "OrderedDict")  # backward hooks: none
        self.parts += [_EMPTY_TUPLE, _REDUCE]
        if typed is None:
            self._global("torch", TORCH_NAME_OF[view.dtype.name])
        self.parts += [_TUPLE, _REDUCE]
        if identity is not None:
            self._remember(identity)

    def _storage(self, view: View, typed: str | None) -> None:
        self.parts.append(_MARK)
        self._text("storage")
        if typed is None:
            self._global("torch.storage", "UntypedStorage")
        else:
            self._global("torch", typed)
        self._text(view.key, remember=False)
        self._text("cpu")
        self._int(view.storage_bytes // view.dtype.itemsize if typed else view.storage_bytes)
        self.parts += [_TUPLE, _PERSID]

    def _recalled(self, value: object) -> bool:
        place = self._memo.get(value)
        if place is None:
            return False
        self.parts.append(b"h" + bytes([place]) if place < 256 else b"j" + struct.pack("<I", place))
        return True

    def _remember(self, value: object) -> None:
        place = self._memo[value] = len(self._memo)
        self.parts.append(b"q" + bytes([place]) if place < 256 else b"r" + struct.pack("<I", place))

    def _text(self, text: str, *, remember: bool = True) -> None:
        if remember and self._recalled(text):
            return
        data = text.encode()
        self.parts += [b"X", struct.pack("<I", len(data)), data]
        if remember:
            self._remember(text)

    def _global(self, module: str, name: str) -> None:
        if not self._recalled((module, name)):
            self.parts.append(f"c{module}\n{name}\n".encode("ascii"))
            self._remember((module, name))

    def _ints(self, values: tuple[int, ...]) -> None:
        if len(values) <= 3:
            for value in values:
                self._int(value)
            self.parts.append((_EMPTY_TUPLE, b"\x85", b"\x86", b"\x87")[len(values)])
            return
        self.parts.append(_MARK)
        for value in values:
            self._int(value)
        self.parts.append(_TUPLE)

    def _int(self, value: int) -> None:
        if value < 0x100:
            self.parts.append(b"K" + bytes([value]))
        elif value < 0x10000:
            self.parts.append(b"M" + struct.pack("<H", value))
        elif value < 0x80000000:
            self.parts.append(b"J" + struct.pack("<i", value))
        else:
            data = value.to_bytes(value.bit_length() // 8 + 1, "little")
            self.parts.append(b"\x8a" + bytes([len(data)]) + data)
