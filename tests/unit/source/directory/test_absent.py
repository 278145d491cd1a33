"""Names of a set that do not lead to a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shardctl.source.directory.absent import absent
from shardctl.stores.local.store import LocalStore


@pytest.mark.parametrize(
    ("name", "listed", "code"),
    [
        ("file", False, None),
        ("link", True, None),
        ("dangling", False, "file-not-regular"),
        ("dangling", True, "index-shard-missing"),
        ("missing", True, "index-shard-missing"),
        ("directory", True, "file-not-regular"),
        ("pipe", False, "file-not-regular"),
    ],
)
def test_what_a_name_leads_to(tmp_path: Path, name: str, code: str | None, *, listed: bool) -> None:
    """What is missing although an index lists it differs from what is not a file."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("gone")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    found = absent(LocalStore(), str(tmp_path / name), listed=listed)
    assert (found and found.code) == code
