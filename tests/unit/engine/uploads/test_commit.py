"""A commit only goes forward: repeated from wherever it was interrupted, it ends the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.write import write
from shardctl.engine.journal.interrupted import check_not_half_replaced, unfinished
from shardctl.engine.journal.journal import RunIdentity
from shardctl.engine.run import RunOptions
from shardctl.engine.uploads.commit import carry_out, plan_commit, recover
from shardctl.engine.uploads.journal import UploadJournal
from shardctl.errors import InputError, StorageError, TargetExistsError
from shardctl.model import Version
from shardctl.planning.request import WriteOptions
from shardctl.stores.uploads import SentPart, Upload
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.place import Place, StoredObject
from tests.support.buckets import (
    BY_250,
    BY_350,
    INDEX,
    ONE,
    CutError,
    Files,
    Fragile,
    files,
    fill,
    loaded,
    run,
    sample,
    state,
    unlock,
)
from tests.support.memory_checkpoints import weights
from tests.support.observers import Counting

REPLACE = {"replace": "same"}
OTHER = {f"layer.{number}": bytes([number + 101]) * 100 for number in range(6)}


def fresh(place: Place) -> tuple[str, str, WriteOptions]:
    """A split into an empty directory."""
    sample(place)
    return "m", "t", BY_250


def merged(place: Place) -> tuple[str, str, WriteOptions]:
    """A merge into one object of a name that the user gave."""
    sample(place)
    run(MemoryBucket(place), MemoryBucket(place), "m", "s")
    return "s", "t/model.safetensors", ONE


def same_names(place: Place) -> tuple[str, str, WriteOptions]:
    """A set that replaces another one whose shards and index have the same names."""
    sample(place)
    fill(place, "o/model.safetensors", weights(OTHER))
    run(MemoryBucket(place), MemoryBucket(place), "o", "t")
    return "m", "t", replace(BY_250, replace="same", checksums=True)


def other_names(place: Place) -> tuple[str, str, WriteOptions]:
    """A set that replaces another one of another number of shards."""
    sample(place)
    fill(place, "o/model.safetensors", weights(OTHER))
    run(MemoryBucket(place), MemoryBucket(place), "o", "t")
    return "m", "t", replace(BY_350, replace="same")


def in_place(place: Place) -> tuple[str, str, WriteOptions]:
    """A set of shards that becomes one file in its own directory."""
    sample(place, "x")
    run(MemoryBucket(place), MemoryBucket(place), "x", "t")
    return "t", "t", replace(ONE, replace="same")


def one_by_one(place: Place) -> tuple[str, str, WriteOptions]:
    """A single file that becomes shards in its own directory."""
    sample(place, "t")
    return "t", "t", replace(BY_250, replace="same")


def distributed(place: Place) -> tuple[str, str, WriteOptions]:
    """A distributed checkpoint that replaces another one, whose files have the same names."""
    sample(place)
    fill(place, "o/model.safetensors", weights(OTHER))
    run(MemoryBucket(place), MemoryBucket(place), "o", "t", replace(BY_250, format="dcp"))
    return "m", "t", replace(BY_250, format="dcp", replace="same")


SCENARIOS = [fresh, merged, same_names, other_names, in_place, one_by_one, distributed]
Scenario = Callable[[Place], tuple[str, str, WriteOptions]]


def attempt(place: Place, scenario: tuple[str, str, WriteOptions], left: int) -> bool:
    """Run with power for so many requests; whether it lasted to the end."""
    store = Fragile(place)
    store.left = left
    try:
        run(store, store, scenario[0], scenario[1], scenario[2])
    except CutError:
        return False
    finally:
        unlock(place)
    return True


def expected(scenario: Scenario) -> Files:
    """What a run that nothing disturbs leaves in the target."""
    place = Place()
    assert attempt(place, scenario(place), 1_000)
    assert state(place) == []
    return files(place, "t")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_before_each_request(scenario: Scenario) -> None:
    """At each moment a loader finds the old set, the new one or none, and the next run ends it."""
    whole, number, ended = expected(scenario), 0, False
    while not ended:
        place = Place()
        asked = scenario(place)
        before = loaded(files(place, "t"))
        ended = attempt(place, asked, number)
        there = loaded(files(place, "t"))
        assert there in (None, before, loaded(whole)), number
        if there is None and before is not None:
            # Only where names are the same there is a moment without a set; it is known as such.
            assert scenario in (same_names, distributed)
            with pytest.raises(InputError, match="half replaced"):
                check_not_half_replaced(MemoryBucket(place), "t")
        assert attempt(place, asked, 1_000), number
        assert files(place, "t") == whole, number
        assert state(place) == [], number
        number += 1
    assert number > 15


@pytest.mark.parametrize("scenario", [same_names, one_by_one])
def test_killed_again_while_it_is_completed(scenario: Scenario) -> None:
    """A run that completes another's replacement may be killed in its turn, at any moment."""
    whole = expected(scenario)
    for number in range(10, 60, 4):
        for again in range(12):
            place = Place()
            asked = scenario(place)
            if attempt(place, asked, number):
                return
            attempt(place, asked, again)
            assert attempt(place, asked, 1_000), (number, again)
            assert files(place, "t") == whole, (number, again)
            assert state(place) == [], (number, again)


class IndexRemoved(Fragile):
    """A bucket that fails before the next change once the old index is removed."""

    def remove_version(self, path: str, version: Version) -> bool:
        """Remove an object; the index takes the rest of the power."""
        done = super().remove_version(path, version)
        if path == f"t/{INDEX}":
            self.cut()
        return done


def half_replaced(place: Place) -> MemoryBucket:
    """A target in which a replacement was killed after its first step, and its store."""
    source, target, options = same_names(place)
    store = IndexRemoved(place)
    with pytest.raises(CutError):
        run(store, store, source, target, options)
    unlock(place)
    assert INDEX not in files(place, "t")
    return MemoryBucket(place)


def test_no_command_reads_what_is_half_replaced() -> None:
    """Its state says so, to writers and readers, and which run completes it."""
    place = Place()
    store = half_replaced(place)
    assert unfinished(store, "t") == ("t/.shardctl", True)
    for path in ("t", f"t/{INDEX}"):
        with pytest.raises(InputError, match="half replaced") as caught:
            check_not_half_replaced(store, path)
        assert caught.value.code == "half-done"
    with pytest.raises(TargetExistsError, match="half replaced"):
        prepare(store, "m", store, "t", BY_350, finish=False)


def test_another_command_completes_it_first() -> None:
    """A run of other options first completes what was begun, and then refuses what it finds."""
    place = Place()
    store = half_replaced(place)
    with pytest.raises(TargetExistsError, match="already holds"):
        run(store, store, "m", "t", BY_350)
    assert loaded(files(place, "t")) == loaded(expected(same_names))
    assert state(place) == []


def test_state_that_was_copied_is_refused() -> None:
    """A commit that came with the objects of another directory does nothing."""
    place = Place()
    half_replaced(place)
    for key, found in list(place.objects.items()):
        if key.startswith("t/"):
            place.objects[f"c/{key.removeprefix('t/')}"] = found
    before = files(place, "c")
    with pytest.raises(TargetExistsError, match="another directory"):
        recover(MemoryBucket(place), "c")
    assert files(place, "c") == before


def test_a_planted_commit_names_no_file_elsewhere() -> None:
    """A commit with a name that leads out of the directory is refused."""
    place = Place()
    half_replaced(place)
    path = "t/.shardctl/commit.json"
    document = json.loads(place.objects[path].data)
    document["old"] = [{"name": "../m/config.json", "version": {"size": 2, "mark": "1"}}]
    place.objects[path] = StoredObject(json.dumps(document).encode())
    with pytest.raises(StorageError, match="not a journal"):
        recover(MemoryBucket(place), "t")
    assert "config.json" in files(place, "m")


def test_a_lost_upload_is_said() -> None:
    """Where another program aborted the uploads of such a set, the error says what helps."""
    place = Place()
    store = half_replaced(place)
    place.uploads.clear()
    with pytest.raises(StorageError) as caught:
        recover(store, "t")
    assert caught.value.message.endswith("is gone; 't' is half replaced")
    assert "replace" in caught.value.hint


class Rival(MemoryBucket):
    """A bucket in which another program writes an object before an upload is completed."""

    name = ""

    def complete_upload(
        self, upload: Upload, parts: Sequence[SentPart], replaces: Version | None
    ) -> Version:
        """Let the rival be first, once."""
        if self.name and upload.path == self.name:
            self.place.objects[self.name] = StoredObject(b"rival")
            self.name = ""
        return super().complete_upload(upload, parts, replaces)


def test_a_rival_before_the_first_step_changes_nothing() -> None:
    """The commit is forgotten where nothing of it was done, and the rival's file stays."""
    place = Place()
    sample(place)
    store = Rival(place)
    prepared = prepare(store, "m", store, "t", BY_250, finish=True)
    store.name = "t/config.json"
    with pytest.raises(TargetExistsError, match="appeared or changed") as caught:
        write(store, store, prepared, RunOptions(jobs=1), Counting())
    assert "half replaced" not in caught.value.message
    assert files(place, "t") == {"config.json": b"rival"}
    assert not UploadJournal(store, "t").has_commit()


def test_a_rival_in_between_is_named_and_kept() -> None:
    """After the first step the target is half replaced until the rival's file is moved away."""
    place = Place()
    sample(place)
    store = Rival(place)
    prepared = prepare(store, "m", store, "t", BY_250, finish=True)
    store.name = f"t/{INDEX}"
    with pytest.raises(TargetExistsError) as caught:
        write(store, store, prepared, RunOptions(jobs=1), Counting())
    assert caught.value.message.endswith("'t' is half replaced")
    assert files(place, "t")[INDEX] == b"rival"
    del place.objects[f"t/{INDEX}"]
    assert recover(MemoryBucket(place), "t") is not None
    assert files(place, "t") == expected(fresh)
    assert state(place) == []


OLD = "t/model-00001-of-00003.safetensors"


def test_a_file_to_replace_that_is_gone_is_not_missed() -> None:
    """Where another program removes a file that a commit replaces, the new one gets the free name:
    in the run that began it, and in the one that completes it.
    """

    class Removing(MemoryBucket):
        """A bucket in which an old shard is removed just before it is replaced."""

        def complete_upload(
            self, upload: Upload, parts: Sequence[SentPart], replaces: Version | None
        ) -> Version:
            """Remove it, where it is not the new one."""
            there = self.place.objects.get(OLD)
            if there is not None and there.version == replaces:
                del self.place.objects[OLD]
            return super().complete_upload(upload, parts, replaces)

    place = Place()
    store = Removing(place)
    run(store, store, *same_names(place))
    assert (files(place, "t"), state(place)) == (expected(same_names), [])

    place = Place()
    half = half_replaced(place)
    waiting = [upload.path for upload, _ in place.uploads.values()]
    assert [place.objects.pop(path) for path in waiting if path in place.objects]
    assert recover(half, "t") is not None
    assert (files(place, "t"), state(place)) == (expected(same_names), [])


def test_an_old_file_that_changed_stays() -> None:
    """What was written again since it was seen is not removed as an old file."""
    place = Place()
    asked = other_names(place)
    old = "model-00003-of-00003.safetensors"

    class Late(MemoryBucket):
        """A bucket in which an old shard is written again just before it is removed."""

        def remove_version(self, path: str, version: Version) -> bool:
            """Write it again, and then try to remove it."""
            if path == f"t/{old}":
                self.place.objects[path] = StoredObject(b"again")
            return super().remove_version(path, version)

    store = Late(place)
    run(store, store, *asked)
    assert files(place, "t")[old] == b"again"


def test_a_run_may_have_no_new_file() -> None:
    """Then what it removes is all that it does, and that can be repeated as well."""
    for left in range(1, 6):
        place = Place()
        fill(place, "t/SHA256SUMS", b"gone")
        store = Fragile(place)
        journal = UploadJournal(store, "t")
        identity = RunIdentity("id", {}, {})
        journal.begin(identity, [])
        commit = plan_commit(identity, journal, [], {"SHA256SUMS"}, ())
        assert commit.loads_from == ""
        store.left = left
        with suppress(CutError):
            carry_out(journal, commit, {}, None)
        recover(MemoryBucket(place), "t")
        UploadJournal(MemoryBucket(place), "t").end()
        assert files(place, "t") == {}
        assert state(place) == []


@pytest.mark.parametrize("left", [64, 66, 68])
def test_uploads_that_are_gone_have_a_way_on(left: int) -> None:
    """Where a rule of the bucket aborted uploads of a commit, what the error advises ends whole."""
    place = Place()
    sample(place)
    cut, store = Fragile(place), MemoryBucket(place)
    cut.left = left
    with pytest.raises(CutError):
        run(cut, cut, "m", "t")
    unlock(place)
    place.uploads.clear()
    again = replace(BY_250, replace="same")
    with pytest.raises(StorageError, match="is gone") as caught:
        run(store, store, "m", "t", again)
    assert "remove 't/.shardctl', and run" in caught.value.hint
    for key in [key for key in place.objects if key.startswith("t/.shardctl/")]:
        store.remove(key)
    run(store, store, "m", "t", again)
    assert (INDEX in files(place, "t"), state(place)) == (True, [])


def test_an_empty_commit_is_none() -> None:
    """An object without bytes in its place, which no run writes, holds up no part."""
    place = Place()
    journal = UploadJournal(MemoryBucket(place), "t")
    identity = RunIdentity("id", {}, {}, shared=True)
    journal.begin(identity, ["a"])
    place.objects["t/.shardctl/commit.json"] = StoredObject(b"")
    assert not journal.awaits(identity)
    assert recover(MemoryBucket(place), "t") is None
    assert journal.awaits(identity)
