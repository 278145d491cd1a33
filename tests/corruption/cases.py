"""What a case of the corpus of broken files is, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from shardctl.errors import FormatError
from shardctl.findings import Finding


@dataclass(frozen=True)
class Case:
    """A file that `make` builds, and the finding that reading it must give (None: it is sound)."""

    name: str
    suffix: str
    make: Callable[[], bytes]
    code: str | None
    severity: str = "error"


def assert_strict(
    case: Case, path: str, findings: Iterable[Finding], read: Callable[[], object]
) -> None:
    """Assert that `read` raises the first error of the findings, or returns a file without one.

    `read` reads the case's file at `path` with the strict report.
    """
    if case.code is None or case.severity != "error":
        assert read() is not None
        return
    with pytest.raises(FormatError) as caught:
        read()
    first = next(finding for finding in findings if finding.severity == "error")
    assert (caught.value.code, caught.value.exit_code, caught.value.file) == (first.code, 3, path)
