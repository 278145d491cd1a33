"""A state dict in memory as a checkpoint: its tensors are views of ranges of one file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping

import torch

from shardctl.errors import InputError
from shardctl.formats.registry import LIKE_MEMORY
from shardctl.formats.torch.calls.types import torch_packing
from shardctl.model import (
    Checkpoint,
    File,
    MadeName,
    NonTensor,
    Storage,
    Tensor,
    Tree,
    Version,
)
from shardctl.source.locate import Located
from shardctl.source.state_dict import select
from shardctl.text import escape
from shardctl.torch.dtypes import dtype_of, not_plain
from shardctl.torch.saving.memory import WEIGHTS, Storages

_SHOWN = 10


def held_checkpoint(
    state: Mapping[str, object],
    storages: Storages,
    metadata: Mapping[str, str],
    *,
    key: str | None = None,
    drop_non_tensors: bool,
) -> tuple[Located, Checkpoint]:
    """Return a state dict as a checkpoint, and where it is; its storages are added to `storages`.

    `key` chooses a nested one.
    Raises InputError, which names them, for tensors that are not plain data or have none, for keys
    that are not text, and for other values unless `drop_non_tensors` is set.
    """
    refused = [f"'{escape(name)}' {reason}" for name, reason in _refusals(state, "")]
    if refused:
        more = f", and {len(refused) - _SHOWN:,} more" if len(refused) > _SHOWN else ""
        raise InputError(
            f"cannot save: {', '.join(refused[:_SHOWN])}{more}",
            hint="turn them into plain tensors with data first, or leave them out",
            code="tensor-unread",
            file=WEIGHTS,
        )
    tree = _tree(state, storages)
    chosen = select(tree, WEIGHTS, key, drop_non_tensors=drop_non_tensors)
    file = File(
        WEIGHTS,
        LIKE_MEMORY.name,
        Version(storages.nbytes, ""),
        tree,
        metadata,
        # The plan's id covers the names, types, shapes and places of all tensors; what else a
        # header would say is this.
        header_sha256=hashlib.sha256(repr(sorted(metadata.items())).encode()).hexdigest(),
    )
    located = Located("the state dict", "", (WEIGHTS,), "", is_directory=True)
    return located, Checkpoint(
        LIKE_MEMORY.name,
        (file,),
        chosen.tensors,
        metadata=metadata,
        non_tensors=chosen.non_tensors,
    )


def _refusals(state: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the tensors that cannot be saved, each with the reason."""
    for key, value in state.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _refusals(value, f"{name}.")
        elif isinstance(value, torch.Tensor):
            reason = not_plain(value) or _without_data(value)
            if reason is not None:
                yield name, reason


def _without_data(tensor: torch.Tensor) -> str | None:
    if tensor.device.type == "meta":
        return "is on the meta device, and has no data"
    reach = 1 + sum(
        (size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True)
    )
    needed = (tensor.storage_offset() + reach) * tensor.element_size() if tensor.numel() else 0
    try:
        storage = tensor.untyped_storage()
        storage.data_ptr()
    except RuntimeError:
        return "has no memory of the kind that can be read"
    if needed > storage.nbytes():
        return "has a storage whose memory was freed"
    if torch_packing(dtype_of(tensor.dtype)) > 1 and not (tensor.dim() and tensor.is_contiguous()):
        return "has elements of less than a byte and is not contiguous"
    return None


def _tree(state: Mapping[str, object], storages: Storages) -> Tree:
    tree: Tree = {}
    for key, value in state.items():
        name = key if isinstance(key, str) else MadeName(key)
        if isinstance(value, torch.Tensor):
            tree[name] = _tensor(name, value, storages)
        elif isinstance(value, Mapping):
            tree[name] = _tree(value, storages)
        else:
            kind = type(value)
            tree[name] = NonTensor(name, f"{kind.__module__}.{kind.__qualname__}")
    return tree


def _tensor(name: str, tensor: torch.Tensor, storages: Storages) -> Tensor:
    # Views that torch conjugates or negates when they are read: their bytes are other numbers.
    tensor = tensor.detach().resolve_conj().resolve_neg()
    number, extent = storages.add(tensor.untyped_storage())
    dtype = dtype_of(tensor.dtype)
    packed = torch_packing(dtype)
    shape = tuple(tensor.shape)
    return Tensor(
        name,
        dtype,
        (*shape[:-1], shape[-1] * packed) if packed > 1 else shape,
        Storage(extent, str(number)),
        tensor.storage_offset() * packed if math.prod(shape) else 0,
        None if tensor.is_contiguous() else tuple(tensor.stride()),
    )
