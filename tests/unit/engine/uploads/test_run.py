"""Runs into a bucket: what is kept after an interruption, and what is refused."""

from __future__ import annotations

import pickle
from concurrent.futures import Future
from dataclasses import replace

import pytest

from shardctl.checksums import parse_checksums
from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.write import write
from shardctl.engine.run import RunOptions
from shardctl.engine.task import ShardTask
from shardctl.engine.workers.executors import Threads, Write, Written
from shardctl.errors import LockedError, SourceChangedError, TargetExistsError, UsageError
from shardctl.stores.base import Store
from shardctl.stores.uploads import SentPart, Upload
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryStore
from shardctl.testing.place import Place
from tests.support.buckets import (
    BY_250,
    BY_350,
    INDEX,
    CutError,
    Fragile,
    files,
    fill,
    run,
    sample,
    state,
    unlock,
)
from tests.support.memory_checkpoints import sample as sample_files
from tests.support.observers import Counting


@pytest.fixture
def place() -> Place:
    """A bucket with the checkpoint `m`."""
    place = Place()
    sample(place)
    return place


class Counted(MemoryBucket):
    """A bucket that counts the uploads that begin."""

    begun = 0

    def begin_upload(self, path: str) -> Upload:
        """Count it."""
        self.begun += 1
        return super().begin_upload(path)


class FirstNoted(Fragile):
    """A bucket that fails before the next change once a receipt is there, or not at all."""

    def put(self, path: str, data: bytes) -> None:
        """Write an object; a receipt takes the rest of the power."""
        super().put(path, data)
        if "/receipts/" in path:
            self.cut()


def interrupted(place: Place) -> list[str]:
    """Interrupt a split when its first file is uploaded whole, and noted; the names of these."""
    store = FirstNoted(place)
    with pytest.raises(CutError):
        run(store, store, "m", "t")
    unlock(place)
    below = "t/.shardctl/receipts/"
    return [key.removeprefix(below) for key in place.objects if key.startswith(below)]


def test_a_file_per_task_and_nothing_else(place: Place) -> None:
    """Shards, the index and the companions are there, and the same run again is up to date."""
    store = MemoryBucket(place)
    prepared = run(store, store, "m", "t", replace(BY_250, checksums=True))
    shards = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    assert sorted(files(place, "t")) == ["SHA256SUMS", "config.json", *shards, INDEX]
    assert sorted(parse_checksums(files(place, "t")["SHA256SUMS"])) == [*shards, INDEX]
    assert state(place) == []
    assert prepared.path(store) == f"t/{INDEX}"
    again = prepare(store, "m", store, "t", replace(BY_250, checksums=True), finish=True)
    assert again.up_to_date


def test_the_bytes_are_those_of_a_disk(place: Place) -> None:
    """A run from another store into a bucket writes what it writes anywhere."""
    local = MemoryStore()
    sample_files(local)
    prepared = prepare(local, "m", local, "t", BY_250, finish=True)
    write(local, local, prepared, RunOptions(jobs=1), Counting())
    run(local, MemoryBucket(place), "m", "t")
    found = files(place, "t")
    assert sorted(found) == [entry.name for entry in local.list("t")]
    for name, data in found.items():
        with local.open(f"t/{name}") as reader:
            assert reader.read(0, reader.version.size) == data


def test_whole_uploads_are_kept(place: Place) -> None:
    """The next run uploads only what has no receipt."""
    kept = interrupted(place)
    assert kept
    store = Counted(place)
    run(store, store, "m", "t")
    assert store.begun == 5 - len(kept)
    assert state(place) == []


def test_an_upload_that_is_gone_is_made_again(place: Place) -> None:
    """A receipt is believed only where its upload has the parts that were noted."""
    interrupted(place)
    for _, parts in place.uploads.values():
        parts.clear()
    store = Counted(place)
    run(store, store, "m", "t")
    assert store.begun == 5
    assert state(place) == []


def test_a_source_that_was_written_again(place: Place) -> None:
    """An unfinished run from other sources is refused by name, or discarded when asked for."""
    interrupted(place)
    sample(place)
    store = MemoryBucket(place)
    with pytest.raises(TargetExistsError, match="other sources") as caught:
        run(store, store, "m", "t")
    assert caught.value.file == "t/.shardctl"
    prepared = prepare(store, "m", store, "t", BY_250, finish=True)
    write(store, store, prepared, RunOptions(jobs=1, restart=True), Counting())
    assert state(place) == []


def test_another_plan_is_refused(place: Place) -> None:
    """The uploads of an unfinished run are not those of another one; nothing of them is touched."""
    interrupted(place)
    before = state(place)
    store = MemoryBucket(place)
    with pytest.raises(TargetExistsError, match="unfinished run with other options"):
        run(store, store, "m", "t", BY_350)
    assert state(place) == before


def test_the_uploads_of_others_are_left_alone(place: Place) -> None:
    """One to the same name that was there before stays, and so do those to other names."""
    store = MemoryBucket(place)
    others = [store.begin_upload(f"t/{name}") for name in (INDEX, "other")]
    interrupted(place)
    run(store, store, "m", "t")
    assert [upload.id for upload, _ in place.uploads.values()] == [each.id for each in others]


def test_a_failure_leaves_no_trace_of_what_is_not_whole(place: Place) -> None:
    """A source that changes ends a run: no file has appeared, and whole uploads are kept."""

    class Changing(MemoryBucket):
        """A bucket whose source is written again during the run."""

        def send_part(
            self, upload: Upload, number: int, data: bytes | bytearray | memoryview
        ) -> SentPart:
            """Write it, before the last file is sent."""
            if upload.path.endswith(INDEX):
                fill(self.place, "m/config.json", b"{ }")
            return super().send_part(upload, number, data)

    store = Changing(place)
    with pytest.raises(SourceChangedError):
        run(store, store, "m", "t")
    assert files(place, "t") == {}
    assert len(place.uploads) == 5


def test_a_target_that_changes_meanwhile(place: Place) -> None:
    """What another program writes there is noticed before anything appears."""

    class Rival(MemoryBucket):
        """A bucket in which another program writes a checkpoint during the run."""

        def send_part(
            self, upload: Upload, number: int, data: bytes | bytearray | memoryview
        ) -> SentPart:
            """Write it."""
            fill(self.place, "t/pytorch_model.bin", b"rival")
            return super().send_part(upload, number, data)

    store = Rival(place)
    with pytest.raises(TargetExistsError, match="another program writes"):
        run(store, store, "m", "t")
    assert files(place, "t") == {"pytorch_model.bin": b"rival"}


def test_the_second_of_two_writers(place: Place) -> None:
    """It is refused while the first holds the lock."""
    store = MemoryBucket(place)
    prepared = prepare(store, "m", store, "t", BY_250, finish=True)
    with store.lock("t/.shardctl/lock"), pytest.raises(LockedError):
        write(store, store, prepared, RunOptions(jobs=1), Counting())
    assert files(place, "t") == {}


def test_any_workers_upload(place: Place) -> None:
    """Workers are given the function that uploads, and their uploads are completed."""
    store = MemoryBucket(place)
    prepared = prepare(store, "m", store, "t", BY_250, finish=True)
    asked: list[str] = []

    class Elsewhere(Threads):
        """Workers that get what they do as bytes."""

        def write(
            self, write: Write[Written], task: ShardTask, source: Store, target: Store
        ) -> Future[Written]:
            """Take it apart, and put it together."""
            asked.append(task.filename)
            sent: Write[Written] = pickle.loads(pickle.dumps(write))
            return super().write(sent, pickle.loads(pickle.dumps(task)), source, target)

    write(store, store, prepared, RunOptions(jobs=2), Counting(), Elsewhere)
    assert sorted(asked) == sorted(files(place, "t"))
    assert state(place) == []


def test_what_cannot_be_read_back(place: Place) -> None:
    """To read back what was written is refused before the work."""
    store = MemoryBucket(place)
    with pytest.raises(UsageError, match="read back"):
        run(store, store, "m", "t", replace(BY_250, read_back=True))
