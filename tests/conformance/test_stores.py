"""Every store of the package passes the suites of its capabilities."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.stores.base import Store
from shardctl.stores.local import LocalStore
from shardctl.testing.memory import MemoryStore
from shardctl.testing.suites.capabilities import (
    AppendsSuite,
    DropsCachesSuite,
    FindsHolesSuite,
    FollowsLinksSuite,
    KeepsModesSuite,
    KnowsFreeSpaceSuite,
    LocksSuite,
    OpensDirectoriesSuite,
    RemovesDirectoriesSuite,
    SharesBlocksSuite,
    SyncsDirectoriesSuite,
)
from shardctl.testing.suites.stores import StoreSuite


class TestLocalStore(
    StoreSuite,
    OpensDirectoriesSuite,
    AppendsSuite,
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
