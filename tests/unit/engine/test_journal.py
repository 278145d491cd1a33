"""What a run leaves on disk, read again by the next one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shardctl.engine.journal import (
    COMMIT,
    FILES,
    PLAN,
    RECORD,
    Commit,
    Journal,
    RunIdentity,
    RunRecord,
)
from shardctl.engine.receipts import LINES, Receipt
from shardctl.errors import StorageError
from shardctl.model import Version
from shardctl.stores.atomic import put
from shardctl.stores.base import Copied
from shardctl.stores.local import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.small import get
from tests.small import put as put_file

IDENTITY = RunIdentity(
    "id", {"max_shard_bytes": 5, "stem": None}, {"a": Version(1, "x"), "b": Version(2, "y")}
)
RECEIPT = Receipt("s1", 10, "ab", Copied(1, 2, 3))
COMMITTED = Commit(IDENTITY, ("old.index.json",), ("s1", "new.index.json"), ("old",), (RECEIPT,))
DONE = RunRecord(
    "id", IDENTITY.options, IDENTITY.sources, {"s1": Version(10, "z")}, "s1", {"s1": "ab"}
)


@pytest.fixture
def store() -> MemoryStore:
    """A store with an empty staging directory `j`."""
    store = MemoryStore()
    store.make_directory("j")
    return store


@pytest.fixture
def journal(store: MemoryStore) -> Journal:
    """The journal in `j`."""
    return Journal(store, "j")


def test_nothing_is_there_at_first(journal: Journal) -> None:
    """An empty directory has no run, no commit, no record and no receipts."""
    assert (journal.identity(), journal.commit(), journal.record(), journal.receipts()) == (
        None,
        None,
        None,
        {},
    )


def test_what_is_noted_is_read_again(journal: Journal) -> None:
    """Header, receipts, commit and record come back equal."""
    journal.begin(IDENTITY)
    journal.add(RECEIPT)
    journal.begin_commit(COMMITTED)
    assert journal.identity() == IDENTITY
    assert journal.receipts() == {"s1": RECEIPT}
    assert journal.commit() == COMMITTED
    journal.finish(DONE)
    assert journal.record() == DONE
    assert (journal.identity(), journal.commit(), journal.receipts()) == (None, None, {})


def test_any_name_is_kept(journal: Journal) -> None:
    """Names with quotes, line breaks and bytes that are not UTF-8 survive."""
    receipt = replace(RECEIPT, filename='a"\n\udce9漢')
    journal.add(receipt)
    assert journal.receipts() == {receipt.filename: receipt}


def test_without_a_record_the_old_one_goes(journal: Journal, store: MemoryStore) -> None:
    """Without a record, that of an earlier run is removed too."""
    journal.finish(DONE)
    journal.begin_commit(COMMITTED)
    journal.finish(None)
    assert store.list("j") == []


@pytest.mark.parametrize(
    "torn", [b"", b"{", b'{"filename": "s2", "nbytes"', b"\0" * 50, b"\xff\xfe", b"7", b"[]"]
)
def test_a_torn_last_line_is_passed_over(journal: Journal, store: MemoryStore, torn: bytes) -> None:
    """A torn line costs that file only, and the next line still counts."""
    journal.add(RECEIPT)
    store.append(journal.path(LINES), b"\n" + torn)
    other = replace(RECEIPT, filename="s3", sha256=None)
    assert journal.receipts() == {"s1": RECEIPT}
    journal.add(other)
    assert journal.receipts() == {"s1": RECEIPT, "s3": other}


def test_the_last_receipt_of_a_file_counts(journal: Journal) -> None:
    """A file that was written again has the later receipt."""
    journal.add(RECEIPT)
    journal.add(replace(RECEIPT, nbytes=11))
    assert journal.receipts()["s1"].nbytes == 11


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"null", b"{}", b'{"journal_version": 2}', b'{"journal_version": 1}', b"\xff", b"[" * 100_000,
     b'{"journal_version": 1, "plan_id": "x", "options": {}, "sources": 7}'],
)  # fmt: skip
@pytest.mark.parametrize("name", [PLAN, COMMIT, RECORD])
def test_a_foreign_journal_is_refused(
    journal: Journal, store: MemoryStore, name: str, content: bytes
) -> None:
    """What another version or somebody else wrote is named, and what to do about it."""
    put_file(store, f"j/{name}", content)
    read = {PLAN: journal.identity, COMMIT: journal.commit, RECORD: journal.record}[name]
    with pytest.raises(StorageError, match=name) as caught:
        read()
    assert "remove that directory" in caught.value.hint


@pytest.mark.parametrize("name", ["../x", "/etc/x", "sub/x", "..", ".", "", 7, None])
@pytest.mark.parametrize("place", ["remove_first", "renames", "remove_last"])
def test_a_commit_stays_in_its_directory(
    journal: Journal, store: MemoryStore, place: str, name: Any
) -> None:
    """A commit in a directory from elsewhere removes and replaces nothing outside it."""
    journal.begin_commit(COMMITTED)
    document = json.loads(get(store, f"j/{COMMIT}"))
    document[place] = [name]
    put_file(store, f"j/{COMMIT}", json.dumps(document).encode())
    with pytest.raises(StorageError, match=r"commit\.json"):
        journal.commit()


def test_a_commit_without_files_is_refused(journal: Journal) -> None:
    """A commit that renames nothing is not valid."""
    journal.begin_commit(replace(COMMITTED, renames=()))
    with pytest.raises(StorageError):
        journal.commit()


def test_keeping_some_forgets_the_others(journal: Journal, store: MemoryStore) -> None:
    """Receipts and staged files are kept or removed together; the journal's own files stay."""
    journal.begin(IDENTITY)
    for name in ("s1", "s2"):
        put_file(store, f"j/{FILES}/{name}", b"x")
        journal.add(replace(RECEIPT, filename=name))
    put_file(store, f"j/{FILES}/half", b"x")
    store.make_directory("j/folder")
    journal.keep({"s1": RECEIPT})
    assert set(journal.receipts()) == {"s1"}
    assert [entry.name for entry in store.list("j")] == [FILES, "folder", PLAN, LINES]
    assert [entry.name for entry in store.list(f"j/{FILES}")] == ["s1"]


def test_discarding_leaves_the_record(journal: Journal, store: MemoryStore) -> None:
    """An unfinished run is discarded whole; the record of the run before it stays."""
    journal.finish(DONE)
    journal.begin(IDENTITY)
    journal.add(RECEIPT)
    put_file(store, f"j/{FILES}/s1", b"x")
    journal.discard()
    assert [entry.name for entry in store.list("j")] == [RECORD]
    assert journal.record() == DONE


def test_options_that_differ_are_named() -> None:
    """Options that differ are said in words: switches are on or off, and a missing value not set."""
    one = replace(IDENTITY, options={"checksums": False, "max_shard_bytes": 5000, "name": None})
    other = replace(IDENTITY, options={"checksums": True, "max_shard_bytes": 6000, "name": "m"})
    assert one.differences(other) == (
        "with other options (`checksums` was off, is on; `max_shard_size` was 5,000 bytes, is 6,000 bytes; "
        "`name` was not set, is m)"
    )


def test_sources_that_differ_are_named() -> None:
    """With the same options, the sources that differ are said, each with what happened to it."""
    other = replace(IDENTITY, sources={"a": Version(1, "!"), "c": Version(3, "z")})
    assert IDENTITY.differences(other) == (
        "from other sources ('a' has changed; 'b' is not read any more; 'c' is new)"
    )


def test_a_difference_that_shows_nowhere_else() -> None:
    """Where only the plan differs, it is the headers or the version of shardctl."""
    assert IDENTITY.differences(replace(IDENTITY, plan_id="other")) == (
        "of another plan (the sources' headers or the version of shardctl changed)"
    )


def test_a_small_file_is_replaced_in_one_step(store: MemoryStore) -> None:
    """New content gets the name whole, and the rest of an earlier try is removed."""
    put_file(store, "j/x.new", b"rest")
    put(store, "j", "x", b"one")
    put(store, "j", "x", b"two")
    assert get(store, "j/x") == b"two"
    assert [entry.name for entry in store.list("j")] == ["x"]


def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    """Who could read it before can read it afterwards."""
    path = tmp_path / "x"
    path.write_bytes(b"one")
    path.chmod(0o600)
    put(LocalStore(), str(tmp_path), "x", b"two")
    assert path.stat().st_mode & 0o777 == 0o600
