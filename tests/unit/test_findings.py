"""How many findings of a kind are handed on."""

from __future__ import annotations

from dataclasses import replace

from shardctl.findings import Capped, Finding, report_some


def finding(code: str, number: int) -> Finding:
    """A finding of a tensor."""
    return Finding(code, "error", f"fault {number}", "fix it", "f", f"t{number}", number)


def reported(findings: list[Finding]) -> list[Finding]:
    """What is handed on of these."""
    told: list[Finding] = []
    report_some(findings, told.append)
    return told


def test_few_are_handed_on_as_they_are() -> None:
    """A hundred of a kind come whole and in order; none are none."""
    few = [finding("a", number) for number in range(100)]
    assert reported(few) == few
    assert reported([]) == []


def test_of_many_the_rest_is_counted() -> None:
    """Past the hundredth of a code one more finding says how many there are, for the file and not
    for one tensor.
    """
    told = reported([finding("a", number) for number in range(1_234)] + [finding("b", 0)])
    assert len(told) == 102
    assert told[100] == finding("b", 0)
    last = told[-1]
    assert last.message == "1,134 more findings like the ones above"
    assert (last.code, last.severity, last.file, last.tensor, last.offset) == (
        "a",
        "error",
        "f",
        None,
        None,
    )


def test_the_count_comes_last_and_with_its_own_severity() -> None:
    """Errors and warnings of one code are counted apart, and the counts follow when all is
    reported.
    """
    warnings = [replace(finding("a", number), severity="warning") for number in range(102)]
    told: list[Finding] = []
    capped = Capped(told.append)
    for each in [*warnings, *(finding("a", number) for number in range(101))]:
        capped(each)
    assert len(told) == 200
    capped.close()
    assert [(each.severity, each.message.split()[0]) for each in told[200:]] == [
        ("warning", "2"),
        ("error", "1"),
    ]


def test_counts_within_counts_are_added_up() -> None:
    """What a report within another one left out is counted with what the outer one leaves out."""
    told: list[Finding] = []
    outer = Capped(told.append)
    for number in range(3):
        inner = Capped(outer)
        for place in range(120):
            inner(finding("a", 1000 * number + place))
        inner.close()
    outer.close()
    assert len(told) == 101
    assert (told[-1].message, told[-1].count) == ("260 more findings like the ones above", 260)


def test_what_stands_for_more_is_told_last() -> None:
    """A count from within is not taken for a finding, however few there are besides."""
    told: list[Finding] = []
    report_some([replace(finding("a", 0), count=7), finding("a", 1)], told.append)
    assert told[0] == finding("a", 1)
    assert (told[1].count, told[1].message) == (7, "7 more findings like the ones above")


def test_each_code_is_counted_for_itself() -> None:
    """A flood of one code hides nothing of another."""
    mixed = [finding(code, number) for number in range(101) for code in "ab"]
    told = reported(mixed)
    assert [each.message for each in told[200:]] == ["1 more finding like the ones above"] * 2
