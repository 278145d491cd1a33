"""Findings of one file have its path, and a flood of them is summed up."""

from __future__ import annotations

from shardctl.findings import Finding
from shardctl.formats.safetensors.findings import FileFindings


def test_a_finding_has_the_path_and_a_hint() -> None:
    """What is not given is what fits most findings."""
    found: list[Finding] = []
    FileFindings("m.safetensors", found.append).add("header-invalid", "why")
    assert found == [
        Finding(
            "header-invalid",
            "error",
            "why",
            "save the file again with safetensors, or fetch it again",
            "m.safetensors",
        )
    ]


def test_every_field_is_passed_on() -> None:
    """Severity, hint, tensor, offset and whether the tensors are whole."""
    found: list[Finding] = []
    FileFindings("m", found.append).add(
        "c", "why", "do", severity="note", tensor="w", offset=7, whole=True
    )
    assert found == [Finding("c", "note", "why", "do", "m", "w", 7, whole=True)]


def test_a_hundred_are_reported_and_the_others_counted() -> None:
    """How many were left out is said when the file is done, for each code."""
    found: list[Finding] = []
    findings = FileFindings("m", found.append)
    for number in range(103):
        findings.add("a", str(number))
    findings.add("b", "other")
    assert len(found) == 101
    findings.close()
    assert len(found) == 102
    assert (found[-1].code, found[-1].count, found[-1].file) == ("a", 3, "m")
