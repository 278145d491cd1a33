"""A run is prepared: the source is found and read, and an interrupted replacement comes first."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from shardctl.commands.preparing.prepare import prepare, prepare_held
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.write import write
from shardctl.engine.journal.journal import RunIdentity
from shardctl.engine.journal.records import RunRecord, StoredRecords
from shardctl.engine.run import RunOptions
from shardctl.errors import (
    FormatError,
    InputError,
    MissingError,
    TargetExistsError,
    UsageError,
)
from shardctl.findings import strict
from shardctl.model import Checkpoint
from shardctl.planning.request import Limits, WriteOptions
from shardctl.source.locate import Located, find_source
from shardctl.source.read import read_checkpoint
from shardctl.stores.base import Store
from shardctl.streams.progress import Silent
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryStore
from shardctl.testing.place import Place
from tests.support.buckets import CutError, files, state, unlock
from tests.support.buckets import run as run_in_bucket
from tests.support.buckets import sample as fill
from tests.support.memory_checkpoints import get, put, sample, weights

BY_250 = WriteOptions(limits=Limits(max_shard_bytes=250))
IN_PLACE = replace(BY_250, replace="same")
ONE = WriteOptions(limits=Limits())
INDEX = "model.safetensors.index.json"


@pytest.fixture
def store() -> MemoryStore:
    """A store with the checkpoint `m` of six tensors of 100 bytes, and a config."""
    store = MemoryStore()
    sample(store)
    return store


def ready(
    store: Store,
    source: str = "m",
    target: str = "t",
    options: WriteOptions = BY_250,
    *,
    finish: bool = True,
    **how: Any,
) -> Prepared:
    """What a run would do."""
    return prepare(store, source, store, target, options, finish=finish, **how)


# the source


def test_nothing_is_written(store: MemoryStore) -> None:
    """Preparing leaves the source and the target as they were."""
    before = [store.version(f"m/{entry.name}") for entry in store.list("m")]
    ready(store)
    assert store.kind("t") is None
    assert [store.version(f"m/{entry.name}") for entry in store.list("m")] == before


def test_a_source_that_does_not_exist(store: MemoryStore) -> None:
    """It is an error of the input, and the target is not touched."""
    with pytest.raises(MissingError, match="'none'"):
        ready(store, "none")
    assert store.kind("t") is None


@pytest.mark.parametrize(("variant", "read"), [("fp16", "fp16"), ("bf16", None), (None, None)])
def test_the_variant_to_write_is_read_where_there_is_one(
    store: MemoryStore, variant: str | None, read: str | None
) -> None:
    """Another one is made of the weights without a variant."""
    put(store, "m/model.fp16.safetensors", weights({"half": b"12"}))
    found = ready(store, options=replace(ONE, variant=variant))
    names = {tensor.name for tensor in found.checkpoint.tensors}
    assert (names == {"half"}) is (read == "fp16")
    expected = "model.safetensors" if variant is None else f"model.{variant}.safetensors"
    assert found.plan.filenames == (expected,)


def test_files_are_joined(store: MemoryStore) -> None:
    """With more sources the tensors of all files are in one checkpoint."""
    put(store, "a.safetensors", weights({"a": b"1"}))
    put(store, "b.safetensors", weights({"b": b"2"}))
    found = ready(store, "a.safetensors", options=ONE, more_sources=["b.safetensors"])
    assert [tensor.name for tensor in found.checkpoint.tensors] == ["a", "b"]
    assert (found.source, found.more_sources) == ("a.safetensors", ("b.safetensors",))


def test_directories_apart_are_not_looked_at(store: MemoryStore) -> None:
    """What they hold is neither a companion nor named as not carried."""
    put(store, "m/extra/notes.json", b"{}")
    assert "extra/notes.json" in ready(store).companions
    found = ready(store, apart=["m/extra"])
    assert found.companions == ("config.json",)
    assert found.not_carried == ()


def test_a_source_that_its_name_does_not_promise_is_noted(store: MemoryStore) -> None:
    """A pickle that is called .safetensors is read, and a note says so."""
    put(store, "m/model.safetensors", weights({"a": b"1"}, "bin"))
    (note,) = ready(store).notes
    assert note.startswith("'m/model.safetensors': the file is of the format 'bin'")
    put(store, "m/model.safetensors", weights({"a": b"1"}))
    assert ready(store).notes == ()


def test_notes_on_the_source_come_first(store: MemoryStore) -> None:
    """What was chosen is said first, then what is wrong with it, then what is not copied."""
    put(store, "m/pytorch_model.bin", weights({"a": b"1"}, "bin"))
    put(store, "m/model.safetensors", weights({"a": b"1"}) + b"more")
    first, *_, second, last = ready(store, options=replace(BY_250, accept_damage=True)).notes
    assert "pytorch_model.bin" in first
    assert second.startswith("accepted damage: ")
    assert last.startswith("not copied")


@pytest.mark.parametrize("accept", [False, True])
def test_damage_that_is_accepted_is_kept(store: MemoryStore, *, accept: bool) -> None:
    """What is wrong with a file stops a run, or is named by the run that accepts it."""
    put(store, "m/model.safetensors", weights({"a": b"1"}) + b"more")
    options = replace(ONE, accept_damage=accept)
    if not accept:
        with pytest.raises(FormatError) as caught:
            ready(store, options=options)
        assert caught.value.code == "file-trailing-bytes"
        return
    found = ready(store, options=options)
    (accepted,) = found.accepted
    assert "4 bytes" in accepted
    assert f"accepted damage: {accepted}" in found.notes


def test_what_is_not_a_tensor_is_dropped_with_leave_only(store: MemoryStore) -> None:
    """Else it stops the run; where it is dropped, it is named as not carried."""
    import torch

    data = io.BytesIO()
    torch.save({"w": torch.ones(4), "step": 3}, data)
    put(store, "n/pytorch_model.bin", data.getvalue())
    with pytest.raises(InputError):
        ready(store, "n")
    found = ready(store, "n", options=replace(BY_250, drop_non_tensors=True))
    assert [each.name for each in found.not_carried] == ["step"]


# what is expected of it


def test_what_was_read_is_shown_before_it_is_planned(store: MemoryStore) -> None:
    """Whoever expects something else raises first, also where no plan could be made."""
    seen: list[tuple[Located, Checkpoint, RunIdentity | None]] = []

    def expect(*found: Any) -> None:
        seen.append(found)
        raise InputError("not this one", hint="", file="m")

    impossible = WriteOptions(limits=Limits(num_shards=100))
    with pytest.raises(UsageError, match="cannot fill 100 shards"):
        ready(store, options=impossible)
    with pytest.raises(InputError, match="not this one"):
        ready(store, options=impossible, expect=expect)
    ((located, checkpoint, completed),) = seen
    assert located.files == ("m/model.safetensors",)
    assert len(checkpoint.tensors) == 6
    assert completed is None


# the target


@pytest.mark.parametrize("limits", [None, Limits(num_shards=1), Limits(max_shard_bytes=10**9)])
def test_a_file_is_a_target_of_one_file_only(store: MemoryStore, limits: Limits | None) -> None:
    """Where the result may be several files, a file's name is refused, however many there are."""
    with pytest.raises(UsageError, match="may be several"):
        ready(store, target="x.safetensors", options=WriteOptions(limits=limits))
    assert ready(store, target="x.safetensors", options=ONE).target.filename == "x.safetensors"


def test_uploads_cannot_be_read_back() -> None:
    """That is an error before anything is read."""
    with pytest.raises(UsageError, match="cannot be read back"):
        ready(MemoryBucket(), "none", options=replace(BY_250, read_back=True))


class Failing(MemoryBucket):
    """A bucket whose power fails when the first file of a commit is to appear."""

    def complete_upload(self, *_: object) -> NoReturn:
        """Fail."""
        raise CutError


def cut(target: str, source: str = "m") -> Place:
    """A bucket in which a replacement of `target` by the checkpoint `m` was interrupted."""
    place = Place()
    fill(place, "m")
    store = Failing(place)
    with pytest.raises(CutError):
        run_in_bucket(store, store, source, target, IN_PLACE)
    unlock(place)
    return place


@pytest.mark.parametrize("target", ["t", "m"])
def test_an_interrupted_replacement_is_completed_first(target: str) -> None:
    """The result is there before the source is looked at, which may be what was replaced."""
    place = cut(target)
    store = MemoryBucket(place)
    found = ready(store, "m", target, IN_PLACE)
    assert found.up_to_date
    assert found.notes[0] == "completed the replacement that an interrupted run had started"
    assert found.completed is not None
    assert found.completed.plan_id == ready(store, "m", "u", IN_PLACE).plan.id or target == "m"
    assert INDEX in files(place, target)
    assert state(place) == []
    assert ready(store, "m", target, IN_PLACE).completed is None


def test_a_source_that_was_named_and_replaced_is_its_result() -> None:
    """Where the file that was read is gone after the replacement, the new set is read instead."""
    place = cut("m", "m/model.safetensors")
    store = MemoryBucket(place)
    found = ready(store, "m/model.safetensors", "m", IN_PLACE)
    assert found.up_to_date
    assert found.located.index_path == f"m/{INDEX}"
    with pytest.raises(MissingError):
        ready(store, "m/model.safetensors", "m", IN_PLACE)


@pytest.mark.parametrize("source", ["m/other.safetensors", "elsewhere/model.safetensors"])
def test_any_other_file_that_is_gone_is_missed(source: str) -> None:
    """Only a file that the interrupted run had read, in its directory, is what it wrote."""
    place = cut("m")
    with pytest.raises(MissingError):
        ready(MemoryBucket(place), source, "m", IN_PLACE)


def test_a_file_of_that_name_in_another_store_is_missed(store: MemoryStore) -> None:
    """The same path elsewhere is not what was replaced."""
    bucket = MemoryBucket(cut("m", "m/model.safetensors"))
    store.remove("m/model.safetensors")
    with pytest.raises(MissingError):
        prepare(store, "m/model.safetensors", bucket, "m", IN_PLACE, finish=True)


def test_a_replacement_is_not_completed_unless_it_may_be() -> None:
    """Without leave to finish the target is an error, and stays half replaced."""
    place = cut("t")
    before = dict(place.objects)
    with pytest.raises(TargetExistsError) as caught:
        ready(MemoryBucket(place), finish=False)
    assert "without `plan`: it completes the replacement first" in caught.value.hint
    assert caught.value.file == "t"
    assert place.objects == before


def test_signals_and_records_while_a_replacement_is_completed() -> None:
    """It is done while signals are held, and the record of the completed run is kept."""
    place = cut("t")
    records = StoredRecords(MemoryStore(), "records", str)
    held: list[RunRecord | None] = []

    @contextmanager
    def hold() -> Iterator[None]:
        held.append(records.find("t"))
        yield
        held.append(records.find("t"))

    found = ready(MemoryBucket(place), records=records, hold=hold)
    before, after = held
    assert before is None
    assert after is not None
    assert after.plan_id == found.plan.id
    assert found.notes == ("completed the replacement that an interrupted run had started",)


@pytest.mark.parametrize("source", ["t", "t/model.safetensors", f"t/{INDEX}"])
def test_a_half_replaced_directory_is_not_read(source: str) -> None:
    """Where it is the source, and another directory the target, the run is refused."""
    place = cut("t")
    with pytest.raises(InputError, match="half replaced"):
        ready(MemoryBucket(place), source, "u")


@pytest.mark.parametrize("half", ["one", "other"])
def test_no_directory_of_files_that_are_joined_may_be_half_replaced(half: str) -> None:
    """Each of the directories that they lie in is looked at."""
    store = MemoryBucket(cut(half))
    paths = ["one/a.safetensors", "other/b.safetensors"]
    for path in paths:
        store.put(path, weights({path: b"1"}))
    with pytest.raises(InputError, match="half replaced") as caught:
        ready(store, paths[0], "u", more_sources=paths[1:])
    assert caught.value.file == half


# what a program holds


def held(store: MemoryStore) -> tuple[Located, Checkpoint]:
    """What a program would hold."""
    located = find_source(store, "m")
    return located, read_checkpoint(store, located, strict)


def test_what_is_held_is_compared_before_it_is_kept(store: MemoryStore) -> None:
    """Versions of what a program holds prove nothing, so that finished files are compared."""
    found = prepare_held(store, *held(store), store, "t", BY_250, finish=True)
    assert found.compare_kept
    assert not ready(store).compare_kept
    assert (found.plan.id, found.source) == (ready(store).plan.id, "m")


def test_what_is_held_is_up_to_date_by_its_contents(store: MemoryStore) -> None:
    """An equal result is found where a comparison is allowed; else it is in the way."""
    write(store, store, ready(store), RunOptions(jobs=1), Silent())
    assert prepare_held(store, *held(store), store, "t", BY_250, finish=True).up_to_date
    with pytest.raises(TargetExistsError):
        prepare_held(store, *held(store), store, "t", BY_250, finish=True, compare=False)
    put(store, "m/model.safetensors", get(store, "m/model.safetensors")[:-1] + b"!")
    with pytest.raises(TargetExistsError):
        prepare_held(store, *held(store), store, "t", BY_250, finish=True)


def test_a_replacement_is_completed_for_what_is_held_too(store: MemoryStore) -> None:
    """A note says so; without leave to finish it is refused."""
    bucket = MemoryBucket(cut("t"))
    with pytest.raises(TargetExistsError, match="half replaced"):
        prepare_held(store, *held(store), bucket, "t", BY_250, finish=False)
    found = prepare_held(store, *held(store), bucket, "t", BY_250, finish=True)
    assert found.notes[0] == "completed the replacement that an interrupted run had started"
    assert found.up_to_date
