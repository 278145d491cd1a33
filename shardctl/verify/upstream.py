"""Load every tensor with the format's own loader, and compare it with what our reader finds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from shardctl.errors import UsageError
from shardctl.findings import Finding
from shardctl.formats.base import OpenUpstream, Upstream
from shardctl.formats.registry import by_name
from shardctl.model import File, Tensor
from shardctl.source.state_dict import look
from shardctl.stores.base import Store
from shardctl.verify.against import difference, tensor_digest
from shardctl.verify.subject import Subject

_HINT = "one of the two readers is wrong: please report it, with the file's header"


def check_load(subject: Subject, key: str | None) -> Iterator[tuple[int, list[Finding]]]:
    """Yield for each file the bytes that were loaded, and the differences to our reader.

    `key` is the nested state dict that was chosen. Raises UsageError where the loader is not
    installed, and for a format that has none.
    """
    for file in subject.checkpoint.files:
        yield _check_file(subject.store, file, subject.tensors[file.path], key)


def _check_file(
    store: Store, file: File, tensors: Sequence[Tensor], key: str | None
) -> tuple[int, list[Finding]]:
    open_upstream = _loader_of(file.format)
    try:
        upstream = open_upstream(file, key)
    except Exception as error:
        message = f"the upstream loader refuses the file: {type(error).__name__}: {error}"
        return 0, [Finding("header-invalid", "error", message, _HINT, file.path)]
    findings = [finding for tensor in tensors for finding in _differences(store, tensor, upstream)]
    findings.extend(_others(file, upstream, key))
    return sum(tensor.nbytes for tensor in tensors), findings


def _loader_of(format_name: str) -> OpenUpstream:
    load_upstream = by_name(format_name).load_upstream
    if load_upstream is None:
        message = f"the format '{format_name}' has no upstream loader to compare with"
        raise UsageError(message, hint="verify without loading the tensors")
    try:
        return load_upstream()
    except ImportError as error:
        raise UsageError(
            f"`load` needs torch and safetensors ({error})",
            hint="install them: pip install 'shardctl[torch]'",
        ) from error


def _others(file: File, upstream: Upstream, key: str | None) -> Iterator[Finding]:
    """Yield the tensors that only the upstream loader has.

    What is known not to be read is reported for itself.
    """
    ours = look(file.tree, file.path, key)
    names = {tensor.name for tensor in ours.tensors}
    unread = tuple(value.name for value in ours.non_tensors if value.unread)
    for name in upstream.names:
        if name not in names and not any(f"{name}.".startswith(f"{held}.") for held in unread):
            message = "only the upstream loader finds the tensor"
            yield Finding("against-missing", "error", message, _HINT, file.path, name)


def _differences(store: Store, tensor: Tensor, upstream: Upstream) -> list[Finding]:
    try:
        theirs = upstream.load(tensor)
    except KeyError:
        return [
            difference(
                "against-extra", tensor, "the upstream loader does not find the tensor", _HINT
            )
        ]
    if theirs.shape != tensor.shape:
        message = f"{list(tensor.shape)} here, {list(theirs.shape)} upstream"
        return [difference("against-shape", tensor, message, _HINT)]
    if hashlib.sha256(theirs.data).hexdigest() != tensor_digest(store, tensor):
        return [
            difference("against-data", tensor, "the upstream loader reads different bytes", _HINT)
        ]
    return []
