"""How findings are handed on: of each kind the first hundred, so that one fault made a million times stays readable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from shardctl.model import Finding

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
