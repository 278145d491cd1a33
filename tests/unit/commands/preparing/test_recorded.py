"""Digests that SOURCE records are compared before anything is written, where that is asked for."""

from __future__ import annotations

import hashlib

import pytest

from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.write import write
from shardctl.engine.run import RunOptions
from shardctl.errors import FormatError
from shardctl.planning.request import Limits, WriteOptions
from shardctl.streams.progress import Silent
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights

DATA = weights({"a": bytes(range(256)), "b": bytes(256)})
RIGHT, WRONG = hashlib.sha256(DATA).hexdigest(), "0" * 64
CHECKED = WriteOptions(limits=Limits(max_shard_bytes=300), read_back=True)


def written(store: MemoryStore) -> list[str]:
    """The files of the target."""
    return [entry.name for entry in store.list("s")] if store.kind("s") else []


def split(store: MemoryStore, options: WriteOptions) -> tuple[str, ...]:
    """Split the checkpoint in `m`; return the notes on what is compared."""
    prepared = prepare(store, "m", store, "s", options, finish=True)
    write(store, store, prepared, RunOptions(jobs=1), Silent())
    return tuple(note for note in prepared.notes if "SHA-256" in note)


def source(sha256: str) -> MemoryStore:
    """A store with a checkpoint whose `SHA256SUMS` has this digest."""
    store = MemoryStore()
    put(store, "m/model.safetensors", DATA)
    put(store, "m/SHA256SUMS", f"{sha256}  model.safetensors\n".encode())
    return store


def test_what_has_the_recorded_digest_is_written() -> None:
    """A source as its list says is compared, which a note says, and written."""
    store = source(RIGHT)
    assert split(store, CHECKED) == ("the SHA-256 recorded for 1 file is compared first",)
    assert "model.safetensors.index.json" in written(store)


@pytest.mark.parametrize(
    "options",
    [CHECKED, WriteOptions(limits=CHECKED.limits, checksums=True)],
    ids=["read back", "digests of what is written"],
)
def test_what_has_another_digest_is_refused(options: WriteOptions) -> None:
    """A source that is not as its list says is refused before anything is written."""
    store = source(WRONG)
    with pytest.raises(FormatError, match=f"SHA256SUMS says {WRONG}, and the file has") as caught:
        split(store, options)
    assert (caught.value.code, caught.value.file) == ("digest-mismatch", "m/model.safetensors")
    assert written(store) == []


@pytest.mark.parametrize(
    "options",
    [
        WriteOptions(limits=CHECKED.limits),
        WriteOptions(limits=CHECKED.limits, read_back=True, accept_damage=True),
        WriteOptions(limits=CHECKED.limits, checksums=True, accept_damage=True),
    ],
    ids=["not read back", "accepted", "accepted with digests"],
)
def test_no_more_is_read_than_asked_for(options: WriteOptions) -> None:
    """Without a check of what was written, or where damage is accepted, nothing is compared."""
    store = source(WRONG)
    assert split(store, options) == ()
    assert "model.safetensors.index.json" in written(store)
