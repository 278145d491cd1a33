"""What the functions of the package share: locations, and how many things are done at once."""

from __future__ import annotations

import os
from typing import TypeAlias

from shardctl.engine.run import RunOptions
from shardctl.errors import UsageError
from shardctl.streams.pool import default_jobs

#: A path of this machine, or a URL.
Location: TypeAlias = "str | os.PathLike[str]"


def run_options(jobs: int | None, *, restart: bool) -> RunOptions:
    """Return how to run; raises UsageError for less than one job."""
    return RunOptions(jobs_of(jobs), restart=restart)


def jobs_of(jobs: int | None) -> int:
    """Return how many things to do at once; raises UsageError for less than one."""
    if jobs is not None and jobs < 1:
        raise UsageError("`jobs` is less than one", hint="give how many files to handle at once")
    return jobs or default_jobs()
