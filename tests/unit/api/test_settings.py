"""How many things are done at once, as a program says it."""

from __future__ import annotations

import pytest

from shardctl.api.settings import jobs_of, run_options
from shardctl.engine.run import RunOptions
from shardctl.errors import UsageError
from shardctl.streams.pool import default_jobs


def test_one_job_is_the_least() -> None:
    """Without a number the default is taken; zero is not without one."""
    assert (jobs_of(1), jobs_of(7)) == (1, 7)
    assert jobs_of(None) == default_jobs() >= 1


@pytest.mark.parametrize("jobs", [0, -1])
def test_less_than_one_is_refused(jobs: int) -> None:
    """The error names the setting as a program spells it."""
    with pytest.raises(UsageError, match="`jobs` is less than one"):
        jobs_of(jobs)
    with pytest.raises(UsageError):
        run_options(jobs, restart=False)


@pytest.mark.parametrize("restart", [False, True])
def test_a_run_has_both_settings(*, restart: bool) -> None:
    """The number of jobs, and whether it starts over."""
    assert run_options(3, restart=restart) == RunOptions(3, restart=restart)
