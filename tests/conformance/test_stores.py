"""Every store keeps the promises of the seam."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.stores.base import Store
from shardctl.stores.local import LocalStore
from shardctl.stores.memory import MemoryStore
from tests.conformance.stores import StoreSuite


class TestLocalStore(StoreSuite):
    """Files and folders of this machine."""

    @pytest.fixture
    def store(self) -> Store:
        return LocalStore()

    @pytest.fixture
    def root(self, tmp_path: Path) -> str:
        return str(tmp_path)


class TestRelativePaths(StoreSuite):
    """The same, from the current folder on."""

    @pytest.fixture
    def store(self) -> Store:
        return LocalStore()

    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path)
        return "sub"


class TestMemoryStore(StoreSuite):
    """The reference."""

    @pytest.fixture
    def store(self, root: str) -> Store:
        store = MemoryStore()
        store.make_directory(root)
        return store

    @pytest.fixture
    def root(self) -> str:
        return "/models/mine"
