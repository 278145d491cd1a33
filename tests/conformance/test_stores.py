"""Every store of the package passes the suites of its capabilities."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shardctl.stores.base import Store
from shardctl.stores.local.store import LocalStore
from shardctl.stores.registry import open_store
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryStore
from shardctl.testing.suites.capabilities import (
    AppendsSuite,
    DropsCachesSuite,
    FindsHolesSuite,
    FollowsLinksSuite,
    KeepsModesSuite,
    KnowsFreeSpaceSuite,
    LeasesSuite,
    LocksSuite,
    OpensDirectoriesSuite,
    RemovesDirectoriesSuite,
    SharesBlocksSuite,
    SyncsDirectoriesSuite,
)
from shardctl.testing.suites.fixtures import Fill
from shardctl.testing.suites.reading import ReadableStoreSuite
from shardctl.testing.suites.remote import ReadOnlySuite, RemoteSuite
from shardctl.testing.suites.stores import StoreSuite
from shardctl.testing.suites.uploads import CopiesPartsSuite, UploadsSuite
from tests.support.web_server import WebServer, hub, use_hub, web


class TestLocalStore(
    StoreSuite,
    OpensDirectoriesSuite,
    AppendsSuite,
    LeasesSuite,
    LocksSuite,
    SyncsDirectoriesSuite,
    RemovesDirectoriesSuite,
    SharesBlocksSuite,
    KnowsFreeSpaceSuite,
    KeepsModesSuite,
    DropsCachesSuite,
    FindsHolesSuite,
    FollowsLinksSuite,
):
    """Files and directories of this machine, by absolute paths."""

    @pytest.fixture
    def store(self) -> Store:
        """The local store."""
        return LocalStore()

    @pytest.fixture
    def root(self, tmp_path: Path) -> str:
        """An empty directory."""
        return str(tmp_path)


class TestRelativePaths(TestLocalStore):
    """The same, by paths relative to the current directory."""

    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        """An empty directory below the current one."""
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path)
        return "sub"


class TestMemoryStore(
    StoreSuite, AppendsSuite, LocksSuite, SyncsDirectoriesSuite, RemovesDirectoriesSuite
):
    """Files in memory."""

    @pytest.fixture
    def store(self, root: str) -> Store:
        """A store with an empty directory."""
        store = MemoryStore()
        store.make_directory(root)
        return store

    @pytest.fixture
    def root(self) -> str:
        """The path of that directory."""
        return "/models/mine"


class TestMemoryBucket(StoreSuite, LocksSuite, UploadsSuite, CopiesPartsSuite):
    """Objects in memory."""

    @pytest.fixture
    def store(self) -> Store:
        """A store of an empty bucket."""
        return MemoryBucket()

    @pytest.fixture
    def root(self) -> str:
        """The path of a directory in it."""
        return "models/mine"


class TestWebStore(ReadableStoreSuite, ReadOnlySuite, RemoteSuite):
    """Files of a web server, which lists none: those are there that were asked for."""

    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[WebServer]:
        """A server of an empty directory."""
        (tmp_path / "models").mkdir()
        with web(tmp_path) as server:
            yield server

    @pytest.fixture
    def store(self, server: WebServer) -> Store:
        """The store of that server."""
        return open_store(f"{server.url}/models/data")[0]

    @pytest.fixture
    def root(self, server: WebServer) -> str:
        """The URL of a directory on it."""
        return f"{server.url}/models"

    @pytest.fixture
    def fill(self, store: Store, server: WebServer, tmp_path: Path) -> Fill:
        """What writes into the directory that is served, and asks for the file."""

        def fill(path: str, data: bytes) -> str:
            file = tmp_path / path.removeprefix(server.url).lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            if store.kind(path) is None:
                pytest.fail(f"{path} is not served")
            return path

        return fill


class TestHubStore(ReadableStoreSuite, ReadOnlySuite, RemoteSuite):
    """A repository of a hub, at the commit at which it was when it was first asked for."""

    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
        """The store of a repository."""
        (tmp_path / "org" / "model").mkdir(parents=True)
        with hub(tmp_path) as server:
            use_hub(monkeypatch, server, tmp_path)
            yield open_store("hf://org/model/sub")[0]

    @pytest.fixture
    def root(self) -> str:
        """A directory in the repository."""
        return "hf://org/model/sub"

    @pytest.fixture
    def fill(self, tmp_path: Path) -> Fill:
        """What writes into the directory that is served."""

        def fill(path: str, data: bytes) -> str:
            file = tmp_path / path.removeprefix("hf://")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            return path

        return fill
