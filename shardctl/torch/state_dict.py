"""A checkpoint as a lazy mapping of names to tensors, and slices of its tensors."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self, SupportsIndex

import torch

from shardctl.api.settings import Location
from shardctl.model import Tensor, contiguous_strides
from shardctl.streams.pool import default_jobs
from shardctl.torch.dtypes import torch_dtype, torch_shape
from shardctl.torch.fill import Fill, Progress, fill
from shardctl.torch.opened import Opened, read_headers

#: What a slice is asked for: integers, slices and `...`, one or several.
Index = object


class StateDict(Mapping[str, torch.Tensor]):
    """The tensors of a checkpoint by name, each read when it is asked for, and not kept.

    Any number of threads may use it. Two names that are tied give two tensors. It can be passed to
    `load_state_dict`, which reads all of it. `metadata` are the string pairs of the files, `files`
    their names. Closing it closes the files; it can be used as a context manager.
    """

    def __init__(self, opened: Opened, device: str | torch.device = "cpu") -> None:
        self._opened = opened
        self._device = torch.device(device)
        self._sources = opened.sources()
        self.metadata: Mapping[str, str] = dict(opened.checkpoint.metadata)
        self.files = opened.files

    def __getitem__(self, name: str) -> torch.Tensor:
        """Read a tensor. Raises KeyError, StorageError, and SourceChangedError."""
        return self._read(self._opened.tensors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._opened.tensors)

    def __len__(self) -> int:
        return len(self._opened.tensors)

    def __contains__(self, name: object) -> bool:
        return name in self._opened.tensors

    def __repr__(self) -> str:
        return f"<StateDict of {len(self)} tensors in {', '.join(self.files)}>"

    def get_slice(self, name: str) -> TensorSlice:
        """Return a tensor to take parts of: only the bytes of a part are read. Raises KeyError."""
        return TensorSlice(self._opened.tensors[name], self)

    def close(self) -> None:
        """Close the files. A tensor that is asked for later opens its file again."""
        self._sources.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, tensor: Tensor) -> torch.Tensor:
        made = torch.empty(torch_shape(tensor), dtype=torch_dtype(tensor), device=self._device)
        fill(self._sources, [Fill(tensor.name, tensor, made)], default_jobs(), Progress())
        return made


class TensorSlice:
    """A tensor that is not read: an index expression reads a part of it.

    `shape` is a tuple of elements, `dtype` that of torch.
    """

    def __init__(self, tensor: Tensor, state: StateDict) -> None:
        self._tensor = tensor
        self._state = state
        self.shape = torch.Size(torch_shape(tensor))
        self.dtype = torch_dtype(tensor)

    def __getitem__(self, index: Index) -> torch.Tensor:
        """Read a part: integers, slices with positive steps, and `...` select it.

        Raises IndexError for what is out of range, TypeError for any other kind of index, and
        ValueError for a step below one and for a part of a tensor whose elements are not whole
        bytes.
        """
        if self._tensor.storage.made is not None:
            # It lies in the slices of several files: it is put together first.
            return self._state._read(self._tensor)[index]  # noqa: SLF001 - its other half
        return self._state._read(selected(self._tensor, index))  # noqa: SLF001 - as above


def selected(tensor: Tensor, index: Index) -> Tensor:
    """Return the view of a tensor that an index expression selects; raises as `TensorSlice`."""
    if tensor.dtype.bits % 8:
        raise ValueError(f"'{tensor.name}' has elements of less than a byte: read it whole")
    strides = contiguous_strides(tensor.shape) if tensor.strides is None else tensor.strides
    offset = tensor.offset
    shape, steps = list[int](), list[int]()
    for each, size, stride in zip(_for_each_dim(tensor, index), tensor.shape, strides, strict=True):
        if isinstance(each, slice):
            start, stop, step = each.indices(size)
            if step < 1:
                raise ValueError("the step of a slice must be at least one")
            count = len(range(start, stop, step))
            offset += start * stride if count else 0
            shape.append(count)
            steps.append(stride * step)
        else:
            if not -size <= each < size:
                raise IndexError(f"index {each} is out of range for a dimension of {size}")
            offset += each % size * stride
    return replace(
        tensor,
        shape=tuple(shape),
        offset=offset if 0 not in shape else 0,
        strides=None if _is_contiguous(shape, steps) else tuple(steps),
    )


def _for_each_dim(tensor: Tensor, index: Index) -> list[slice | int]:
    """Return an index for every dimension."""
    items = index if isinstance(index, tuple) else (index,)
    whole = slice(None)
    dims = len(tensor.shape)
    if sum(item is ... for item in items) > 1:
        raise IndexError("an index can have only one `...`")
    if ... not in items:
        items = (*items, ...)
    if len(items) - 1 > dims:
        raise IndexError(f"too many indices for {dims} dimensions")
    at = items.index(...)
    full = (*items[:at], *[whole] * (dims - len(items) + 1), *items[at + 1 :])
    return [item if isinstance(item, slice) else _integer(item) for item in full]


def _integer(item: object) -> int:
    if isinstance(item, bool) or not isinstance(item, SupportsIndex):
        raise TypeError(f"an index is an integer, a slice or `...`, not {type(item).__name__}")
    return operator.index(item)


def _is_contiguous(shape: list[int], strides: list[int]) -> bool:
    """Whether elements follow one another; the stride of a single one does not matter."""
    plain = contiguous_strides(tuple(shape))
    return 0 in shape or all(
        size == 1 or stride == usual
        for size, stride, usual in zip(shape, strides, plain, strict=True)
    )


def open(  # noqa: A001 - as `gzip.open` and `tarfile.open` are called
    folder: Location, *, key: str | None = None, device: str | torch.device = "cpu"
) -> StateDict:
    """Open a checkpoint: a directory, an index, or a file. Only headers are read.

    `key` chooses the state dict of a training checkpoint; `device` is where tensors are made.
    Raises InputError for whatever is wrong with the files or their index.
    """
    return StateDict(read_headers(folder, key), device)
