"""A run into a bucket that several processes share: whatever they do to each other, one result."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from shardctl.engine.entry import recover, shared_run
from shardctl.engine.journal.interrupted import how_far
from shardctl.engine.shared.share import PartDone
from shardctl.engine.uploads import part as parts
from shardctl.engine.uploads.journal import UploadJournal
from shardctl.errors import LockedError, StorageError, TargetError, TargetExistsError
from shardctl.stores.uploads import SentPart, Upload
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.place import Place
from tests.support.buckets import CutError, Fragile, files, fill, state, unlock
from tests.support.shared_uploads import (
    BYTES,
    EXPECTED,
    INDEX,
    RESTART,
    SHARDS,
    check,
    commit,
    job,
    part,
    with_source,
)


@pytest.fixture
def place() -> Place:
    """A bucket with the source `s`."""
    return with_source()


@pytest.mark.parametrize("order", [("ab", "cd"), ("cd", "ab"), ("d", "c", "b", "a"), ("abcd",)])
def test_parts_and_a_commit_are_one_run(place: Place, order: tuple[str, ...]) -> None:
    """In any order and any number, parts give the files of one run, and none appears before."""
    done = 0
    for names in order:
        said = part(place, *names)
        done += len(names)
        assert [receipt.filename for receipt in said.written] == list(names)
        assert len(said.missing) == len(SHARDS) - done
    assert files(place, "t") == {}
    assert part(place, *SHARDS).written == ()
    commit(place)
    check(place)


@pytest.mark.parametrize("again", range(3))
def test_equal_parts_at_once(place: Place, again: int) -> None:
    """Several processes with the same part all end well, and each shard has one upload."""
    barrier = Barrier(4)

    def work(_: int) -> PartDone:
        barrier.wait()
        return part(place, *SHARDS[again:])

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(work, range(4)))
    assert all(set(each.missing) <= set(SHARDS[:again]) for each in said)
    written = [receipt.filename for each in said for receipt in each.written]
    assert sorted(written) == list(SHARDS[again:])
    assert sorted(path for path in state(place) if "/." not in path) == [
        f"t/{name}" for name in SHARDS[again:]
    ]
    part(place, *SHARDS)
    commit(place)
    check(place)


def test_a_commit_needs_every_shard(place: Place) -> None:
    """Where shards are missing, that is an error which names them, and nothing changes."""
    with pytest.raises(TargetError, match=r"0 of 4 shards are done in .*; missing: a, b, c, d"):
        commit(place)
    assert state(place) == []
    part(place, "a", "c")
    before = state(place)
    with pytest.raises(TargetError, match=r"2 of 4 .* missing: b, d") as caught:
        commit(place)
    assert caught.value.code == "parts-missing"
    assert state(place) == before
    part(place, "b", "d")
    commit(place)
    check(place)


def test_a_part_may_be_cut_off_anywhere(place: Place) -> None:
    """Whenever the power fails, the parts and the commit can be run again, and end whole."""
    whole = False
    for left in range(200):
        place = with_source()
        store = Fragile(place)
        store.left = left
        try:
            part(place, "a", "b", store=store)
            part(place, "c", "d", store=store)
            commit(place, store)
            whole = True
        except CutError:
            unlock(place)
            # What a loader takes is not there before everything else is.
            assert INDEX not in files(place, "t") or len(files(place, "t")) == len(EXPECTED)
            recover(MemoryBucket(place), "t")  # as the next command does
            if not files(place, "t"):
                part(place, *SHARDS)
                commit(place)
        check(place)
        if whole:
            return
    raise AssertionError("it never ended")


def test_what_a_killed_part_had_begun_is_aborted(place: Place) -> None:
    """Uploads without a receipt end with the run; those of others that were there before stay."""
    store = MemoryBucket(place)
    foreign = [store.begin_upload(f"t/{name}") for name in ("a", INDEX, "other")]
    part(place, "a", "b")
    for name in "abc":
        store.begin_upload(f"t/{name}")
    part(place, "c", "d")
    commit(place)
    assert files(place, "t") == EXPECTED
    left = [upload.id for upload, _ in place.uploads.values()]
    assert sorted(left) == sorted(each.id for each in foreign)


def test_an_upload_that_is_gone_is_made_again(place: Place) -> None:
    """A receipt is believed only where its upload has the parts that were noted."""
    part(place, *SHARDS)
    upload = next(upload for upload, _ in place.uploads.values() if upload.path == "t/b")
    MemoryBucket(place).abort_upload(upload)
    with pytest.raises(TargetError, match=r"3 of 4 .* missing: b"):
        commit(place)
    said = part(place, *SHARDS)
    assert [receipt.filename for receipt in said.written] == ["b"]
    commit(place)
    check(place)


def test_the_receipt_of_another_run_is_not_taken(place: Place) -> None:
    """One that a part of a discarded run left is replaced."""
    part(place, "a")
    path = "t/.shardctl/receipts/a"
    data = place.objects[path].data
    part(place, "a", work=job(place, "other"), options=RESTART)
    fill(place, path, data)
    said = part(place, *SHARDS, work=job(place, "other"))
    assert [receipt.filename for receipt in said.written] == list(SHARDS)
    commit(place, work=job(place, "other"))
    check(place)


def test_another_plan_is_refused(place: Place) -> None:
    """An unfinished run of another plan stays, with how far it came; `restart` discards it."""
    part(place, "a", "b")
    before = state(place)
    with pytest.raises(TargetExistsError, match="of the plan id: 2 of 4 shards done") as caught:
        part(place, "a", work=job(place, "other"))
    assert caught.value.code == "half-done"
    assert state(place) == before
    part(place, *SHARDS, work=job(place, "other"), options=RESTART)
    commit(place, work=job(place, "other"))
    check(place)


def test_a_source_that_was_written_again(place: Place) -> None:
    """What was uploaded from other bytes is discarded by the commit, which says so."""
    part(place, *SHARDS)
    fill(place, "s", BYTES[::-1])
    with pytest.raises(TargetError, match="contents of the source changed"):
        commit(place)
    part(place, *SHARDS)
    commit(place)
    assert files(place, "t")["a"] == BYTES[::-1]
    assert state(place) == []


class Ending(MemoryBucket):
    """A bucket whose run ends as a part begins to upload the file `a`."""

    how = "discarded"

    def send_part(
        self, upload: Upload, number: int, data: bytes | bytearray | memoryview
    ) -> SentPart:
        """End the run first."""
        if self.how == "discarded":
            UploadJournal(MemoryBucket(self.place), "t").end()
        elif self.how == "other":
            part(self.place, "b", work=job(self.place, "other"), options=RESTART)
        elif self.how == "finished":
            part(self.place, *SHARDS)
            commit(self.place)
        self.how = "done"
        return super().send_part(upload, number, data)


@pytest.mark.parametrize("how", ["discarded", "other", "finished"])
def test_a_run_that_ends_meanwhile(place: Place, how: str) -> None:
    """The part says so, and nothing of it is left."""
    store = Ending(place)
    store.how = how
    with pytest.raises(TargetExistsError, match="finished or discarded while this part"):
        part(place, "a", store=store)
    if how == "finished":
        check(place)
        return
    assert files(place, "t") == {}
    assert [path for path in state(place) if path.endswith("/a")] == []


def test_a_run_that_is_at_work_is_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that begin while another process holds the target wait, and say who holds it."""
    monkeypatch.setattr(parts, "_LOCK_SECONDS", 0.1)
    with MemoryBucket(place).lock("t/.shardctl/lock"), pytest.raises(LockedError):
        part(place, "a")
    part(place, *SHARDS)
    # What is begun needs no lock.
    with MemoryBucket(place).lock("t/.shardctl/lock"):
        assert len(part(place, "a").kept) == 1
    commit(place)
    check(place)


def test_how_far_a_run_by_parts_came(place: Place) -> None:
    """What is done is counted by its receipts, and the run is known as one by parts."""
    store = MemoryBucket(place)
    assert how_far(store, "t") is None
    assert shared_run(store, "t") is None
    part(place, "a", "b", "c")
    store.forget()
    found = how_far(store, "t")
    assert found is not None
    assert found.plan_id == "id"
    assert shared_run(store, "t") == job(place).identity
    commit(place, work=replace(job(place), staged=frozenset()))
    check(place)


def test_a_failure_keeps_what_is_whole(place: Place) -> None:
    """A part that fails has noted what it finished, and the commit's own failure keeps it too."""

    class Failing(MemoryBucket):
        """A bucket that does not take one file."""

        name = "t/c"

        def begin_upload(self, path: str) -> Upload:
            """Fail for that file."""
            if path == self.name:
                raise StorageError("the server is gone", hint="wait")
            return super().begin_upload(path)

    with pytest.raises(StorageError, match="the server is gone"):
        part(place, *SHARDS, store=Failing(place))
    assert {receipt.filename for receipt in part(place, *SHARDS).kept} >= {"a"}
    failing = Failing(place)
    failing.name = f"t/{INDEX}"
    with pytest.raises(StorageError, match="the server is gone"):
        commit(place, failing)
    assert files(place, "t") == {}
    assert len(part(place, *SHARDS).kept) == len(SHARDS)
    commit(place)
    check(place)
