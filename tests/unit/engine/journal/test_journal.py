"""What a run leaves on disk, read again by the next one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from shardctl.engine.commit import exchange
from shardctl.engine.commit.nested import Nested
from shardctl.engine.commit.staging import FILES, Staging
from shardctl.engine.journal.journal import COMMIT, OLD_RECORD, PLAN, Commit, Journal, RunIdentity
from shardctl.engine.journal.receipts import LINES, Receipt
from shardctl.errors import StorageError, TargetExistsError
from shardctl.formats.limits import MAX_JOURNAL_BYTES
from shardctl.model import Version
from shardctl.naming import STAGING
from shardctl.stores.atomic import put
from shardctl.stores.base import Copied
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put as put_file
from tests.support.odd_files import ODD, Odd, make_odd

IDENTITY = RunIdentity(
    "id", {"max_shard_bytes": 5, "stem": None}, {"a": Version(1, "x"), "b": Version(2, "y")}
)
RECEIPT = Receipt("s1", 10, "ab", Copied(1, 2, 3))
J = f"t/{STAGING}"


@pytest.fixture
def store() -> MemoryStore:
    """A store with a target directory `t`."""
    store = MemoryStore()
    store.make_directory("t")
    return store


@pytest.fixture
def journal(store: MemoryStore) -> Iterator[Journal]:
    """The journal of a run into `t`."""
    with Staging.make(store, "t") as staging:
        yield Journal(staging)


def stage(store: MemoryStore, *names: str) -> None:
    """Put finished files into the staging directory."""
    for name in names:
        put_file(store, f"{J}/{FILES}/{name}", b"x")


def test_nothing_is_there_at_first(journal: Journal) -> None:
    """An empty directory has no run, no commit and no receipts."""
    assert (journal.identity(), journal.commit(), journal.receipts()) == (None, None, {})
    assert not journal.has_commit()


def test_what_is_noted_is_read_again(journal: Journal, store: MemoryStore) -> None:
    """Identity, names, receipts and commit come back equal."""
    journal.begin(IDENTITY, ["s1", "s2"])
    stage(store, "s1")
    journal.add(RECEIPT)
    staging = journal.staging
    found = exchange.plan(Nested(staging.target), staging.make_files(), ["s1"], [])
    commit = Commit(IDENTITY, staging.target.own_identity(), found, (RECEIPT,), ("old",))
    journal.begin_commit(commit)
    assert (journal.identity(), journal.names()) == (IDENTITY, ("s1", "s2"))
    assert journal.receipts() == {"s1": RECEIPT}
    assert journal.commit() == commit
    journal.end()
    assert (journal.identity(), journal.commit(), journal.receipts()) == (None, None, {})


def test_nothing_is_left_at_the_end(journal: Journal, store: MemoryStore) -> None:
    """Once a run has ended its directory is empty, also of what version 0.1.0 left there."""
    put_file(store, f"{J}/{OLD_RECORD}", b"{}")
    journal.begin(IDENTITY, ["s1", "sub/deep/a"])
    store.make_directory(f"{J}/{FILES}/sub/deep")
    stage(store, "s1", "sub/deep/a")
    journal.add(RECEIPT)
    journal.end()
    journal.staging.remove()
    assert store.list("t") == []


def test_any_name_is_kept(journal: Journal, store: MemoryStore) -> None:
    """Names with slashes, quotes, line breaks and bytes that are not UTF-8 survive."""
    receipt = replace(RECEIPT, filename='sub/a"\n\udce9漢')
    store.make_directory(f"{J}/{FILES}/sub")
    stage(store, receipt.filename)
    journal.add(receipt)
    assert journal.receipts() == {receipt.filename: receipt}


@pytest.mark.parametrize(
    "torn", [b"", b"{", b'{"filename": "s2", "nbytes"', b"\0" * 50, b"\xff\xfe", b"7", b"[]"]
)
def test_a_torn_last_line_is_skipped(journal: Journal, store: MemoryStore, torn: bytes) -> None:
    """A torn line costs that file only, and the next line still counts."""
    stage(store, "s1", "s3")
    journal.add(RECEIPT)
    store.append(journal.path(LINES), b"\n" + torn)
    other = replace(RECEIPT, filename="s3", sha256=None)
    assert journal.receipts() == {"s1": RECEIPT}
    journal.add(other)
    assert journal.receipts() == {"s1": RECEIPT, "s3": other}


def test_the_last_receipt_of_a_file_counts(journal: Journal, store: MemoryStore) -> None:
    """A file that was written again has the later receipt."""
    stage(store, "s1")
    journal.add(RECEIPT)
    journal.add(replace(RECEIPT, nbytes=11))
    assert journal.receipts()["s1"].nbytes == 11


def test_a_receipt_of_another_file_is_ignored(tmp_path: Path) -> None:
    """A receipt counts only for the very file that was noted: not for one of that name and size."""
    with Staging.make(LocalStore(), str(tmp_path)) as staging:
        journal = Journal(staging)
        journal.begin(IDENTITY, ["s1"])
        file = tmp_path / STAGING / FILES / "s1"
        file.write_bytes(b"real")
        journal.add(RECEIPT)
        assert journal.receipts() == {"s1": RECEIPT}
        file.rename(tmp_path / "away")
        file.write_bytes(b"fake")
        assert journal.receipts() == {}


def test_noting_files_leaves_none_open(tmp_path: Path) -> None:
    """However many files are noted, no descriptor stays open for each."""

    def free_number() -> int:
        number = os.open(os.devnull, os.O_RDONLY)
        os.close(number)
        return number

    with Staging.make(LocalStore(), str(tmp_path)) as staging:
        journal = Journal(staging)
        journal.begin(IDENTITY, ["s1"])
        (tmp_path / STAGING / FILES / "s1").write_bytes(b"x")
        before = free_number()
        for _ in range(5):
            journal.add(RECEIPT)
        assert journal.receipts() == {"s1": RECEIPT}
        assert free_number() == before


def test_a_file_that_is_gone_cannot_be_noted(journal: Journal) -> None:
    """A finished file that another program removed is an error that names it."""
    journal.begin(IDENTITY, ["s1"])
    with pytest.raises(StorageError) as caught:
        journal.add(RECEIPT)
    assert caught.value.file == f"{J}/{FILES}/s1"


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"null", b"{}", b'{"journal_version": 1}', b'{"journal_version": 2}', b"\xff",
     b"[" * 100_000, b'{"journal_version": 2, "plan_id": "x", "options": {}, "sources": 7}'],
)  # fmt: skip
@pytest.mark.parametrize("name", [PLAN, COMMIT])
def test_a_foreign_journal_is_refused(
    journal: Journal, store: MemoryStore, name: str, content: bytes
) -> None:
    """What is not of this version is an error whose hint removes nothing."""
    put(store, J, name, content)
    with pytest.raises(StorageError, match="is not a journal") as caught:
        journal.identity() if name == PLAN else journal.commit()
    assert caught.value.file == f"{J}/{name}"
    assert "remove" not in caught.value.hint


@pytest.mark.parametrize("what", [*ODD, "empty"])
def test_a_commit_that_is_no_file_is_refused(tmp_path: Path, what: Odd | Literal["empty"]) -> None:
    """It is not taken for one that the next run completes."""
    with Staging.make(LocalStore(), str(tmp_path)) as staging:
        path = tmp_path / STAGING / COMMIT
        path.touch() if what == "empty" else make_odd(path, what)
        with pytest.raises(StorageError, match="is not a journal") as caught:
            Journal(staging).commit()
    assert "move" in caught.value.hint


def test_a_huge_journal_is_not_read(tmp_path: Path) -> None:
    """A journal of more bytes than any run writes is refused before it is read."""
    with Staging.make(LocalStore(), str(tmp_path)) as staging:
        with (tmp_path / STAGING / PLAN).open("wb") as file:
            file.truncate(MAX_JOURNAL_BYTES + 1)
        with pytest.raises(StorageError, match="is not a journal"):
            Journal(staging).identity()


def test_keeping_some_forgets_the_others(journal: Journal, store: MemoryStore) -> None:
    """Receipts and staged files stay or go together; files that no run wrote stay."""
    journal.begin(IDENTITY, ["s1", "s2", "half"])
    stage(store, "s1", "s2", "half", "unknown")
    for name in ("s1", "s2"):
        journal.add(replace(RECEIPT, filename=name))
    journal.keep(["s1"])
    assert set(journal.receipts()) == {"s1"}
    assert [entry.name for entry in store.list(f"{J}/{FILES}")] == ["s1", "unknown"]


def test_a_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The staging directory of another user is not used."""
    (tmp_path / STAGING).mkdir()
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    with pytest.raises(TargetExistsError, match="belongs to another user"):
        Staging.make(LocalStore(), str(tmp_path))


def test_others_may_not_look_into_it(tmp_path: Path) -> None:
    """The staging directory is for the user who runs the command alone."""
    with Staging.make(LocalStore(), str(tmp_path)) as staging:
        staging.make_files()
        assert (tmp_path / STAGING).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (replace(IDENTITY, options={"max_shard_bytes": 6, "stem": None}), "other options"),
        (replace(IDENTITY, sources={"a": Version(1, "z")}), "other sources"),
        (replace(IDENTITY, plan_id="other"), "another plan"),
    ],
)
def test_differences_are_said(other: RunIdentity, said: str) -> None:
    """What tells two runs apart is said in words: options first, then sources, then the plan."""
    assert said in IDENTITY.differences(other)
