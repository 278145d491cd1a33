"""What loading a pickle would do to whoever loads it, and advice that is safe to take.

The hints never send to a program that loads a pickle which would import what `weights_only` does
not allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from shardctl.findings import Finding, Report
from shardctl.formats.pickle.scan import imported_names
from shardctl.formats.pickle.values import DO_NOT_LOAD, StorageRef
from shardctl.formats.torch.weights_only import unsafe
from shardctl.model import NonTensor
from shardctl.sizes import format_size
from shardctl.text import escape

_CONVERT = (
    "do not load it with torch: shardctl reads its tensors and runs nothing, so they can be "
    "converted to safetensors"
)
_SHOWN = 5
#: How the locations begin for which torch itself has a loader.
_DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu", "meta")


def unsafe_finding(names: Sequence[str], path: str, *, readable: bool) -> Finding:
    """`pickle-unsafe`, for names that `weights_only` does not allow; `readable`: all tensors can be read."""
    some = ", ".join(escape(name[:200]) for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    message = f"loading it would import {some}{more}: with `weights_only=False` that runs code"
    return Finding("pickle-unsafe", "error", message, _CONVERT if readable else DO_NOT_LOAD, path)


def refused_finding(refused: Sequence[str], path: str) -> Finding:
    """`pickle-unsafe` as a warning: nothing is imported, but `torch.load` refuses the file by default."""
    some = ", ".join(map(escape, refused[:_SHOWN])) + (", …" if len(refused) > _SHOWN else "")
    message = (
        f"`torch.load` refuses it, at least with its default `weights_only=True`: it uses {some}"
    )
    hint = "convert it to safetensors, or let shardctl write it as a new .bin"
    return Finding("pickle-unsafe", "warning", message, hint, path)


def memory_finding(allocations: Iterable[tuple[str, int]], path: str) -> Finding:
    """`pickle-memory`: calls that take memory by a number, whatever the file holds."""
    listed = sorted(allocations, key=lambda made: -made[1])
    some = ", ".join(f"{escape(name)} ({_shown(nbytes)})" for name, nbytes in listed[:_SHOWN])
    message = f"loading it would allocate memory that the file does not hold: {some}"
    return Finding("pickle-memory", "error", message, DO_NOT_LOAD, path)


def unread_finding(value: NonTensor, path: str) -> Finding:
    """`tensor-unread`: a tensor, or an object that holds tensors, which shardctl does not read."""
    return Finding(
        "tensor-unread", "error", unread_message(value), hint_for(value), path, value.name
    )


def unread_message(value: NonTensor) -> str:
    """What an unread entry is, and what it holds."""
    if "meta" in value.kind:
        return f"the tensor has no data: it was saved while offloaded ({escape(value.kind[:200])})"
    held = ""
    if value.storages:
        noun = "storage" if value.storages == 1 else "storages"
        held = f" with {value.storages:,} {noun} of {value.nbytes:,} bytes"
    return f"the entry is a {escape(value.kind[:200])}{held}, which shardctl does not read"


def hint_for(value: NonTensor) -> str:
    """What to do about an entry that is not read: never to leave it out, never to load the file."""
    kind = value.kind
    if "meta" in kind:
        return "save it again with its weights loaded, not on the meta device"
    if kind.startswith(("torch.sparse", "torch._utils._rebuild_")):
        return "where it was made, make it plain (`to_dense()`, `dequantize()`) and save it so"
    if "numpy" in kind:
        return "where it was made, save it as a tensor (`torch.from_numpy`)"
    if "DTensor" in kind or "ShardedTensor" in kind:
        return "where it was made, save whole tensors (`full_tensor()`)"
    return "where it was made, save plain tensors: `model.state_dict()` instead of the model"


def _shown(nbytes: int) -> str:
    return format_size(nbytes) if nbytes < 1 << 60 else "more than any memory"


def location_findings(storages: Iterable[StorageRef], path: str) -> Iterator[Finding]:
    """A warning where torch has no loader for the device that storages were saved from."""
    odd = {ref.location for ref in storages if not ref.location.startswith(_DEVICES)}
    if odd:
        some = ", ".join(f"'{escape(location[:100])}'" for location in sorted(odd)[:_SHOWN])
        message = (
            f"torch does not load storages of the device {some} unless `map_location` is given"
        )
        hint = "convert it to safetensors, which names no devices"
        yield Finding("pickle-invalid", "warning", message, hint, path)


class Unloadable:
    """Reports what is wrong with a pickle from which no state dict can be made.

    The names that it would import are reported first, as far as its opcodes can be told apart.
    """

    def __init__(self, report: Report, path: str) -> None:
        self._report = report
        self._path = path
        self._unsafe: tuple[str, ...] = ()

    def warn(self, data: bytes, start: int = 0, known: Iterable[str] = ()) -> None:
        """Report the names in the pickles from `start`, and those that are known already."""
        names = dict.fromkeys(known) | dict.fromkeys(imported_names(data, start))
        self._unsafe = unsafe(names)
        if self._unsafe:
            self._report(unsafe_finding(self._unsafe, self._path, readable=False))

    def fault(self, code: str, message: str, hint: str, offset: int | None = None) -> None:
        """Report what is wrong; the hint is replaced where it is not safe to take."""
        safe = DO_NOT_LOAD if self._unsafe else hint
        self._report(Finding(code, "error", message, safe, self._path, offset=offset))
