"""Each `SHA256SUMS` is staged with what it will hold, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.engine.commit.staging import Staging
from shardctl.engine.commit.sums import stage_sums
from shardctl.engine.journal.receipts import Receipt
from shardctl.stores.base import Copied
from shardctl.stores.local.store import LocalStore

DIGEST = "a" * 64


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A directory with two lists of checksums."""
    (tmp_path / "s").mkdir()
    for name in ("SHA256SUMS", "s/SHA256SUMS"):
        (tmp_path / name).write_text("old")
    return tmp_path


def test_digests_join_the_list_of_the_directory_itself(target: Path) -> None:
    """One in a sub-directory keeps what stays of it, and one without lines is not staged."""
    receipts = (Receipt("a", 1, DIGEST, Copied()), Receipt("b", 1, None, Copied()))
    kept = {"SHA256SUMS": b"", "s/SHA256SUMS": b"mine\n", "u/SHA256SUMS": b""}
    with Staging.make(LocalStore(), str(target)) as staging:
        assert stage_sums(staging, str(target), kept, receipts) == ["SHA256SUMS", "s/SHA256SUMS"]
        assert Path(staging.staged("SHA256SUMS")).read_text() == f"{DIGEST}  a\n"
        assert Path(staging.staged("s/SHA256SUMS")).read_bytes() == b"mine\n"
        assert not Path(staging.staged("u")).exists()


def test_permissions_stay(target: Path) -> None:
    """A list that only its owner may read is one afterwards, too."""
    (target / "s/SHA256SUMS").chmod(0o600)
    with Staging.make(LocalStore(), str(target)) as staging:
        stage_sums(staging, str(target), {"s/SHA256SUMS": b"mine\n"}, ())
        assert Path(staging.staged("s/SHA256SUMS")).stat().st_mode & 0o777 == 0o600


def test_what_an_interrupted_run_staged_is_written_again(target: Path) -> None:
    """A list of another try is replaced."""
    with Staging.make(LocalStore(), str(target)) as staging:
        for data in (b"one\n", b"two\n"):
            stage_sums(staging, str(target), {"SHA256SUMS": data}, ())
        assert Path(staging.staged("SHA256SUMS")).read_bytes() == b"two\n"
