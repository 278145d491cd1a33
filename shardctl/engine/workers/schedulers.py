"""Which executor the address of a scheduler means."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from shardctl.engine.workers.executors import Executor, Threads
from shardctl.errors import UsageError
from shardctl.text import escape


def executor_of(scheduler: str | None, jobs: int | None) -> Executor:
    """Return what makes the workers that the URL of a scheduler means; without one, threads.

    `jobs` is how many files to write at once, where that was asked for. Nothing is connected yet.
    Raises UsageError for anything but the address of a scheduler, and where what it needs is not
    installed.
    """
    if scheduler is None:
        return Threads
    load = _LOADERS.get(scheduler.partition("://")[0].lower())
    if load is None or not _is_address(scheduler):
        raise UsageError(
            f"'{escape(_public(scheduler))}' is not the address of a scheduler: a scheme, a host "
            "and a port, and nothing else",
            hint="give `scheduler` that of a Dask cluster, for example tcp://host:8786",
        )
    return load(scheduler, jobs)


def _dask(url: str, jobs: int | None) -> Executor:
    from shardctl.engine.workers.dask import dask_workers  # noqa: PLC0415 - when it is asked for

    return dask_workers(url, jobs)


#: What makes the executor of a URL, by its scheme. It is imported when it is called.
_LOADERS: Mapping[str, Callable[[str, int | None], Executor]] = {"tcp": _dask, "tls": _dask}


def _is_address(url: str) -> bool:
    """Whether a URL is a host and a port, and nothing else."""
    try:
        parts = urlsplit(url)
        whole = parts.hostname is not None and parts.port is not None
    except ValueError:
        return False
    return whole and "@" not in url and url.partition("://")[2] == parts.netloc


def _public(url: str) -> str:
    """Return a URL without what may be a secret: a user and a password, or a token after it."""
    url = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, _, rest = url.partition("://")
    secret, _, place = rest.rpartition("@")
    return f"{scheme}://{place}" if secret else url.rpartition("@")[2]
