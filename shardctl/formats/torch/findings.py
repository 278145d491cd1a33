"""Report what is wrong with one of torch's files, whichever of its two forms it has.

The hints never send to a program that loads a pickle which would import what `weights_only` does
not allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shardctl.findings import Finding, Report
from shardctl.formats.hazards import DO_NOT_LOAD, unsafe_finding
from shardctl.formats.pickle.scan import imported_names
from shardctl.formats.pickle.values import StorageRef
from shardctl.formats.torch.weights_only import unsafe
from shardctl.text import escape

_SHOWN = 5
#: How the locations begin for which torch itself has a loader.
_DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu", "meta")


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
