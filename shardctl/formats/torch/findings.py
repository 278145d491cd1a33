"""Report what is wrong with one of torch's files, whichever of its two forms it has.

The hints never send to a program that loads a pickle which would import what `weights_only` does
not allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from shardctl.findings import Finding, Report
from shardctl.formats.hazards import DO_NOT_LOAD, unsafe_finding
from shardctl.formats.pickle.scan import imported_names
from shardctl.formats.pickle.values import StorageRef
from shardctl.formats.torch.weights_only import unsafe
from shardctl.text import escape, plural

_SHOWN = 5
#: The locations for which torch itself has a loader: `_cpu_deserialize`, `_deserialize` and those
#: beside them in torch/serialization.py. `cpu:0` is none of them.
_DEVICES = re.compile(r"cpu|meta|mps.*|(?:cuda|xpu|hpu)(?:[:0-9].*)?", re.DOTALL)


def location_findings(storages: Iterable[StorageRef], path: str) -> Iterator[Finding]:
    """A warning where torch has no loader for the device that storages were saved from."""
    odd = {ref.location for ref in storages if not _DEVICES.fullmatch(ref.location)}
    if odd:
        some = ", ".join(f"'{escape(location[:100])}'" for location in sorted(odd)[:_SHOWN])
        message = (
            f"torch does not load storages of the device {some} unless `map_location` is given"
        )
        hint = "convert it to safetensors, which names no devices"
        yield Finding("pickle-invalid", "warning", message, hint, path)


class Unloadable:
    """Reports what is wrong with a pickle from which no state dict can be made.

    The names that it would import are reported first, as far as its opcodes can be
    distinguished.
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


def lost_findings(
    lost: Mapping[str, Finding], names: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Yield what is wrong with each storage that is not there, for every tensor that has it.

    Both are by the storage's key. One that no tensor of the tree has is reported all the same.
    """
    for key, finding in lost.items():
        for name in names.get(key, (None,)):
            yield replace(finding, tensor=name)


def stray_findings(strays: Sequence[StorageRef], path: str) -> Iterator[Finding]:
    """Yield the error for storages that neither a tensor nor an object of the tree uses."""
    if strays:
        some = ", ".join(f"'{escape(ref.key)}'" for ref in strays[:5])
        total = sum(ref.nbytes for ref in strays)
        belong = "belongs" if len(strays) == 1 else "belong"
        message = (
            f"{plural(len(strays), 'storage')} of {plural(total, 'byte')} {belong} to no entry of "
            f"the file ({some})"
        )
        hint = "they are attributes or left over: save a plain state dict where the file was made"
        yield Finding("tensor-unread", "error", message, hint, path)
