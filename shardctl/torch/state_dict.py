"""A checkpoint as a lazy mapping of names to tensors, and slices of its tensors."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

import torch

from shardctl.api.settings import Location
from shardctl.model import Tensor
from shardctl.streams.pool import default_jobs
from shardctl.torch.dtypes import torch_dtype, torch_shape
from shardctl.torch.loading.fill import Fill, Progress, fill
from shardctl.torch.opened import Opened, read_headers
from shardctl.torch.slices import Index, part_of


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
        # One that is never closed must not keep files open.
        weakref.finalize(self, self._sources.close)
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

    def __reduce__(self) -> tuple[type[StateDict], tuple[Opened, torch.device]]:
        # A copy, in this process or another, has separate open files.
        return StateDict, (self._opened, self._device)

    def __repr__(self) -> str:
        return f"<StateDict of {len(self)} tensors in {', '.join(self.files)}>"

    def get_slice(self, name: str) -> TensorSlice:
        """Return a tensor to take parts of: only the bytes of a part are read. Raises KeyError."""
        return TensorSlice(self._opened.tensors[name], self)

    def close(self) -> None:
        """Close the files that no thread reads, and the others after that.

        A tensor that is asked for later opens its file again.
        """
        self._sources.close()

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
        ValueError for a step below one.
        """
        tensor, part = part_of(self._tensor, index)
        read = self._state._read(tensor)[part]  # noqa: SLF001 - its other half
        return read if read.dtype == self.dtype else read.view(self.dtype)


def open(  # noqa: A001 - as `gzip.open` and `tarfile.open` are called
    folder: Location,
    *,
    key: str | None = None,
    variant: str | None = None,
    device: str | torch.device = "cpu",
) -> StateDict:
    """Open a checkpoint: a directory, an index, or a file. Only headers are read.

    `key` chooses the state dict of a training checkpoint, `variant` one of several checkpoints in a
    directory; `device` is where tensors are made. Raises InputError for whatever is wrong with the
    files or their index, and UsageError where a directory has several checkpoints.
    """
    return StateDict(read_headers(folder, key, variant), device)
