"""How findings are handed on: of each kind the first hundred, so that one fault made a million times stays readable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from shardctl.errors import FormatError, ShardctlError

_SHOWN_PER_CODE = 100


def report_some(findings: Iterable[Finding], report: Callable[[Finding], None]) -> None:
    """Report the first hundred findings of each code, and then how many more there are of it."""
    seen: Counter[str] = Counter()
    last: dict[str, Finding] = {}
    for finding in findings:
        seen[finding.code] += 1
        if seen[finding.code] <= _SHOWN_PER_CODE:
            report(finding)
            last[finding.code] = finding
    for code, count in seen.items():
        if count > _SHOWN_PER_CODE:
            message = f"{count - _SHOWN_PER_CODE:,} more findings like the ones above"
            report(replace(last[code], message=message, tensor=None, offset=None))


Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or odd: a stable code, how bad, where (offset in bytes), what, and what to do."""

    code: str
    severity: Severity
    message: str
    hint: str
    file: str | None = None
    tensor: str | None = None
    offset: int | None = None


#: Told every finding. It may raise (and then reading ends there) or collect (and reading goes on
#: where it can).
Report = Callable[[Finding], None]


def strict(finding: Finding) -> None:
    """The report of those who need the file whole: an error is raised, warnings and notes pass."""
    if finding.severity == "error":
        raise as_error(finding)


def noting(notes: list[str]) -> Report:
    """Like `strict`, but what passes is added to `notes`, for people to read."""

    def report(finding: Finding) -> None:
        strict(finding)
        where = f"'{finding.file}': " if finding.file else ""
        notes.append(f"{where}{finding.message}")

    return report


def as_error(finding: Finding) -> FormatError:
    """The exception that carries a finding."""
    return FormatError(
        finding.message,
        hint=finding.hint,
        code=finding.code,
        file=finding.file,
        tensor=finding.tensor,
        offset=finding.offset,
    )


def as_finding(error: ShardctlError) -> Finding:
    """An error as something found."""
    return Finding(
        error.code, "error", error.message, error.hint, error.file, error.tensor, error.offset
    )


# Of one kind of fault in one file; a hostile header of a few MB could make a million of them.
_FINDINGS_PER_CODE = 100


_SAVE_AGAIN = "save the file again with safetensors, or fetch it again"


class Faults:
    """Reports what is wrong with one file; of each code the first hundred, then how many more there are."""

    def __init__(self, path: str, report: Report) -> None:
        self._path = path
        self._report = report
        self._seen: Counter[tuple[str, Severity]] = Counter()

    def add(
        self,
        code: str,
        message: str,
        hint: str = _SAVE_AGAIN,
        *,
        severity: Severity = "error",
        tensor: str | None = None,
        offset: int | None = None,
    ) -> None:
        """Report one fault; `offset` in bytes of the file."""
        self._seen[code, severity] += 1
        if self._seen[code, severity] <= _FINDINGS_PER_CODE:
            self._report(Finding(code, severity, message, hint, self._path, tensor, offset))

    def close(self) -> None:
        """Say how many findings were left out."""
        for (code, severity), count in self._seen.items():
            if count > _FINDINGS_PER_CODE:
                message = f"{count - _FINDINGS_PER_CODE:,} more findings like these in this file"
                self._report(
                    Finding(code, severity, message, "mend the ones above first", self._path)
                )
