"""Tensors that lie in the files of a checkpoint: pages of them are read when they are first used.

The mapping is private, as that of `torch.load(mmap=True)`: what is written to such a tensor is
copied, and never reaches the file.
"""

from __future__ import annotations

import torch

from shardctl.engine.sources import source_changed
from shardctl.model import Tensor, contiguous_strides
from shardctl.stores.local.store import LocalStore
from shardctl.torch.dtypes import torch_dtype, torch_shape
from shardctl.torch.opened import Opened


class MappedFiles:
    """The files of a checkpoint, each mapped when the first tensor of it is asked for.

    A file stays mapped as long as one of its tensors lives.
    """

    def __init__(self, opened: Opened) -> None:
        self._store = opened.store
        self._versions = opened.checkpoint.versions
        self._files: dict[str, torch.UntypedStorage] = {}
        self._used: set[tuple[str, str]] = set()

    def tensor(self, tensor: Tensor) -> torch.Tensor | None:
        """Return a tensor in its file; None where it has to be read.

        That is so where the file is not of this machine, where no file holds the tensor as it is,
        where its first byte is not at a multiple of the size of an element, and where another
        tensor has the same storage: what is written to one must not change the other. Raises
        SourceChangedError where the file is not the one whose header was read.
        """
        dtype, span = torch_dtype(tensor), tensor.span
        if (
            not isinstance(self._store, LocalStore)
            or tensor.storage.made is not None
            or not tensor.elements
            or span.offset % dtype.itemsize
            or tensor.storage.identity in self._used
        ):
            return None
        self._used.add(tensor.storage.identity)
        shape = torch_shape(tensor)
        strides = contiguous_strides(shape) if tensor.strides is None else tensor.strides
        try:
            file = self._file(span.path)
        except RuntimeError:
            return None  # some filesystems map nothing; what else is wrong, reading says better
        # With a storage of just these bytes, as other tensors have, it can be saved again.
        storage = file[span.offset : span.end]
        return torch.empty(0, dtype=dtype).set_(storage, 0, shape, strides)

    def _file(self, path: str) -> torch.UntypedStorage:
        if path not in self._files:
            size = self._versions[path].size
            file = torch.UntypedStorage.from_file(path, shared=False, nbytes=size)
            if self._store.version(path) != self._versions[path]:
                raise source_changed(path)
            self._files[path] = file
        return self._files[path]
