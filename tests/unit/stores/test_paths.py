"""Paths of any store."""

from __future__ import annotations

import pytest

from shardctl.stores.base import Store
from shardctl.stores.local.store import LocalStore
from shardctl.stores.paths import below, directories_above
from shardctl.testing.memory import MemoryStore


@pytest.mark.parametrize("store", [LocalStore(), MemoryStore()], ids=["local", "memory"])
def test_down_and_up(store: Store) -> None:
    """A name with slashes leads down, and all that is above comes up from the nearest on."""
    path = below(store, "m", "unet/model.safetensors")
    assert path == "m/unet/model.safetensors"
    assert list(directories_above(store, path)) == ["m/unet", "m", ""]
    assert list(directories_above(store, f"{path}/")) == ["m/unet", "m", ""]


def test_the_root_is_the_last() -> None:
    """An absolute path ends there."""
    assert list(directories_above(LocalStore(), "/a/b")) == ["/a", "/"]
