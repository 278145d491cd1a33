"""Parts into a bucket while other processes are in the middle of something: nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event

import pytest

from shardctl.engine.entry import recover
from shardctl.engine.journal.interrupted import how_far
from shardctl.engine.run import RunOptions
from shardctl.engine.uploads import part as parts
from shardctl.engine.uploads.journal import UploadJournal
from shardctl.errors import LockedError, Stopped, StorageError, TargetError, TargetExistsError
from shardctl.model import Version
from shardctl.stores.uploads import SentPart, Upload
from shardctl.streams.progress import Silent
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.place import BucketReader, Place
from tests.support.buckets import CutError, Fragile, files, fill, state, unlock
from tests.support.shared_uploads import (
    INDEX,
    RESTART,
    SHARDS,
    check,
    commit,
    job,
    part,
    with_source,
)

RECEIPT = "t/.shardctl/receipts/a"


@pytest.fixture
def place() -> Place:
    """A bucket with the source `s`."""
    return with_source()


class Meeting(MemoryBucket):
    """A bucket in which another process does something before, or after, one request.

    `when` is the name of the method, and the end of the path that it is asked about.
    """

    when = ("", "")

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.before: Callable[[], object] = int
        self.after: Callable[[], object] = int

    def _meet(self, method: str, path: str) -> bool:
        if method != self.when[0] or not path.endswith(self.when[1]):
            return False
        self.when = ("", "")
        self.before()
        return True

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        """Hold a lock."""
        self._meet("lock", path)
        with super().lock(path):
            yield

    def sent_parts(self, upload: Upload) -> tuple[SentPart, ...]:
        """Return the parts of an upload."""
        self._meet("sent_parts", upload.path)
        return super().sent_parts(upload)

    def open(self, path: str) -> BucketReader:
        """Open an object, as it is now."""
        if self._meet("open", path):
            self.forget()
        return super().open(path)

    def uploads(self, directory: str) -> Sequence[Upload]:
        """Return the uploads that have not ended."""
        met = self._meet("uploads", directory)
        found = super().uploads(directory)
        if met:
            self.after()
        return found

    def put_new(self, path: str, data: bytes) -> bool:
        """Write an object under a free name."""
        met = self._meet("put_new", path)
        done = super().put_new(path, data)
        if met:
            self.after()
        return done

    def remove_version(self, path: str, version: Version) -> bool:
        """Remove an object of a version."""
        self._meet("remove_version", path)
        return super().remove_version(path, version)


def cut_commit(place: Place) -> None:
    """Begin a commit, whose process is killed after it has completed the first upload."""

    class Cut(Fragile):
        """A bucket without power after that."""

        def complete_upload(
            self, upload: Upload, parts: object, replaces: Version | None
        ) -> Version:
            """Complete an upload, the last one."""
            done = super().complete_upload(upload, parts, replaces)  # type: ignore[arg-type]
            self.cut()
            return done

    with pytest.raises(CutError):
        commit(place, Cut(place))
    assert list(files(place, "t")) == ["a"]


def test_a_commit_keeps_its_receipts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that began before a commit forgets no upload that the commit has completed."""
    monkeypatch.setattr(parts, "_LOCK_SECONDS", 0.1)
    part(place, *SHARDS)
    store = Meeting(place)
    store.when, store.before = ("sent_parts", "t/a"), lambda: cut_commit(place)
    with pytest.raises(TargetExistsError, match="finished or discarded"):
        part(place, "a", store=store)
    unlock(place)
    with pytest.raises(TargetExistsError):
        part(place, "a")
    recover(MemoryBucket(place), "t")
    check(place)


def test_a_commit_takes_what_was_noted_last(place: Place) -> None:
    """A part whose last receipt a commit has taken at once leaves it, and its upload."""
    part(place, "b", "c", "d")
    store = Meeting(place)
    store.when, store.after = ("put_new", RECEIPT), lambda: cut_commit(place)
    assert [each.filename for each in part(place, "a", store=store).written] == ["a"]
    unlock(place)
    recover(MemoryBucket(place), "t")
    check(place)


@pytest.mark.parametrize("how", ["discarded", "finished"])
def test_a_run_that_ends_before_a_receipt(place: Place, how: str) -> None:
    """What a part notes of a run that has just ended is removed by it again."""

    def end() -> None:
        if how == "finished":
            part(place, *SHARDS)
            commit(place)
        else:
            UploadJournal(MemoryBucket(place), "t").end()

    store = Meeting(place)
    store.when, store.before = ("put_new", RECEIPT), end
    with pytest.raises(TargetExistsError, match="finished or discarded"):
        part(place, "a", store=store)
    assert state(place) == []
    assert (INDEX in files(place, "t")) == (how == "finished")


def test_a_run_that_ends_as_its_plan_is_read(place: Place) -> None:
    """The plan may go between the listing and the request for it: the run has ended then."""
    part(place, *SHARDS)
    store = Meeting(place)
    store.when, store.before = ("open", "plan.json"), lambda: commit(place)
    with pytest.raises(TargetExistsError, match="changed during this run"):
        part(place, "a", store=store)
    check(place)


def test_a_run_that_ends_before_the_last_look(place: Place) -> None:
    """A part does not call the shards of a finished run missing."""
    part(place, "b", "c", "d")
    store = Meeting(place)

    class Committed(Silent):
        """Commits the run once the part has noted its file."""

        def finished(self, filename: str, nbytes: int, *, kept: bool) -> None:
            """Commit."""
            super().finished(filename, nbytes, kept=kept)
            commit(place)

    with pytest.raises(TargetExistsError, match="finished or discarded"):
        part(place, "a", store=store, observe=Committed())
    check(place)


def test_the_receipt_of_another_process_stays(place: Place) -> None:
    """A left-over receipt is replaced in the version that was seen; what is new there counts."""
    part(place, "a")
    left_over = place.objects[RECEIPT].data
    UploadJournal(MemoryBucket(place), "t").end()
    other = job(place, "other")
    part(place, work=other)
    fill(place, RECEIPT, left_over)
    store = Meeting(place)

    def note() -> None:
        MemoryBucket(place).remove(RECEIPT)
        part(place, "a", work=other)

    store.when, store.before = ("remove_version", RECEIPT), note
    assert part(place, "a", store=store, work=other).written == ()
    uploads = [upload for upload, _ in place.uploads.values()]
    assert [upload.path for upload in uploads] == ["t/a"]
    part(place, *SHARDS, work=other)
    commit(place, work=other)
    check(place)


def test_a_run_that_begins_is_not_left_over(place: Place) -> None:
    """A command that finds a lock and no plan yet does not discard the run that begins there."""
    store = Meeting(place)
    store.when, store.before = ("lock", "lock"), lambda: part(place, "a")
    fill(place, RECEIPT, b"{}")
    assert recover(store, "t") is None
    assert [each.filename for each in part(place, "a").kept] == ["a"]


def test_a_part_of_a_run_that_is_being_discarded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a part uploads while `restart` discards its run is not taken for another program's."""
    monkeypatch.setattr(parts, "_LOCK_SECONDS", 0.1)
    part(place, "a")
    store, other = Meeting(place), job(place, "other")

    def go_on() -> None:
        with suppress(TargetError):
            part(place, "b")

    store.when, store.after = ("uploads", "t"), go_on
    part(place, *SHARDS, store=store, work=other, options=RESTART)
    commit(place, work=other)
    check(place)


def test_a_run_that_was_being_discarded(place: Place) -> None:
    """Where `restart` was killed in the middle, the next run removes what is left."""
    part(place, "a", "b")
    store = Fragile(place)
    store.left = 4  # the lock, the mark, one upload, and another
    with pytest.raises(CutError):
        part(place, "a", store=store, work=job(place, "other"), options=RESTART)
    unlock(place)
    assert how_far(MemoryBucket(place), "t") is None
    recover(MemoryBucket(place), "t")
    assert state(place) == []


class Unconditional(MemoryBucket):
    """A bucket whose server knows no condition, and where another process notes `a` first."""

    met = False

    def send_part(
        self, upload: Upload, number: int, data: bytes | bytearray | memoryview
    ) -> SentPart:
        """Send a part, after the other process."""
        if not self.met:
            self.met = True
            part(self.place, "a")
        return super().send_part(upload, number, data)

    def put_new(self, path: str, data: bytes) -> bool:
        """Write an object over any other."""
        self.put(path, data)
        return True


def test_a_server_without_conditions(place: Place) -> None:
    """What another process has noted is not replaced there either."""
    assert part(place, "a", store=Unconditional(place)).written == ()
    assert [upload.path for upload, _ in place.uploads.values()] == ["t/a"]
    part(place, *SHARDS)
    commit(place)
    check(place)


class Waiting(MemoryBucket):
    """A bucket that sends no part of the file `b` until it is `ready`."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.ready = Event()

    def send_part(
        self, upload: Upload, number: int, data: bytes | bytearray | memoryview
    ) -> SentPart:
        """Send a part, after a while."""
        if upload.path == "t/b":
            self.ready.wait(10)
        return super().send_part(upload, number, data)


@pytest.mark.parametrize("failure", [Stopped(15), StorageError("it broke", hint="wait")])
def test_what_a_part_began_ends_with_it(place: Place, failure: BaseException) -> None:
    """A part that fails, or is stopped, keeps what it noted, and aborts its other uploads."""
    store = Waiting(place)

    class Failing(Silent):
        """Fails once the first file is noted."""

        def finished(self, filename: str, nbytes: int, *, kept: bool) -> None:
            """Fail, and let the others go on."""
            super().finished(filename, nbytes, kept=kept)
            if isinstance(failure, StorageError):
                store.ready.set()
            raise failure

    other = MemoryBucket(place).begin_upload("t/b")
    part(place)
    twin = MemoryBucket(place).begin_upload("t/b")
    with pytest.raises(type(failure)):
        part(place, "a", "b", store=store, options=RunOptions(jobs=2), observe=Failing())
    store.ready.set()
    left = {upload.id: upload.path for upload, _ in place.uploads.values()}
    assert left.keys() >= {other.id, twin.id}
    assert sorted(left.values()) == ["t/a", "t/b", "t/b"]
    place.uploads.pop(other.id)
    part(place, *SHARDS)
    commit(place)
    check(place)


def test_a_part_waits_for_the_lock_to_forget(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an upload is gone, its receipt stays while another process holds the target."""
    monkeypatch.setattr(parts, "_LOCK_SECONDS", 0.1)
    part(place, *SHARDS)
    gone = next(upload for upload, _ in place.uploads.values() if upload.path == "t/a")
    MemoryBucket(place).abort_upload(gone)
    with MemoryBucket(place).lock("t/.shardctl/lock"), pytest.raises(LockedError):
        part(place, "a")
    assert RECEIPT in place.objects
    assert [each.filename for each in part(place, "a").written] == ["a"]
    commit(place)
    check(place)
