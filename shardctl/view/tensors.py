"""Rows of tensors: one for each name, or one for each range of bytes."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from shardctl.model import Tensor
from shardctl.storages import storage_units
from shardctl.text import escape


@dataclass(slots=True)
class TensorRow:
    """A tensor to show; not frozen for speed, as in `model`. `nbytes` are bytes of its file.

    `offset` is where it begins there, None while that is not known. `others` counts further names
    for the same bytes; `tied_to` is the name whose bytes these are, where they are counted there.
    """

    name: Final[str]
    dtype: Final[str]
    shape: Final[tuple[int, ...]]
    nbytes: Final[int]
    offset: Final[int | None] = None
    others: Final[int] = 0
    tied_to: Final[str | None] = None


_TensorT = TypeVar("_TensorT", Tensor, TensorRow)


def every_name(
    tensors: Iterable[Tensor], tied_to: Mapping[str, str] | None = None
) -> Iterator[TensorRow]:
    """Yield a row for each tensor, tied ones too, with the bytes of its elements.

    `tied_to` has the tensor that each tied one repeats.
    """
    tied = tied_to or {}
    for tensor in tensors:
        first = tied.get(tensor.name)
        yield TensorRow(
            escape(tensor.name),
            tensor.dtype.name,
            tensor.shape,
            tensor.nbytes,
            tied_to=None if first is None else escape(first),
        )


def bytes_once(tensors: Sequence[Tensor], *, written: bool) -> Iterator[TensorRow]:
    """Yield rows for the tensors of one file so that no byte is counted twice.

    Tied tensors are one row. Views that overlap are one row too: the storage under its first name.
    `written` says whether the file exists, so that the rows have offsets.
    """
    for unit in storage_units(tensors):
        distinct: dict[object, list[Tensor]] = {}
        for tensor in unit.tensors:
            distinct.setdefault(tensor.identity or tensor.name, []).append(tensor)
        groups = list(distinct.values())
        if sum(group[0].nbytes for group in groups) <= unit.nbytes:
            parts = [(group[0], group[0].nbytes, len(group) - 1) for group in groups]
        else:
            parts = [(unit.tensors[0], unit.nbytes, len(unit.tensors) - 1)]
        for tensor, nbytes, others in parts:
            offset = tensor.span.offset if written else None
            name = escape(tensor.name)
            yield TensorRow(name, tensor.dtype.name, tensor.shape, nbytes, offset, others)


def largest(tensors: Iterable[_TensorT], most: int) -> list[_TensorT]:
    """Return at most `most` tensors, those with most bytes first; equal ones keep their order."""
    return heapq.nlargest(most, tensors, key=lambda tensor: tensor.nbytes)


def shape_text(shape: Iterable[int], times: str = "×") -> str:  # noqa: RUF001 - a sign
    """Return the dimensions with `times` between them, or `scalar`."""
    return f" {times} ".join(map(str, shape)) or "scalar"
