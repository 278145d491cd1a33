"""A second opinion: every tensor loaded with torch's and safetensors' own loaders, and compared with our reading.

The only place at run time that imports torch; it needs the extra `shardctl[torch]`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from shardctl.errors import UsageError
from shardctl.findings import Finding
from shardctl.model import Checkpoint, File, Tensor
from shardctl.stores.base import Store
from shardctl.verify.against import tensor_digest

#: Loads one tensor of an open file.
Load = Callable[[Tensor], Any]

_HINT = "one of the two readers is wrong: please report it, with the file's header"


def check_load(
    store: Store, checkpoint: Checkpoint, key: str | None
) -> Iterator[tuple[int, list[Finding]]]:
    """For each file, the bytes of the tensors that were loaded, and where upstream's reading differs from ours.

    `key` is the nested state dict that was chosen. Raises UsageError where torch is not installed.
    """
    by_path: dict[str, list[Tensor]] = {file.path: [] for file in checkpoint.files}
    for tensor in checkpoint.tensors:
        by_path[tensor.storage.extent.path].append(tensor)
    for file in checkpoint.files:
        yield _check_file(store, file, by_path[file.path], key)


def _check_file(
    store: Store, file: File, tensors: list[Tensor], key: str | None
) -> tuple[int, list[Finding]]:
    try:
        load = _open_safetensors(file) if file.format == "safetensors" else _open_torch(file, key)
    except ImportError as error:
        raise UsageError(
            f"--load needs torch and safetensors ({error})",
            hint="install them: pip install 'shardctl[torch]'",
        ) from error
    except Exception as error:
        message = f"the upstream loader refuses the file: {type(error).__name__}: {error}"
        return 0, [Finding("header-invalid", "error", message, _HINT, file.path)]
    findings = [finding for tensor in tensors for finding in _differences(store, tensor, load)]
    return sum(tensor.nbytes for tensor in tensors), findings


def _differences(store: Store, tensor: Tensor, load: Load) -> list[Finding]:
    try:
        theirs = load(tensor)
    except KeyError:
        return [_finding("against-missing", tensor, "the upstream loader has no such tensor")]
    if tuple(theirs.shape) != tensor.shape:
        return [
            _finding(
                "against-shape", tensor, f"{list(tensor.shape)} here, {list(theirs.shape)} upstream"
            )
        ]
    if _digest(theirs) != tensor_digest(store, tensor):
        return [_finding("against-data", tensor, "the upstream loader reads other bytes")]
    return []


def _digest(theirs: Any) -> str:
    """The SHA-256 of a loaded tensor's elements, row-major, as they lie in memory."""
    import torch  # noqa: PLC0415, TID251 - the second opinion is torch's

    flat = theirs.detach().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(flat.numpy().data).hexdigest()


def _open_safetensors(file: File) -> Load:
    from safetensors import safe_open  # noqa: PLC0415 - optional

    opened: Any = safe_open(file.path, framework="pt")
    return lambda tensor: opened.get_tensor(tensor.name)


def _open_torch(file: File, key: str | None) -> Load:
    import torch  # noqa: PLC0415, TID251 - optional

    # Mapped, so that one tensor at a time is in memory; files of before torch 1.6 cannot be.
    root = torch.load(file.path, map_location="cpu", weights_only=True, mmap=bool(file.records))
    chosen = root if key is None else _descend(root, key)
    return lambda tensor: _descend(chosen, tensor.name)


def _descend(root: Any, name: str) -> Any:
    """A tensor by its name, or by the dotted path of a nested one."""
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


def _finding(code: str, tensor: Tensor, message: str) -> Finding:
    extent = tensor.storage.extent
    return Finding(
        code,
        "error",
        message,
        _HINT,
        file=extent.path,
        tensor=tensor.name,
        offset=tensor.span.offset,
    )
