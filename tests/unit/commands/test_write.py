"""Preparing and carrying out runs, on the in-memory store."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from shardctl.commands.preparing import prepare as preparing
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.write import build_job, write
from shardctl.engine import task
from shardctl.engine.commit.staging import Staging
from shardctl.engine.journal.journal import Journal
from shardctl.engine.journal.records import StoredRecords
from shardctl.engine.run import RunOptions, execute
from shardctl.engine.workers.executors import Threads
from shardctl.errors import FormatError, InputError, SourceChangedError, TargetExistsError
from shardctl.findings import strict
from shardctl.formats.safetensors import reader as safetensors_reader
from shardctl.planning.request import Limits, WriteOptions
from shardctl.source.locate import find_source
from shardctl.source.read import read_checkpoint
from shardctl.storages import named_tensors
from shardctl.stores.base import Store
from shardctl.stores.local import mounts
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from shardctl.verify.run import Thoroughness, verify
from tests.support.legacy_files import legacy
from tests.support.memory_checkpoints import get, put, sample, weights

BY_250 = WriteOptions(limits=Limits(max_shard_bytes=250))
ONE = WriteOptions(limits=Limits())


class Told:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.bytes = 0

    def start(self, nbytes: int, files: Mapping[str, int]) -> None:
        self.events.append(f"start {nbytes} {len(files)}")

    def advance(self, filename: str, nbytes: int) -> None:  # noqa: ARG002 - an observer's
        self.bytes += nbytes

    def finished(self, filename: str, nbytes: int, *, kept: bool) -> None:  # noqa: ARG002 - an observer's
        self.events.append(f"{'kept' if kept else 'done'} {filename}")

    def committing(self) -> None:
        self.events.append("committing")


def prepare(store: Store, source: str, target: str, options: WriteOptions = BY_250) -> Prepared:
    """What would be done."""
    return preparing.prepare(store, source, store, target, options, finish=True)


def run(store: Store, source: str, target: str, options: WriteOptions = BY_250) -> Prepared:
    """Prepare, and carry out what is not done."""
    prepared = prepare(store, source, target, options)
    if not prepared.up_to_date:
        write(store, store, prepared, RunOptions(jobs=1), Told())
    return prepared


def damaged_bin() -> bytes:
    """A .bin of two tensors, one of which has a changed byte."""
    data = bytearray(weights({"a": b"1" * 200, "b": b"2" * 200}, "bin"))
    data[data.index(b"2" * 200) + 7] ^= 1
    return bytes(data)


def names(store: MemoryStore, directory: str) -> list[str]:
    """The files in a directory."""
    return [entry.name for entry in store.list(directory) if entry.kind == "file"]


def content(store: MemoryStore, source: str) -> dict[str, bytes]:
    """Every tensor's bytes, aliases among them."""
    located = find_source(store, source)
    checkpoint = read_checkpoint(store, located, strict)
    found = {}
    for name, tensor in named_tensors(checkpoint).items():
        with store.open(tensor.span.path) as reader:
            found[name] = reader.read(tensor.span.offset, tensor.span.length)
    return found


def test_a_split_has_shards_index_and_companions() -> None:
    """A split leaves shards, an index that names them, the companions, and nothing else."""
    store = MemoryStore()
    tensors = sample(store)
    prepared = run(store, "m", "s")
    shards = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    assert names(store, "s") == ["config.json", *shards, "model.safetensors.index.json"]
    index = json.loads(get(store, "s/model.safetensors.index.json"))
    assert index["metadata"] == {"total_size": 600}
    assert sorted(set(index["weight_map"].values())) == shards
    assert content(store, "s") == tensors
    assert prepared.path(store) == "s/model.safetensors.index.json"


def test_merging_gives_the_first_file_again() -> None:
    """Split and merged again, a file is what it was, byte for byte."""
    store = MemoryStore()
    sample(store)
    run(store, "m", "s")
    run(store, "s", "n", WriteOptions(limits=Limits()))
    assert get(store, "n/model.safetensors") == get(store, "m/model.safetensors")


def test_every_container_goes_into_every_other() -> None:
    """Tensors survive safetensors → bin → safetensors with other shards each time."""
    store = MemoryStore()
    tensors = sample(store)
    run(store, "m", "b", WriteOptions(limits=Limits(num_shards=4), format="bin"))
    assert len([name for name in names(store, "b") if name.endswith(".bin")]) == 4
    run(store, "b", "t", WriteOptions(limits=None, format="safetensors"))
    assert content(store, "t") == tensors
    assert len([name for name in names(store, "t") if name.endswith(".safetensors")]) == 4


def test_the_same_run_again_is_up_to_date() -> None:
    """Where the record proves that source and result are unchanged, nothing is left to do."""
    store = MemoryStore()
    sample(store)
    run(store, "m", "s")
    assert prepare(store, "m", "s").up_to_date


@pytest.mark.parametrize(
    "path", ["m/model.safetensors", "s/model-00002-of-00003.safetensors", "m/config.json"]
)
def test_a_touched_file_is_compared(path: str) -> None:
    """Without a record that proves it, equal files are found to be up to date, and others not."""
    store = MemoryStore()
    sample(store)
    run(store, "m", "s")
    data = get(store, path)
    put(store, path, data)
    again = prepare(store, "m", "s")
    assert again.up_to_date
    assert "compared with the source" in again.notes[0]
    put(store, path, data[:-1] + b"!")
    with pytest.raises(TargetExistsError):
        prepare(store, "m", "s")


def test_a_comparison_that_is_asked_for_is_made_of_a_result_that_is_there_too() -> None:
    """With `read_back` a record is not enough: a byte that a disk changed is found."""
    store = MemoryStore()
    sample(store)
    checked = replace(BY_250, read_back=True)
    records = StoredRecords(MemoryStore(), "records", str)
    prepared = prepare(store, "m", "s", checked)
    write(store, store, prepared, RunOptions(jobs=1), Told(), records=records)

    def again(options: WriteOptions) -> Prepared:
        return preparing.prepare(store, "m", store, "s", options, finish=True, records=records)

    assert again(BY_250).notes == ()
    assert "compared with the source" in again(checked).notes[0]
    store._files["s/model-00002-of-00003.safetensors"].data[-9] ^= 1  # and the version stays
    assert again(BY_250).up_to_date
    with pytest.raises(TargetExistsError):
        again(checked)


def test_other_options_are_not_up_to_date() -> None:
    """The record counts only for the options that it was made with."""
    store = MemoryStore()
    sample(store)
    run(store, "m", "s")
    options = replace(BY_250, limits=Limits(max_shard_bytes=300), replace="same")
    assert not prepare(store, "m", "s", options).up_to_date


def test_a_checkpoint_in_the_target_is_refused_and_named() -> None:
    """Without --replace a checkpoint in the target is an error that names it."""
    store = MemoryStore()
    sample(store)
    put(store, "s/pytorch_model.bin", weights({"a": b"1"}, "bin"))
    with pytest.raises(TargetExistsError, match=r"pytorch_model\.bin"):
        prepare(store, "m", "s")


def test_replace_supersedes_only_the_same_container_and_variant() -> None:
    """--replace leaves another container alone and refuses; --replace-all takes everything."""
    store = MemoryStore()
    sample(store)
    put(store, "s/pytorch_model.bin", weights({"a": b"1"}, "bin"))
    with pytest.raises(TargetExistsError, match=r"pytorch_model\.bin"):
        prepare(store, "m", "s", replace(BY_250, replace="same"))
    run(store, "m", "s", replace(BY_250, replace="all"))
    assert "pytorch_model.bin" not in names(store, "s")


def test_replacing_in_place_leaves_the_new_set_only() -> None:
    """With TARGET = SOURCE the old files go and every tensor stays."""
    store = MemoryStore()
    tensors = sample(store)
    with pytest.raises(TargetExistsError, match="source itself"):
        prepare(store, "m", "m")
    run(store, "m", "m", replace(BY_250, replace="same"))
    assert "model.safetensors" not in names(store, "m")
    assert content(store, "m") == tensors
    assert prepare(store, "m", "m", replace(BY_250, replace="same")).up_to_date
    run(store, "m", "m", WriteOptions(limits=Limits(num_shards=3), replace="same", order="natural"))
    assert content(store, "m") == tensors


def test_other_files_in_the_target_stay() -> None:
    """A replacement removes exactly the superseded set."""
    store = MemoryStore()
    sample(store)
    put(store, "s/notes.txt", b"mine")
    run(store, "m", "s")
    run(store, "m", "s", WriteOptions(limits=Limits(), replace="same"))
    assert names(store, "s") == ["config.json", "model.safetensors", "notes.txt"]


def test_a_different_companion_in_the_target_is_in_the_way() -> None:
    """A companion that differs is refused, or replaced where asked for; an equal one stays."""
    store = MemoryStore()
    sample(store)
    put(store, "s/config.json", b'{"other": 1}')
    with pytest.raises(TargetExistsError, match=r"config\.json"):
        prepare(store, "m", "s")
    kept = run(store, "m", "s", replace(BY_250, replace="same"))
    assert get(store, "s/config.json") != b"{}"
    assert "config.json" in kept.notes[0]
    run(store, "m", "s", replace(BY_250, replace="same", replace_companions=True))
    assert get(store, "s/config.json") == b"{}"
    assert prepare(store, "m", "t", BY_250).companions == ("config.json",)


def test_training_state_and_checksums_are_no_companions() -> None:
    """Weights, training state, SHA256SUMS and hidden staging directories are not copied."""
    store = MemoryStore()
    sample(store)
    for name in (
        "optimizer.pt",
        "training_args.bin",
        "SHA256SUMS",
        "flax_model.msgpack",
        "tokenizer.json",
    ):
        put(store, f"m/{name}", b"x")
    assert prepare(store, "m", "s").companions == ("config.json", "tokenizer.json")


def test_a_source_that_changes_while_planning_is_noticed() -> None:
    """A source with another version than its header was read at stops the run, and nothing has a
    final name.
    """
    store = MemoryStore()
    sample(store)
    prepared = prepare(store, "m", "s")
    put(store, "m/model.safetensors", get(store, "m/model.safetensors"))
    with pytest.raises(SourceChangedError):
        write(store, store, prepared, RunOptions(jobs=1), Told())
    assert names(store, "s") == []


@pytest.mark.parametrize(
    ("format_", "kept", "done"),
    [
        (None, "model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"),
        ("dcp", "__0_0.distcp", "__2_0.distcp"),
    ],
)
def test_a_failed_run_is_resumed(format_: str | None, kept: str, done: str) -> None:
    """Files that were finished before a failure are kept by the same command, and the rest is
    written; what lists them comes last.
    """
    store = MemoryStore()
    tensors = sample(store)
    options = replace(BY_250, format=format_)
    prepared = prepare(store, "m", "s", options)
    job = build_job(store, prepared)
    *first, broken, last = job.tasks
    mark = replace(broken.sources["m/model.safetensors"], mark="?")
    broken = replace(broken, sources={**broken.sources, "m/model.safetensors": mark})
    job = replace(job, tasks=(*first, broken, last))
    with pytest.raises(SourceChangedError):
        execute(job, store, store, RunOptions(jobs=1), Threads, Told())
    assert last.filename == prepared.plan.index_filename
    assert kept in names(store, "s/.shardctl/files")
    told = Told()
    write(store, store, prepare(store, "m", "s", options), RunOptions(jobs=1), told)
    assert f"kept {kept}" in told.events
    assert f"done {done}" in told.events
    assert content(store, "s") == tensors


def test_a_half_done_run_of_another_plan_is_refused() -> None:
    """Another command says what differs and both ways out; `restart` discards the run."""
    store = MemoryStore()
    sample(store)
    prepared = prepare(store, "m", "s")
    store.make_directory("s")
    with Staging.make(store, "s") as staging:
        Journal(staging).begin(prepared.identity, [])
    other = prepare(store, "m", "s", WriteOptions(limits=Limits(num_shards=2)))
    with pytest.raises(
        TargetExistsError, match="`max_shard_size` was 250 bytes, is not set"
    ) as caught:
        write(store, store, other, RunOptions(jobs=1), Told())
    assert "`restart`" in caught.value.hint
    write(store, store, other, RunOptions(jobs=1, restart=True), Told())
    assert len(names(store, "s")) == 4


def test_the_plan_decides_the_bytes() -> None:
    """With any number of workers, and written again, the files are the same."""
    results = []
    for jobs in (1, 4):
        store = MemoryStore()
        sample(store)
        prepared = prepare(store, "m", "s", WriteOptions(limits=Limits(num_shards=3), format="bin"))
        write(store, store, prepared, RunOptions(jobs=jobs), Told())
        results.append({name: get(store, f"s/{name}") for name in names(store, "s")})
    assert results[0] == results[1]


def test_progress_counts_every_byte_of_every_file() -> None:
    """The progress that is reported while files are written adds up to their sizes."""
    store = MemoryStore()
    sample(store)
    told = Told()
    prepared = prepare(store, "m", "s")
    write(store, store, prepared, RunOptions(jobs=2), told)
    assert told.bytes == sum(task.layout.nbytes for task in build_job(store, prepared).tasks)
    assert told.events[0] == f"start {told.bytes} 5"
    assert told.events[-1] == "committing"


def test_metadata_and_aliases_survive() -> None:
    """A recorded alias goes into the index when sharded, back into the single file, and into a real
    tie in a .bin.
    """
    store = MemoryStore()
    data = weights(
        {"a": b"1" * 200, "b": b"2" * 200}, metadata={"format": "pt", "z.tied": "a", "author": "me"}
    )
    put(store, "m/model.safetensors", data)
    run(store, "m", "s")
    index = json.loads(get(store, "s/model.safetensors.index.json"))
    assert index["metadata"] == {"total_size": 400, "z.tied": "a"}
    run(store, "s", "n", WriteOptions(limits=Limits()))
    assert get(store, "n/model.safetensors") == data
    run(store, "m", "b", WriteOptions(limits=Limits(), format="bin"))
    assert content(store, "b")["z.tied"] == b"1" * 200
    assert len(get(store, "b/pytorch_model.bin")) < 2000


def test_a_bad_record_is_named_where_its_bytes_pass_our_hands() -> None:
    """A record that does not match its CRC stops a copy through buffers, and nothing is put in
    place.
    """
    store = MemoryStore()
    put(store, "m/pytorch_model.bin", damaged_bin())
    with pytest.raises(InputError, match="CRC-32"):
        run(store, "m", "s")
    assert names(store, "s") == []


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="needs copies inside the kernel")
def test_a_bad_record_stays_visible_where_its_bytes_are_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy inside the kernel carries the recorded CRC over with the bytes; one that reads back
    refuses them.
    """
    store = LocalStore()
    source, target = str(tmp_path / "m.bin"), str(tmp_path / "s")
    Path(source).write_bytes(damaged_bin())
    monkeypatch.setattr(mounts, "copies_in_page_cache", lambda _: False)
    monkeypatch.setattr(task, "LEAST_BLOCK", 1)
    with pytest.raises(InputError, match="CRC-32"):
        run(store, source, target, replace(BY_250, read_back=True))
    run(store, source, target, BY_250)
    found = verify(store, target, Thoroughness(deep=True))
    assert [finding.code for finding in found.findings] == ["zip-crc-mismatch"]


def test_checksums_follow_what_is_written() -> None:
    """SHA256SUMS lists what was written, keeps other lines, and loses those of files that go."""
    import hashlib

    store = MemoryStore()
    sample(store)
    put(store, "s/SHA256SUMS", f"{'0' * 64}  notes.txt\n".encode())
    run(store, "m", "s", replace(BY_250, checksums=True))
    lines = get(store, "s/SHA256SUMS").decode().splitlines()
    assert f"{'0' * 64}  notes.txt" in lines
    shard = "model-00001-of-00003.safetensors"
    assert f"{hashlib.sha256(get(store, f's/{shard}')).hexdigest()}  {shard}" in lines
    assert verify(store, "s", Thoroughness(deep=True)).ok
    run(store, "m", "s", WriteOptions(limits=Limits(), replace="same"))
    assert get(store, "s/SHA256SUMS").decode() == f"{'0' * 64}  notes.txt\n"


def test_replace_spares_weights_of_another_name() -> None:
    """--replace takes the set of the same stem and the one that was read; adapters beside it
    stay.
    """
    store = MemoryStore()
    sample(store)
    put(store, "m/adapter_model.safetensors", weights({"a": b"1"}))
    options = replace(BY_250, replace="same")
    run(store, "m/model.safetensors", "m", options)
    assert "adapter_model.safetensors" in names(store, "m")
    assert "model.safetensors" not in names(store, "m")


def test_unrelated_weights_of_free_names_are_never_removed() -> None:
    """Of two files with free names, replacing one in place leaves the other, even with
    --replace-all.
    """
    store = MemoryStore()
    for name in ("a", "b"):
        put(store, f"k/{name}.safetensors", weights({name: b"1"}))
    options = WriteOptions(limits=Limits(), replace="same")
    with pytest.raises(TargetExistsError, match=r"b\.safetensors"):
        prepare(store, "k/a.safetensors", "k", options)
    run(store, "k/a.safetensors", "k", replace(options, replace="all"))
    assert names(store, "k") == ["b.safetensors", "model.safetensors"]


def test_a_file_of_a_set_is_not_replaced_alone() -> None:
    """A file target that is a member of a set is refused: the index would name another shard."""
    store = MemoryStore()
    sample(store)
    run(store, "m", "s")
    with pytest.raises(TargetExistsError, match=r"index\.json"):
        prepare(
            store,
            "m",
            "s/model-00001-of-00003.safetensors",
            WriteOptions(limits=Limits(), replace="all"),
        )


def test_a_file_beside_another_checkpoint_is_refused() -> None:
    """A file of a name that loaders know gets no second model beside it; a free name does."""
    store = MemoryStore()
    sample(store)
    run(store, "m", "s")
    one = WriteOptions(limits=Limits())
    with pytest.raises(TargetExistsError, match=r"index\.json"):
        prepare(store, "m", "s/model.safetensors", one)
    run(store, "m", "s/other.safetensors", one)
    run(store, "m", "s/model.safetensors", replace(one, replace="same"))
    assert names(store, "s") == ["config.json", "model.safetensors", "other.safetensors"]


def test_a_missing_companion_is_work() -> None:
    """Where a companion has gone from the target, the run is not up to date."""
    store = MemoryStore()
    sample(store)
    put(store, "s/config.json", b"{}")
    run(store, "m", "s")
    assert prepare(store, "m", "s").up_to_date
    store.remove("s/config.json")
    assert not prepare(store, "m", "s", replace(BY_250, replace="same")).up_to_date


def test_files_of_the_journals_names_are_only_files() -> None:
    """Companions that are called like the journal's files are copied, and not read as a journal."""
    store = MemoryStore()
    sample(store)
    for name in ("commit.json", "plan.json", "receipts.jsonl", "record.json", "lock"):
        put(store, f"m/{name}", b"theirs")
    run(store, "m", "s")
    assert get(store, "s/commit.json") == b"theirs"
    assert prepare(store, "m", "s").up_to_date


# two stores


def across(
    source_store: Store, target_store: Store, target: str, options: WriteOptions = BY_250
) -> Prepared:
    """Prepare from `m` in one store into another, and carry out what is not done."""
    prepared = preparing.prepare(source_store, "m", target_store, target, options, finish=True)
    if not prepared.up_to_date:
        write(source_store, target_store, prepared, RunOptions(jobs=2), Told())
    return prepared


@pytest.mark.parametrize("container", ["safetensors", "bin"])
def test_from_one_store_into_another(container: str) -> None:
    """A split from one store into another is what it is within one, companions among them."""
    here, there = MemoryStore(), MemoryStore()
    tensors = sample(here)
    options = replace(BY_250, format=container, checksums=True, read_back=True)
    across(here, there, "s", options)
    run(here, "m", "s", options)
    files = names(here, "s")
    assert "config.json" in files
    assert {name: get(there, f"s/{name}") for name in names(there, "s")} == {
        name: get(here, f"s/{name}") for name in files
    }
    assert content(there, "s") == tensors
    assert there.kind("m") is None
    assert across(here, there, "s", options).up_to_date


def test_the_same_path_in_another_store_is_not_the_source() -> None:
    """A target of the source's own path, but in another store, is neither in place nor touched."""
    here, there = MemoryStore(), MemoryStore()
    tensors = sample(here)
    across(here, there, "m")
    assert content(there, "m") == content(here, "m") == tensors
    before = get(here, "m/model.safetensors")
    across(here, there, "m", replace(BY_250, limits=Limits(), replace="same"))
    assert names(there, "m") == ["config.json", "model.safetensors"]
    assert get(here, "m/model.safetensors") == before


def test_a_companion_of_another_store_is_compared() -> None:
    """A companion that the target has already is left alone where it is the same, else refused."""
    here, there = MemoryStore(), MemoryStore()
    sample(here)
    put(there, "s/config.json", b"{}")
    assert across(here, there, "s").changes.copies == {}
    put(there, "t/config.json", b"[]")
    with pytest.raises(TargetExistsError, match=r"config\.json"):
        across(here, there, "t")


def test_two_local_stores_are_one(tmp_path: Path) -> None:
    """A source is known to be the target by its path, whichever store objects are used."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.safetensors").write_bytes(weights({"a": b"1" * 200, "b": b"2" * 200}))
    path = str(tmp_path / "m")
    with pytest.raises(TargetExistsError, match="source itself"):
        preparing.prepare(LocalStore(), path, LocalStore(), path, BY_250, finish=True)


TO_SAFETENSORS = WriteOptions(limits=Limits(), format="safetensors")


def test_damage_does_not_go_into_a_format_without_checksums() -> None:
    """A damaged record stops the run before any final name, with the tensor, file and place."""
    store = MemoryStore()
    put(store, "m/pytorch_model.bin", damaged_bin())
    with pytest.raises(FormatError) as caught:
        run(store, "m", "t", TO_SAFETENSORS)
    assert (caught.value.code, caught.value.tensor) == ("zip-crc-mismatch", "b")
    assert store.kind("t") is None
    # The same bytes stop a run that finds them in the target.
    run(store, "m", "t", replace(TO_SAFETENSORS, accept_damage=True))
    with pytest.raises(FormatError):
        prepare(store, "m", "t", TO_SAFETENSORS)


def test_accepted_damage_is_named_each_time() -> None:
    """Damage that is accepted is in the receipts, also where the result is there already."""
    store = MemoryStore()
    put(store, "m/pytorch_model.bin", damaged_bin())
    accepting = replace(TO_SAFETENSORS, accept_damage=True)
    prepared = prepare(store, "m", "t", accepting)
    records = StoredRecords(store, "records", str)
    (receipt,) = write(store, store, prepared, RunOptions(jobs=1), Told(), records=records)
    assert receipt.damaged[0].startswith("tensor 'b' in 'm/pytorch_model.bin' at byte ")
    assert records.find("t") is None
    assert content(store, "t")["b"] != b"2" * 200
    again = prepare(store, "m", "t", accepting)
    assert again.receipts is not None
    assert again.receipts[0].damaged == receipt.damaged


_FLOATS = struct.pack("<4f", *range(4))


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("model.safetensors", weights({"w": _FLOATS})),
        (
            "pytorch_model.bin",
            legacy(storages={"s": range(4)}, tensors={"w": ("s", None, 0, (4,))}),
        ),
    ],
)
def test_trailing_data_is_left_out_where_that_is_accepted(name: str, sound: bytes) -> None:
    """A file with trailing data stops a run, which says how to go on; accepted, its tensors are
    written whole, and what was left out is named before the work.
    """
    store = MemoryStore()
    put(store, f"m/{name}", sound + b"xyz")
    with pytest.raises(FormatError) as caught:
        prepare(store, "m", "t", TO_SAFETENSORS)
    assert caught.value.code == "file-trailing-bytes"
    assert "`accept_damage`" in caught.value.hint
    prepared = run(store, "m", "t", replace(TO_SAFETENSORS, accept_damage=True))
    assert len(prepared.accepted) == 1
    assert "3 bytes" in prepared.accepted[0]
    assert f"accepted damage: {prepared.accepted[0]}" in prepared.notes
    assert verify(store, "t", Thoroughness(strict=True)).ok
    assert content(store, "t") == {"w": _FLOATS}


def test_other_errors_are_not_accepted() -> None:
    """A file that lacks bytes of a tensor stops a run that accepts damage as well."""
    store = MemoryStore()
    put(store, "m/model.safetensors", weights({"a": b"1" * 200})[:-1])
    with pytest.raises(FormatError) as caught:
        prepare(store, "m", "t", replace(TO_SAFETENSORS, accept_damage=True))
    assert caught.value.code == "file-truncated"


def test_a_header_that_no_reader_takes_is_divided_where_that_is_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A header over every reader's limit stops a run; accepted, it is divided into sound shards."""
    store = MemoryStore()
    tensors = {f"layer.{number}": bytes([number]) * 10 for number in range(6)}
    put(store, "m/model.safetensors", weights(tensors))
    monkeypatch.setattr(safetensors_reader, "MAX_HEADER_BYTES", 300)
    two = WriteOptions(limits=Limits(num_shards=2))
    with pytest.raises(FormatError) as caught:
        prepare(store, "m", "t", two)
    assert caught.value.code == "header-too-large"
    assert "`num_shards`" in caught.value.hint
    prepared = run(store, "m", "t", replace(two, accept_damage=True))
    assert "bytes; at most 300 are allowed" in prepared.accepted[0]
    monkeypatch.undo()
    assert content(store, "t") == tensors
    monkeypatch.setattr(safetensors_reader, "MAX_HEADER_BYTES", 300)
    monkeypatch.setattr(safetensors_reader, "MAX_READ_HEADER_BYTES", 300)
    with pytest.raises(FormatError):
        prepare(store, "m", "t2", replace(two, accept_damage=True))


def test_a_file_with_accepted_damage_is_not_kept_by_a_run_that_does_not_accept_it() -> None:
    """An unfinished run that accepted damage is not resumed without the consent."""
    store = MemoryStore()
    put(store, "m/pytorch_model.bin", damaged_bin())
    plain = build_job(store, prepare(store, "m", "t", TO_SAFETENSORS))
    accepting = replace(plain, tasks=tuple(replace(t, accept_damage=True) for t in plain.tasks))
    with pytest.raises(RuntimeError):
        execute(accepting, store, store, RunOptions(1, hold=_fail), Threads, Told())
    with pytest.raises(FormatError):
        execute(plain, store, store, RunOptions(1), Threads, Told())


def _fail() -> AbstractContextManager[object]:
    raise RuntimeError


def test_a_damaged_record_that_goes_on_with_its_checksum_is_copied() -> None:
    """A whole record copied to the same format keeps its checksum, which still shows the damage."""
    store = MemoryStore()
    put(store, "m/pytorch_model.bin", damaged_bin())
    (receipt,) = write(
        store, store,
        prepare(store, "m", "t", WriteOptions(limits=Limits(), accept_damage=True)),
        RunOptions(jobs=1), Told(),
    )  # fmt: skip
    assert len(receipt.damaged) == 1  # a store in memory copies through buffers, which are summed
    found = verify(store, "t", Thoroughness(deep=True))
    assert [finding.code for finding in found.findings] == ["zip-crc-mismatch"]
