"""What is wrong or odd with a checkpoint: findings, and how they are reported.

A finding and an exception carry the same facts, and each can be made from the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from shardctl.errors import FormatError, ShardctlError
from shardctl.text import plural

#: Findings of one code and severity that are reported one by one. A hostile header of a few MB
#: could hold a million of them.
_MOST_ALIKE = 100

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or odd: a stable code, a severity, a message, a hint and a place.

    `offset` is in bytes of the file. `count` is more than 1 where it sums up that many that
    are not reported one by one. `whole` says of an error that all tensors of the file can be read
    all the same: a writer can make a sound file of it.
    """

    code: str
    severity: Severity
    message: str
    hint: str
    file: str | None = None
    tensor: str | None = None
    offset: int | None = None
    count: int = 1
    whole: bool = False


#: Takes every finding. It may raise (and then reading ends there) or collect (and reading goes on
#: where it can).
Report = Callable[[Finding], None]


def strict(finding: Finding) -> None:
    """Raise an error, and drop warnings and notes: the report for a file that must be sound."""
    if finding.severity == "error":
        raise as_error(finding)


def ignore(_: Finding) -> None:
    """Drop a finding: the report for a file that is looked at whatever is wrong with it."""


def noting(notes: list[str]) -> Report:
    """Return a report like `strict` that adds warnings and notes to `notes`."""

    def report(finding: Finding) -> None:
        strict(finding)
        notes.append(in_one_line(finding))

    return report


def accepting(notes: list[str], accepted: list[str]) -> Report:
    """Return a report like `noting` that takes errors of files whose tensors are whole.

    What they say is added to `accepted`: a writer leaves it out, or puts it right.
    """
    note = noting(notes)

    def report(finding: Finding) -> None:
        if finding.whole:
            accepted.append(in_one_line(finding))
        else:
            note(finding)

    return report


def in_one_line(finding: Finding) -> str:
    """Return what a finding says and the file that it is about."""
    where = f"'{finding.file}': " if finding.file else ""
    return f"{where}{finding.message}"


#: What findings that are counted together have in common: code, severity, and `whole`.
_Kind = tuple[str, Severity, bool]


class Capped:
    """A report that passes on the first hundred findings of each code and severity.

    The rest is counted; `close` reports how many there were, as one more finding of that code.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._passed: Counter[_Kind] = Counter()
        self._hidden: Counter[_Kind] = Counter()
        self._last: dict[_Kind, Finding] = {}

    def __call__(self, finding: Finding) -> None:
        """Pass the finding on, or count it."""
        kind = (finding.code, finding.severity, finding.whole)
        # A sum of several, from a report within this one, is added to what is left out here.
        if finding.count == 1 and self._passed[kind] < _MOST_ALIKE:
            self._passed[kind] += 1
            self._last[kind] = finding
            self._report(finding)
        else:
            self._hidden[kind] += finding.count
            self._last.setdefault(kind, finding)

    def close(self) -> None:
        """Report how many findings were left out."""
        for kind, count in self._hidden.items():
            message = f"{plural(count, 'more finding')} like the ones above"
            hint = "fix the ones above first"
            last = self._last[kind]
            self._report(
                replace(last, message=message, hint=hint, tensor=None, offset=None, count=count)
            )


def folded(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield one finding for all those of a code and severity in one file, which have one cause.

    It is the first, and says how many more tensors it is about.
    """
    first: dict[tuple[str, Severity, str | None], Finding] = {}
    numbers = Counter[tuple[str, Severity, str | None]]()
    for finding in findings:
        kind = (finding.code, finding.severity, finding.file)
        first.setdefault(kind, finding)
        numbers[kind] += 1
    for kind, finding in first.items():
        more = numbers[kind] - 1
        said = f"; the same with {plural(more, 'more tensor')}" if more else ""
        yield replace(finding, message=f"{finding.message}{said}")


def report_all(findings: Iterable[Finding], report: Report) -> None:
    """Report each of them."""
    for finding in findings:
        report(finding)


def report_some(findings: Iterable[Finding], report: Report) -> None:
    """Report the first hundred findings of each code and severity, then how many more there are."""
    capped = Capped(report)
    report_all(findings, capped)
    capped.close()


def as_error(finding: Finding) -> FormatError:
    """Return the exception that carries a finding."""
    return FormatError(
        finding.message,
        hint=finding.hint,
        code=finding.code,
        file=finding.file,
        tensor=finding.tensor,
        offset=finding.offset,
    )


def as_finding(error: ShardctlError) -> Finding:
    """Return the finding that says what an error says."""
    return Finding(
        error.code, "error", error.message, error.hint, error.file, error.tensor, error.offset
    )
