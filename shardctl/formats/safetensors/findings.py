"""Report what is wrong with one safetensors file."""

from __future__ import annotations

from shardctl.findings import Capped, Finding, Report, Severity

_SAVE_AGAIN = "save the file again with safetensors, or fetch it again"


class FileFindings:
    """Reports findings of one file: the first hundred of each code, then how many others."""

    def __init__(self, path: str, report: Report) -> None:
        self._path = path
        self._report = Capped(report)

    def add(
        self,
        code: str,
        message: str,
        hint: str = _SAVE_AGAIN,
        *,
        severity: Severity = "error",
        tensor: str | None = None,
        offset: int | None = None,
        whole: bool = False,
    ) -> None:
        """Report one finding; `offset` in bytes of the file, `whole` as in `Finding`."""
        self._report(
            Finding(code, severity, message, hint, self._path, tensor, offset, whole=whole)
        )

    def close(self) -> None:
        """Report how many findings were left out."""
        self._report.close()
