"""Load tensors with safetensors' own loader, to check our reader. Needs the extra `torch`."""

from __future__ import annotations

from typing import Any

from safetensors import safe_open

from shardctl.formats.base import Loaded, Upstream
from shardctl.formats.torch.upstream import as_loaded
from shardctl.model import File, Tensor


def open_with_safetensors(
    file: File,
    key: str | None,  # noqa: ARG001 - nothing is nested
) -> Upstream:
    """Open a local file with `safetensors.safe_open`, for tensors of torch."""
    opened: Any = safe_open(file.path, framework="pt")
    names = frozenset(opened.keys())

    def load(tensor: Tensor) -> Loaded:
        if tensor.name not in names:
            raise KeyError(tensor.name)
        return as_loaded(opened.get_tensor(tensor.name), tensor)

    return Upstream(names, load)
