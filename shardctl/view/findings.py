"""Findings with texts that are safe to show, by the files in which they have a place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from shardctl.findings import Finding
from shardctl.text import MOST_COLUMNS, elide, escape, plural, printable

#: Columns of a message: it can quote a few names.
_MOST_OF_MESSAGE = 4 * MOST_COLUMNS


def shown(finding: Finding) -> Finding:
    """Return a finding with escaped names and printable messages, none of them endless."""
    return replace(
        finding,
        message=printable(elide(finding.message, _MOST_OF_MESSAGE)),
        hint=printable(elide(finding.hint, _MOST_OF_MESSAGE)),
        file=None if finding.file is None else escape(finding.file),
        tensor=None if finding.tensor is None else elide(escape(finding.tensor), MOST_COLUMNS),
    )


def placed(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Return the findings that have an offset in a file, by the file's path, as it is opened."""
    by_path: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.file is not None and finding.offset is not None:
            by_path.setdefault(finding.file, []).append(shown(finding))
    return by_path


def counted(counts: Mapping[str, int]) -> str:
    """Return the number of findings by severity, for example `2 errors, 1 note`; empty for none."""
    return ", ".join(plural(count, severity) for severity, count in counts.items() if count)
