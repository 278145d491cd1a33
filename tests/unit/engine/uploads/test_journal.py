"""The state of a run in a bucket: what is read again is what was written, or is refused."""

from __future__ import annotations

import pytest

from shardctl.engine.journal.journal import RunIdentity
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.uploads.documents import Seen, UploadCommit
from shardctl.engine.uploads.journal import UploadJournal
from shardctl.engine.uploads.send import Sent
from shardctl.errors import StorageError
from shardctl.model import Version
from shardctl.stores.base import Copied
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.place import StoredObject

IDENTITY = RunIdentity("id", {"to": "bin"}, {"s": Version(1, "x")})
COMMIT = UploadCommit(
    IDENTITY,
    "t",
    (Seen("i.index.json", Version(2, "i")),),
    ("a", "sub/b", "i.index.json"),
    (Seen("a", Version(3, "a")),),
    (Seen("old", Version(4, "o")),),
    ("a",),
)


@pytest.fixture
def journal() -> UploadJournal:
    """The journal of `t`, in an empty bucket."""
    return UploadJournal(MemoryBucket(), "t")


def sent(journal: UploadJournal, name: str) -> Sent:
    """A file of one part that is uploaded."""
    store = journal.store
    upload = store.begin_upload(journal.final(name))
    part = store.send_part(upload, 1, b"data")
    return Sent(Receipt(name, 4, "ab", Copied(server=4), ("x",), "s"), upload, (part,))


def test_what_is_noted_is_read_again(journal: UploadJournal) -> None:
    """Identity, receipts and commit, by another program as well."""
    journal.begin(IDENTITY, ["a", "sub/b"])
    both = [sent(journal, name) for name in ("a", "sub/b")]
    for each in both:
        journal.add(each, IDENTITY)
    journal.begin_commit(COMMIT)
    journal.store.forget()
    assert journal.identity() == IDENTITY
    assert journal.receipts() == {"a": both[0], "sub/b": both[1]}
    assert journal.has_commit()
    assert journal.commit() == COMMIT
    assert COMMIT.loads_from == "i.index.json"
    journal.withdraw_commit()
    assert not journal.has_commit()


def test_without_a_run_there_is_nothing(journal: UploadJournal) -> None:
    """An empty directory has no run, no receipts and no commit, and ending it changes nothing."""
    assert (journal.identity(), journal.commit(), journal.receipts()) == (None, None, {})
    assert not journal.exists()
    journal.end()
    assert not journal.exists()


def test_keeping_some(journal: UploadJournal) -> None:
    """The uploads that are not kept are aborted, those without a receipt too; others' are not."""
    foreign = journal.store.begin_upload("t/a")
    journal.begin(IDENTITY, ["a", "b", "c"])
    kept, dropped, unknown = (sent(journal, name) for name in ("a", "b", "c"))
    journal.add(kept, IDENTITY)
    journal.add(dropped, IDENTITY)
    elsewhere = journal.store.begin_upload("t/other")
    journal.keep({"a"})
    assert journal.receipts() == {"a": kept}
    left = [each.id for each in journal.store.uploads("t")]
    assert left == [foreign.id, kept.upload.id, elsewhere.id]
    assert unknown.upload.id not in left
    journal.end()
    assert [each.id for each in journal.store.uploads("t")] == [foreign.id, elsewhere.id]
    assert not journal.exists()


def copied(journal: UploadJournal, directory: str) -> UploadJournal:
    """The journal of a directory into which the objects of another one were copied."""
    store = journal.store
    assert isinstance(store, MemoryBucket)
    for key, found in list(store.place.objects.items()):
        store.place.objects[key.replace(f"{journal.directory}/", f"{directory}/", 1)] = found
    store.forget()
    return UploadJournal(store, directory)


def test_a_receipt_of_another_directory_is_not_believed(journal: UploadJournal) -> None:
    """One that was copied with the objects of a directory names uploads to other files."""
    journal.begin(IDENTITY, ["a"])
    journal.add(sent(journal, "a"), IDENTITY)
    other = copied(journal, "u")
    assert other.receipts() == {}
    other.end()
    assert not other.exists()
    assert len(journal.receipts()) == len(journal.store.uploads("t")) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b"\xff",
        b'{"journal_version": 1}',
        b'{"journal_version": 2, "plan_id": "id"}',
        b'{"journal_version": 2, "plan_id": "id", "options": {}, "sources": {"s": 1}}',
    ],
)
def test_a_document_that_is_not_ours(journal: UploadJournal, data: bytes) -> None:
    """It is refused by its path, and stays."""
    for name in ("plan.json", "commit.json"):
        journal.store.put(f"t/.shardctl/{name}", data)
    for look in (journal.identity, journal.commit):
        with pytest.raises(StorageError, match="not a journal"):
            look()
    assert journal.has_commit()


@pytest.mark.parametrize("name", ["../a", "/a", "", "a//b", ".shardctl/lock", "a/.."])
def test_a_name_that_leads_elsewhere(journal: UploadJournal, name: str) -> None:
    """A commit with such a name is refused, and a receipt is not believed."""
    journal.begin_commit(
        UploadCommit(IDENTITY, "t", (), ("a",), (), (Seen(name, Version(1, "x")),), ())
    )
    with pytest.raises(StorageError, match="not a journal"):
        journal.commit()
    journal.add(sent(journal, name or "x"), IDENTITY)
    assert set(journal.receipts()) <= {"x"}


def test_an_empty_document_is_none(journal: UploadJournal) -> None:
    """An object without bytes says nothing."""
    store = journal.store
    assert isinstance(store, MemoryBucket)
    store.place.objects["t/.shardctl/plan.json"] = StoredObject(b"")
    assert journal.identity() is None
