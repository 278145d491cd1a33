"""A result counts as there only where a record, or its bytes, prove it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from shardctl.checksums import format_checksums
from shardctl.commands.preparing.finished import Finished
from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.target.resolve import Route
from shardctl.commands.write import write
from shardctl.engine.journal.records import RunRecord, StoredRecords
from shardctl.engine.run import RunOptions
from shardctl.formats.limits import MAX_CHECKSUMS_BYTES
from shardctl.model import Version
from shardctl.planning.request import Limits, WriteOptions
from shardctl.streams.progress import Silent
from shardctl.testing.memory import MemoryReader, MemoryStore
from tests.support.memory_checkpoints import get, put, sample

BY_250 = WriteOptions(limits=Limits(max_shard_bytes=250))
SHARD = "t/model-00002-of-00003.safetensors"


def unfinished(store: MemoryStore, options: WriteOptions = BY_250, target: str = "t") -> Finished:
    """What a run from `m` would write."""
    ready = prepare(store, "m", store, target, options, finish=True)
    return Finished(
        Route(store, ready.located, store, ready.target),
        ready.plan,
        ready.identity,
        ready.changes.copies,
        ready.sources,
        options,
    )


def written(options: WriteOptions = BY_250) -> tuple[MemoryStore, Finished, RunRecord]:
    """A store in which a run has ended, what it would write again, and its record."""
    store = MemoryStore()
    sample(store)
    found = unfinished(store, options)
    ready = prepare(store, "m", store, "t", options, finish=True)
    records = StoredRecords(store, "records", str)
    write(store, store, ready, RunOptions(jobs=1), Silent(), records=records)
    record = records.find("t")
    assert record is not None
    return store, found, record


def test_a_record_gives_the_receipts() -> None:
    """Each file that was written is returned with its size and its digest."""
    store, found, record = written(replace(BY_250, checksums=True))
    receipts = found.by_record(record)
    assert receipts is not None
    assert [each.filename for each in receipts] == list(record.written)
    for each in receipts:
        data = get(store, f"t/{each.filename}")
        assert each.nbytes == len(data)
        if each.sha256 is not None:
            assert each.sha256 == hashlib.sha256(data).hexdigest()
    assert sum(each.sha256 is not None for each in receipts) >= 4


@pytest.mark.parametrize(
    "change",
    [
        lambda record: replace(record, options={**record.options, "checksums": True}),
        lambda record: replace(record, plan_id="other"),
        lambda record: replace(record, sources={}),
        lambda record: replace(record, sources={**record.sources, "more": Version(1, "x")}),
        lambda record: replace(record, written={**record.written, "config.json": Version(2, "?")}),
        lambda record: replace(record, written={**record.written, "gone": Version(0, "")}),
        lambda _: None,
    ],
)
def test_a_record_of_anything_else_proves_nothing(
    change: Callable[[RunRecord], RunRecord | None],
) -> None:
    """Other options, another plan, other sources, and files of other versions are not this run."""
    _, found, record = written()
    assert found.by_record(record) is not None
    assert found.by_record(change(record)) is None


@pytest.mark.parametrize("data", [None, b"{ }"])
def test_a_companion_that_is_gone_or_larger_is_work(data: bytes | None) -> None:
    """Companions count as there by their sizes, also those that the record does not list."""
    store, found, record = written()
    record = replace(
        record, written={k: v for k, v in record.written.items() if k != "config.json"}
    )
    assert found.by_record(record) is not None
    store.remove("t/config.json")
    if data is not None:
        put(store, "t/config.json", data)
    assert found.by_record(record) is None


def test_contents_give_the_receipts() -> None:
    """Without a record, equal files are found, and receipts have their sizes and no digests."""
    store, found, record = written()
    receipts = found.by_contents()
    assert receipts is not None
    assert {each.filename for each in receipts} == set(record.written)
    for each in receipts:
        assert each.nbytes == len(get(store, f"t/{each.filename}"))
        assert (each.sha256, each.damaged) == (None, ())


@pytest.mark.parametrize("path", [SHARD, "t/config.json", "t/model.safetensors.index.json"])
@pytest.mark.parametrize("how", ["gone", "longer", "other last byte"])
def test_any_difference_in_the_contents_is_work(path: str, how: str) -> None:
    """A missing file, another size, and one other byte each mean that the result is not there."""
    store, found, _ = written()
    data = get(store, path)
    if how == "gone":
        store.remove(path)
    else:
        put(store, path, data + b" " if how == "longer" else data[:-1] + bytes([data[-1] ^ 1]))
    assert found.by_contents() is None


def test_sizes_are_compared_before_any_byte_is_read() -> None:
    """Where a size differs no file is opened, so that large results cost nothing."""

    class Counting(MemoryStore):
        opened = 0

        def open(self, path: str) -> MemoryReader:
            self.opened += 1
            return super().open(path)

    store = Counting()
    sample(store)
    found = unfinished(store)
    store.opened = 0
    assert found.by_contents() is None
    assert store.opened == 0


@pytest.mark.parametrize("listed", ["right", "wrong", "none"])
def test_checksums_that_were_asked_for_must_be_right(listed: str) -> None:
    """With checksums, a shard that `SHA256SUMS` lacks or lists with another digest is work."""
    options = replace(BY_250, checksums=True)
    store, found, _ = written(options)
    digests = {
        name: hashlib.sha256(get(store, f"t/{name}")).hexdigest()
        for name in [entry.name for entry in store.list("t") if entry.name != "SHA256SUMS"]
    }
    name = SHARD.partition("/")[2]
    if listed == "wrong":
        digests[name] = "0" * 64
    elif listed == "none":
        del digests[name]
    put(store, "t/SHA256SUMS", format_checksums(digests))
    receipts = found.by_contents()
    assert (receipts is not None) is (listed == "right")
    assert receipts is None or all(
        each.sha256 == digests[each.filename] for each in receipts if each.filename != "config.json"
    )


def test_a_list_of_checksums_that_is_too_large_is_left_alone() -> None:
    """A `SHA256SUMS` that is not read stops no run that did not ask for checksums."""
    store, found, _ = written()
    put(store, "t/SHA256SUMS", bytes(MAX_CHECKSUMS_BYTES + 1))
    assert found.by_contents() is not None
