"""Records of finished runs: kept and found, and nothing else is believed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shardctl.engine.journal import records as module
from shardctl.engine.journal.records import Forgetting, NoRecords, RunRecord, StoredRecords
from shardctl.model import Version
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import get, put

RECORD = RunRecord(
    "id", {"to": "bin"}, {"s": Version(1, "x")}, {"a": Version(2, "y")}, "a", {"a": "ab"}
)


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture
def records(store: MemoryStore) -> StoredRecords:
    """Records in the directory `r`, by paths without a trailing slash."""
    return StoredRecords(store, "r", lambda path: path.rstrip("/"))


def only_file(store: MemoryStore) -> str:
    """Return the path of the one record that is kept."""
    (entry,) = store.list("r")
    return f"r/{entry.name}"


def test_a_record_comes_back(records: StoredRecords) -> None:
    """What was kept of a target is found by any spelling of it, and of no other target."""
    assert records.find("t") is None
    records.keep("t", RECORD)
    assert records.find("t") == records.find("t/") == RECORD
    assert records.find("u") is None
    other = replace(RECORD, plan_id="other")
    records.keep("t/", other)
    assert records.find("t") == other
    records.forget("t")
    records.forget("t")
    assert records.find("t") is None


def test_a_path_that_is_not_text_has_a_record(records: StoredRecords) -> None:
    """A name with bytes that are not UTF-8 is a target as any other."""
    records.keep("t\udcff", RECORD)
    assert records.find("t\udcff") == RECORD


@pytest.mark.parametrize(
    "change",
    [
        {"record_version": 0},
        {"record_version": 2},
        {"record_version": None},
        {"sources": None},
        {"sources": {"s": "x"}},
        {"written": [1]},
    ],
)
def test_what_is_not_a_record_proves_nothing(
    store: MemoryStore, records: StoredRecords, change: dict[str, object]
) -> None:
    """A record of another version, or with fields of other types, counts as none."""
    records.keep("t", RECORD)
    path = only_file(store)
    put(store, path, json.dumps(json.loads(get(store, path)) | change).encode())
    assert records.find("t") is None


@pytest.mark.parametrize("field", ["record_version", "plan_id", "options", "sources", "written"])
def test_what_lacks_a_field_proves_nothing(
    store: MemoryStore, records: StoredRecords, field: str
) -> None:
    """No field of a record has a default."""
    records.keep("t", RECORD)
    path = only_file(store)
    document = json.loads(get(store, path))
    del document[field]
    put(store, path, json.dumps(document).encode())
    assert records.find("t") is None


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b'"x"', b"[" * 100_000, b'{"a":'])
def test_what_is_not_json_proves_nothing(
    store: MemoryStore, records: StoredRecords, data: bytes
) -> None:
    """A torn or crafted file counts as no record, however deep its brackets go."""
    records.keep("t", RECORD)
    put(store, only_file(store), data)
    assert records.find("t") is None


@pytest.mark.parametrize(("more", "found"), [(0, True), (1, False)])
def test_a_record_is_read_up_to_a_bound(
    store: MemoryStore,
    records: StoredRecords,
    monkeypatch: pytest.MonkeyPatch,
    more: int,
    *,
    found: bool,
) -> None:
    """A record of the most bytes is read, and one byte more is not."""
    monkeypatch.setattr(module, "MAX_JOURNAL_BYTES", 10_000)
    records.keep("t", RECORD)
    path = only_file(store)
    put(store, path, get(store, path).ljust(10_000 + more))
    assert (records.find("t") == RECORD) is found


def test_a_directory_that_cannot_be_written_is_no_error(store: MemoryStore) -> None:
    """Where the records have no place there are none, and the run does not fail for it."""
    put(store, "r", b"a file")
    records = StoredRecords(store, "r", str)
    records.keep("t", RECORD)
    records.forget("t")
    assert records.find("t") is None
    assert get(store, "r") == b"a file"


def test_forgetting_finds_and_does_not_keep(records: StoredRecords) -> None:
    """What others kept is found; keeping another removes it, since it is not true any more."""
    records.keep("t", RECORD)
    records.keep("u", RECORD)
    forgetting = Forgetting(records)
    assert forgetting.find("t") == RECORD
    forgetting.keep("t", replace(RECORD, plan_id="other"))
    assert records.find("t") is None
    forgetting.forget("u")
    assert records.find("u") is None


def test_no_records() -> None:
    """Without records nothing that was kept is found."""
    none = NoRecords()
    none.keep("t", RECORD)
    none.forget("t")
    assert none.find("t") is None
