"""Load tensors with torch itself, as a second opinion on our reader. Needs the extra `torch`."""

from __future__ import annotations

from typing import Any

import torch  # noqa: TID251 - the second opinion is torch's

from shardctl.formats.base import Loaded, LoadTensor
from shardctl.formats.torch.types import torch_packing
from shardctl.model import File, Tensor


def open_with_torch(file: File, key: str | None) -> LoadTensor:
    """Open a local file with `torch.load`; `key` is the nested state dict that was chosen."""
    # Mapped, so that one tensor at a time is in memory; files of before torch 1.6 cannot be.
    root = torch.load(file.path, map_location="cpu", weights_only=True, mmap=bool(file.records))
    chosen = root if key is None else _descend(root, key)
    return lambda tensor: as_loaded(_descend(chosen, tensor.name), tensor)


def as_loaded(theirs: Any, ours: Tensor) -> Loaded:
    """What torch holds for a tensor, counted in our elements: torch counts those of F4 in pairs."""
    packed = torch_packing(ours.dtype)
    shape = tuple(theirs.shape)
    if packed > 1 and shape:
        shape = (*shape[:-1], shape[-1] * packed)
    flat = theirs.detach().contiguous().reshape(-1).view(torch.uint8)
    return Loaded(shape, flat.numpy().data)


def _descend(root: Any, name: str) -> Any:
    """A tensor by its name, or by the dotted path of a nested one; raises KeyError."""
    if isinstance(root, dict) and name in root:
        return root[name]
    for at in (at for at, character in enumerate(name) if character == "."):
        head, rest = name[:at], name[at + 1 :]
        if isinstance(root, dict) and (head in root or head.isdecimal()):
            return _descend(root[head] if head in root else root[int(head)], rest)
        if isinstance(root, list | tuple) and head.isdecimal():
            return _descend(root[int(head)], rest)
    if name.isdecimal() and isinstance(root, list | tuple | dict):
        return root[int(name)]
    raise KeyError(name)
