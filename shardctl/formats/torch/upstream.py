"""Load tensors with torch itself, as a second opinion on our reader. Needs the extra `torch`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch  # noqa: TID251 - the second opinion is torch's

from shardctl.formats.base import Loaded, Upstream
from shardctl.formats.torch.calls.types import torch_packing
from shardctl.formats.torch.tree.names import apart, key_text
from shardctl.model import File, Tensor


def open_with_torch(file: File, key: str | None) -> Upstream:
    """Open a local file with `torch.load`; `key` is the nested state dict that was chosen."""
    # Mapped, so that one tensor at a time is in memory; files of before torch 1.6 cannot be.
    root = torch.load(file.path, map_location="cpu", weights_only=True, mmap=bool(file.records))
    if key is None:
        tensors = dict(_tensors(root, ""))
    else:
        chosen = _descend(root, key)
        entries = _entries(chosen) if isinstance(chosen, _CONTAINERS) else [(key, chosen)]
        tensors = {name: each for name, each in entries if isinstance(each, torch.Tensor)}
    return Upstream(tensors.keys(), lambda tensor: as_loaded(tensors[tensor.name], tensor))


def as_loaded(theirs: Any, ours: Tensor) -> Loaded:
    """What torch holds for a tensor, counted in our elements: torch counts those of F4 in pairs."""
    packed = torch_packing(ours.dtype)
    shape = tuple(theirs.shape)
    if packed > 1 and shape:
        shape = (*shape[:-1], shape[-1] * packed)
    resolved = theirs.detach().resolve_conj().resolve_neg().contiguous()
    # The stride of a single element means nothing to torch, but it keeps bytes from being viewed.
    flat = resolved.as_strided((resolved.numel(),), (1,)).view(torch.uint8)
    return Loaded(shape, flat.numpy().data)


_CONTAINERS = (dict, list, tuple)


def _tensors(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the tensors below a value with their dotted names; one that is alone is called 0."""
    if isinstance(value, torch.Tensor):
        yield prefix or "0", value
    elif isinstance(value, _CONTAINERS):
        for name, item in _entries(value):
            yield from _tensors(item, f"{prefix}.{name}" if prefix else name)


def _entries(container: Any) -> Iterable[tuple[str, Any]]:
    """The items of a dict or a list, by the names that the tree of a pickle gives them."""
    if not isinstance(container, dict):
        return [(str(place), item) for place, item in enumerate(container)]
    named: dict[str, Any] = {}
    for key, item in container.items():
        text = key if isinstance(key, str) else key_text(key)
        if text in named:
            text = apart(named, text, key)
        named[text] = item
    return named.items()


def _descend(root: Any, name: str) -> Any:
    """The value at the dotted path of a nested one; raises KeyError."""
    entries = dict(_entries(root)) if isinstance(root, _CONTAINERS) else {}
    if name in entries:
        return entries[name]
    for at in (at for at, character in enumerate(name) if character == "."):
        if name[:at] in entries:
            return _descend(entries[name[:at]], name[at + 1 :])
    raise KeyError(name)
