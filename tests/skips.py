"""Skipped tests as failures: the pytest option `--strict-skips`, and the skips that it allows.

Continuous integration installs whatever the suites look for. A test that is skipped there has lost
its program, its permission or its filesystem, and a run that passes would not show it.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.support.radosgw import DOES_NOT_START

#: The skips that are allowed with `--strict-skips`: the reason that the test gives, and why it may
#: be skipped where everything is installed.
LISTED = {
    "needs a user who is not root": "most fault suites mount filesystems, and so need root",
    "needs Ceph's radosgw, ceph-mon and ceph-osd": "they are packages of the system, and large; "
    ".ci/run says it where they were not installed",
    DOES_NOT_START: "several servers must find each other, on a machine that others use as well; "
    "what failed is in the test's directory",
    "needs moto and obstore, of the group `cloud`": "moto's server needs many packages, too",
    "needs deepspeed, of the group `training`": "it is built where it is installed",
    "needs Dask, of the group `dask`": "it needs some packages that nothing else does",
    "needs the clients of the group `clients`": "they need many packages, of which one may not be "
    "there yet for a new Python; .ci/run says it where they were not installed",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--strict-skips` to pytest's options."""
    parser.addoption(
        "--strict-skips",
        action="store_true",
        help="fail if a test is skipped for a reason that tests/skips.py does not list",
    )


# Both hooks are the outermost of their kind: they see what pytest's own hooks made of skip marks.


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a failure of a test that is skipped and may not be."""
    report = yield
    if item.config.getoption("strict_skips") and not hasattr(report, "wasxfail"):
        _fail_unlisted(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make an error of a module that is skipped as a whole and may not be."""
    report = yield
    if collector.config.getoption("strict_skips"):
        _fail_unlisted(report)
    return report


def _fail_unlisted(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped:
        return
    assert isinstance(report.longrepr, tuple)  # (path, line, "Skipped: reason")
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if reason not in LISTED:
        report.outcome = "failed"
        report.longrepr = f"skipped, and not listed in tests/skips.py: {reason}"
