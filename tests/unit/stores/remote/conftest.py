"""Servers for the tests of remote stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shardctl.stores.remote.retry import Patience
from tests.support.web_server import WebServer, hub, use_hub, web

#: Tries often, and does not wait.
QUICK = Patience(tries=4, first=0.0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    """A server of `a.bin`, of 300,000 bytes, and of what a test adds to `tmp_path`."""
    (tmp_path / "a.bin").write_bytes(bytes(range(250)) * 1200)
    with web(tmp_path) as server:
        yield server


@pytest.fixture
def hub_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A hub of one repository, `org/model`, with one file `a.bin`, which this process asks."""
    (tmp_path / "org" / "model").mkdir(parents=True)
    (tmp_path / "org" / "model" / "a.bin").write_bytes(b"weights" * 1000)
    with hub(tmp_path) as server:
        use_hub(monkeypatch, server, tmp_path)
        yield server
