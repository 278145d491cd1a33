"""Blobs of the cache of the hub's library are known by where they lie."""

from __future__ import annotations

import pytest

from shardctl.source.recorded.hub_cache import is_blob
from shardctl.testing.memory import MemoryStore


@pytest.mark.parametrize(
    ("path", "blob"),
    [
        ("hub/models--org--name/blobs/abc", True),
        ("models--name/blobs/abc", True),
        ("hub/models--org--name/blobs/sub/abc", False),
        ("hub/models--org--name/snapshots/abc", False),
        ("hub/models-org/blobs/abc", False),
        ("hub/datasets--org--name/blobs/abc", False),
        ("blobs/abc", False),
        ("abc", False),
        ("", False),
    ],
)
def test_a_blob_lies_in_the_blobs_of_a_model(path: str, *, blob: bool) -> None:
    """Both directories above it have the names of the cache."""
    assert is_blob(MemoryStore(), path) is blob
