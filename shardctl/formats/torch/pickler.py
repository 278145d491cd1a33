"""The pickle of a flat state dict, or of one tensor, as torch.save writes it (protocol 2).

Source: `Tensor._reduce_ex_internal` and `_save` of torch 2.13. One tensor under two names is one
memo entry.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shardctl.formats.pickle.writer import (
    BATCH,
    EMPTY_DICT,
    EMPTY_TUPLE,
    FALSE,
    MARK,
    PERSID,
    PROTO,
    REDUCE,
    SETITEMS,
    STOP,
    TUPLE,
    PickleWriter,
)
from shardctl.formats.torch.calls.types import STORAGE_OF, TORCH_NAME_OF
from shardctl.model import Dtype


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


def pickle_tensor(views: Iterable[View]) -> bytes:
    """The pickle of a single tensor, without its name."""
    (view,) = views
    writer = _Writer()
    writer.tensor(view)
    return bytes(writer.made)


class _Writer(PickleWriter):
    def tensor(self, view: View) -> None:
        self.made += PROTO
        self._tensor(view)
        self.made += STOP

    def state_dict(self, views: Iterator[View]) -> None:
        self.made += PROTO + EMPTY_DICT
        while some := list(itertools.islice(views, BATCH)):
            self.made += MARK
            for view in some:
                self.text(view.name, remember=False)
                self._tensor(view)
            self.made += SETITEMS
        self.made += STOP

    def _tensor(self, view: View) -> None:
        identity = view.identity if view.shared else None
        if identity is not None and self.recalled(identity):
            return
        typed = STORAGE_OF.get(view.dtype.name)
        self.imported("torch._utils", "_rebuild_tensor_v2" if typed else "_rebuild_tensor_v3")
        self.made += MARK
        self._storage(view, typed)
        self.number(view.offset)
        self.numbers(view.shape)
        self.numbers(view.strides)
        self.made += FALSE  # requires_grad
        self.imported("collections", "OrderedDict")  # backward hooks: none
        self.made += EMPTY_TUPLE + REDUCE
        if typed is None:
            self.imported("torch", TORCH_NAME_OF[view.dtype.name])
        self.made += TUPLE + REDUCE
        if 0 not in view.shape:
            self.remember(identity)

    def _storage(self, view: View, typed: str | None) -> None:
        self.made += MARK
        self.text("storage")
        if typed is None:
            self.imported("torch.storage", "UntypedStorage")
        else:
            self.imported("torch", typed)
        self.text(view.key, remember=False)
        self.text("cpu")
        self.number(view.storage_bytes // view.dtype.itemsize if typed else view.storage_bytes)
        self.made += TUPLE + PERSID
