"""Receipts are read again as they were noted, and what is not one is skipped."""

from __future__ import annotations

import json

import pytest

from shardctl.engine.journal import receipts
from shardctl.engine.journal.receipts import (
    EACH,
    LINES,
    Noted,
    Receipt,
    Receipts,
    own_name,
    receipt_of,
)
from shardctl.errors import StorageError
from shardctl.stores.base import Copied, Identity
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryReader, MemoryStore
from tests.support.memory_checkpoints import get, put

SEEN = Identity("file", 1, 2, 3, 4, 5, 1, "mark")
PLAIN = Receipt("a", 3, None, Copied())
FULL = Receipt("sub/b", 3, "ab", Copied(1, 2, 3, 4), ("'x' at byte 1",), "5a")


@pytest.fixture
def store() -> MemoryStore:
    """A store with a staging directory `s`."""
    store = MemoryStore()
    store.make_directory("s")
    return store


@pytest.mark.parametrize("receipt", [PLAIN, FULL])
def test_every_field_comes_back(store: MemoryStore, receipt: Receipt) -> None:
    """A receipt is the same after it was noted, by appending and as a separate file."""
    Receipts(store, "s").add(receipt, SEEN)
    assert Receipts(store, "s").all() == {receipt.filename: Noted(receipt, SEEN)}
    bucket = MemoryBucket()
    Receipts(bucket, "s").add(receipt, SEEN)
    assert Receipts(bucket, "s").all() == {receipt.filename: Noted(receipt, SEEN)}


def test_a_receipt_of_an_older_version_has_defaults() -> None:
    """Without the fields that were added later nothing was damaged, and no sample was taken."""
    document = {"filename": "a", "nbytes": 3, "sha256": None, "copied": {}}
    assert receipt_of(document) == PLAIN


@pytest.mark.parametrize("missing", ["filename", "nbytes", "sha256", "copied"])
def test_what_lacks_a_field_is_no_receipt(missing: str) -> None:
    """No field that says what was written has a default."""
    document = {"filename": "a", "nbytes": 3, "sha256": None, "copied": {}}
    del document[missing]
    with pytest.raises(KeyError):
        receipt_of(document)


@pytest.mark.parametrize(
    "line",
    [
        b'{"filename":"x","nbytes":3',
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"filename":"x"}',
        b'{"filename":"x","nbytes":1,"sha256":null,"copied":{"sent":1},"seen":{}}',
        b'{"filename":"x","nbytes":1,"sha256":null,"copied":{},"seen":{"kind":"file"}}',
        b'{"filename":"x","nbytes":1,"sha256":null,"copied":{},"seen":null}',
        b'{"filename":["x"],"nbytes":1,"sha256":null,"copied":7,"seen":{}}',
        b"[" * 5_000,
    ],
)
def test_what_is_no_receipt_is_skipped(store: MemoryStore, line: bytes) -> None:
    """A torn or crafted line proves nothing about a file, and hides no other receipt."""
    noted = Receipts(store, "s")
    noted.add(PLAIN, SEEN)
    store.append(f"s/{LINES}", b"\n" + line)
    noted.add(FULL, SEEN)
    assert set(noted.all()) == {"a", "sub/b"}


def test_a_file_of_receipts_is_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large a file of receipts came with a directory, no more than the bound is read."""
    monkeypatch.setattr(receipts, "MAX_JOURNAL_BYTES", 1_000)
    asked: list[int] = []

    class Asked(MemoryReader):
        def read(self, offset: int, length: int) -> bytes:
            asked.append(length)
            return super().read(offset, length)

    class Counting(MemoryStore):
        def open(self, path: str) -> MemoryReader:
            return Asked(path, self._at(path))

    store = Counting()
    put(store, f"s/{LINES}", bytes(1_001))
    assert Receipts(store, "s").all() == {}
    assert asked == [1_000]


def test_names_of_own_files_do_not_collide() -> None:
    """Slashes and the sign for them are distinguished, and no name leads elsewhere."""
    assert own_name("sub/b") == "sub%2Fb"
    assert own_name("sub%2Fb") == "sub%252Fb"
    assert "/" not in own_name("../../etc/passwd")


def test_publishing_replaces_what_was_there(store: MemoryStore) -> None:
    """A published receipt replaces an older one of its file in one step, and leaves no draft."""
    noted = Receipts(store, "s")
    noted.share()
    put(store, "s/mine", b"a draft that a killed process left")
    for run in ("r1", "r2"):
        noted.publish(Noted(FULL, SEEN, run), "s/mine")
    assert noted.all() == {"sub/b": Noted(FULL, SEEN, "r2")}
    assert json.loads(get(store, f"s/{EACH}/sub%2Fb"))["run"] == "r2"
    assert store.kind("s/mine") is None
    noted.forget("sub/b")
    assert noted.all() == {}


def test_a_receipt_of_its_own_is_durable() -> None:
    """The directory of the receipts is synced after each that is published there."""
    synced: list[tuple[str, int]] = []

    class Synced(MemoryStore):
        def sync_directory(self, path: str) -> None:
            synced.append((path, len(self.list(path))))

    store = Synced()
    noted = Receipts(store, "s")
    noted.share()
    for number, receipt in enumerate((PLAIN, FULL), 1):
        noted.publish(Noted(receipt, SEEN, "r"), "s/mine")
        assert synced[-1] == (f"s/{EACH}", number)


def test_publishing_into_an_ended_run_fails(store: MemoryStore) -> None:
    """Once the directory of the receipts is gone, a late process cannot bring it back."""
    with pytest.raises(StorageError):
        Receipts(store, "s").publish(Noted(FULL, SEEN, "r"), "s/mine")
    assert store.kind(f"s/{EACH}") is None


def test_keeping_some_forgets_the_others(store: MemoryStore) -> None:
    """After `keep` only receipts of those names are left, wherever they were noted."""
    noted = Receipts(store, "s")
    noted.share()
    for name in ("a", "b"):
        noted.add(Receipt(name, 1, None, Copied()), SEEN)
    for name in ("c/d", "e"):
        noted.publish(Noted(Receipt(name, 1, None, Copied()), SEEN, "r"), "s/mine")
    noted.keep(["b", "c/d"])
    assert set(noted.all()) == {"b", "c/d"}
    lines = get(store, f"s/{LINES}")
    assert b'"a"' not in lines
    noted.keep(["c/d", "b"])
    assert get(store, f"s/{LINES}") == lines


def test_clearing_leaves_nothing(store: MemoryStore) -> None:
    """After `clear` neither receipts nor their files are left; twice is not an error."""
    noted = Receipts(store, "s")
    noted.share()
    noted.add(PLAIN, SEEN)
    noted.publish(Noted(FULL, SEEN, "r"), "s/mine")
    noted.clear()
    noted.clear()
    assert store.list("s") == []
    assert noted.all() == {}
