"""What the address of a scheduler may be."""

from __future__ import annotations

import sys

import pytest

from shardctl.engine.workers.executors import Threads
from shardctl.engine.workers.schedulers import executor_of
from shardctl.errors import UsageError


def test_without_a_scheduler_there_are_threads() -> None:
    """Only who asks for a cluster gets one."""
    assert executor_of(None, 3) is Threads


@pytest.mark.parametrize(
    "url",
    [
        "",
        "here",
        "host:8786",
        "http://host:8786",
        "ray://host:10001",
        "tcp://",
        "tcp://host",
        "tcp://host:port",
        "tcp://host:99999",
        "tcp://host:8786/",
        "tcp://host:8786/path",
        "tcp://host:8786?x",
        "tcp://:8786",
        "tcp://user:s3cr3t@host:8786",
        "s3cr3t@tcp://host:8786",
        "tls://host:8786?token=s3cr3t",
        "tls://host:8786/#s3cr3t",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """Anything but a host and a port of a scheme that is known is refused, without a password."""
    with pytest.raises(UsageError, match="not the address of a scheduler") as caught:
        executor_of(url, None)
    assert "s3cr3t" not in repr(caught.value.__reduce__())
    assert "tcp://host:8786" in caught.value.hint


@pytest.mark.parametrize("url", ["tcp://host:8786", "TLS://host:8786", "tcp://[::1]:8786"])
def test_what_a_scheduler_needs_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Dask the error says which extra to install, before anything is read."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match="needs distributed") as caught:
        executor_of(url, None)
    assert "shardctl[dask]" in caught.value.hint
