"""Each check of headers finds its fault, and nothing in a sound checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shardctl.findings import Finding, ignore
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.source.locate import find_source
from shardctl.source.opened import unseen
from shardctl.testing.memory import MemoryStore
from shardctl.verify.checks import (
    CHECKS,
    Check,
    digests_missing,
    empty_tensors,
    leftover,
    metadata_missing,
    misnamed,
    stale_indexes,
    total_size,
    unsafe_pickles,
    weights_beside,
)
from shardctl.verify.subject import Subject, read_subject
from tests.support.memory_checkpoints import put, sample, weights

INDEX = "model.safetensors.index.json"


def subject_of(store: MemoryStore, source: str = "m") -> Subject:
    """A checkpoint to check."""
    return read_subject(store, find_source(store, source), None, ignore, unseen)


def sharded(total: object = 2, **more: object) -> MemoryStore:
    """A set of two shards of one byte each, whose index has this `total_size`."""
    store = MemoryStore()
    shards = {name: f"model-0000{at}-of-00002.safetensors" for at, name in ((1, "a"), (2, "b"))}
    for name, shard in shards.items():
        put(store, f"m/{shard}", weights({name: name.encode()}))
    listed = {"metadata": {"total_size": total, **more}, "weight_map": shards}
    put(store, f"m/{INDEX}", json.dumps(listed).encode())
    return store


def found(check: Check, subject: Subject) -> list[tuple[str, str]]:
    """Code and severity of what a check finds."""
    return [(each.code, each.severity) for each in check(subject)]


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_checkpoint_has_no_fault(check: Check) -> None:
    """No check says anything, of a set or of one file."""
    store = MemoryStore()
    sample(store)
    for subject in (subject_of(sharded()), subject_of(store)):
        assert found(check, subject) == []


@pytest.mark.parametrize(
    ("total", "sound"),
    [
        (2, True),
        (2.0, True),
        (3, False),
        (1, False),
        (2.5, False),
        ("2", False),
        (True, False),
        (None, False),
    ],
)
def test_the_total_is_the_bytes_of_the_tensors(total: object, *, sound: bool) -> None:
    """A number, whole in value, and no boolean."""
    expected = [] if sound else [("index-total-size", "error")]
    assert found(total_size, subject_of(sharded(total))) == expected


def test_totals_of_shared_storages() -> None:
    """The bytes that are written, those of whole storages, and those of every tensor are right."""
    subject = subject_of(sharded())
    held = Storage(Extent(subject.checkpoint.files[0].path, 0, 100), "0")
    tensors = tuple(Tensor(name, DTYPES["U8"], (10,), held, 0) for name in "ab")
    assert subject.checkpoint.index is not None
    for total, sound in ((10, True), (100, True), (20, True), (2, False), (30, False)):
        index = replace(subject.checkpoint.index, metadata={"total_size": total})
        checkpoint = replace(subject.checkpoint, tensors=tensors, index=index)
        assert (found(total_size, replace(subject, checkpoint=checkpoint)) == []) is sound, total


def test_a_wrong_index_is_not_blamed_twice() -> None:
    """Where it lists other tensors, or a file is damaged, the total is not looked at."""
    subject = subject_of(sharded(99))
    checkpoint = subject.checkpoint
    assert checkpoint.index is not None
    assert found(total_size, subject) != []
    other = replace(checkpoint.index, weight_map={"a": "x"})
    for changed in (
        replace(checkpoint, incomplete=frozenset({"m/x"})),
        replace(checkpoint, index=other),
        replace(checkpoint, index=None),
    ):
        assert found(total_size, replace(subject, checkpoint=changed)) == []


def test_tensors_of_no_elements() -> None:
    """Only shape [0] is what ZeRO-3 leaves; the first is named."""
    store = MemoryStore()
    put(store, "m/model.safetensors", weights({"a": b"1", "b": b"", "c": b""}))
    (finding,) = empty_tensors(subject_of(store))
    assert (finding.code, finding.severity, finding.tensor) == ("tensor-empty", "warning", "b")
    assert "2 of 3 tensors have shape [0]" in finding.message


def test_metadata_that_loaders_ask_for() -> None:
    """One note for all files that lack it; a file without tensors needs none."""
    store = MemoryStore()
    for at, name in ((1, "a"), (2, "b")):
        data = weights({name: b"1"}, metadata={"other": "x"})
        put(store, f"m/model-0000{at}-of-00002.safetensors", data)
    (finding,) = metadata_missing(subject_of(store))
    assert (finding.code, finding.severity) == ("metadata-format-missing", "note")
    assert "'format'" in finding.message
    assert "nor in 1 other file" in finding.message


def test_what_a_pickle_would_do() -> None:
    """Unsafe names come before what torch refuses, and memory is said besides."""
    store = MemoryStore()
    sample(store)
    subject = subject_of(store)

    def said(**fields: object) -> list[tuple[str, str]]:
        file = replace(subject.checkpoint.files[0], **fields)  # type: ignore[arg-type]
        checkpoint = replace(subject.checkpoint, files=(file,))
        return found(unsafe_pickles, replace(subject, checkpoint=checkpoint))

    assert said(unsafe_globals=("os.system",), refused=("POP",)) == [("pickle-unsafe", "error")]
    assert said(refused=("POP",)) == [("pickle-unsafe", "warning")]
    memory = said(refused=("POP",), allocations=(("torch.zeros", 1 << 40),))
    assert memory == [("pickle-unsafe", "warning"), ("pickle-memory", "error")]


def test_weights_that_belong_to_no_checkpoint() -> None:
    """A file of weights beside the checkpoint is noted; any other file is not."""
    store = sharded()
    put(store, "m/extra.safetensors", weights({"x": b"1"}))
    put(store, "m/notes.bin", b"no weights")
    put(store, "m/optimizer.bin", weights({"x": b"1"}, "bin"))
    store.make_directory("m/other.safetensors")
    (finding,) = weights_beside(subject_of(store))
    assert (finding.code, finding.severity, finding.file) == (
        "weights-unlisted", "note", "m/extra.safetensors",
    )  # fmt: skip


def test_an_index_whose_files_are_gone() -> None:
    """An error where some loader looks for it first, and the way on is said."""
    store = sharded()
    sample(store, count=1)
    for at in (1, 2):
        store.remove(f"m/model-0000{at}-of-00002.safetensors")
    findings: list[Finding] = list(stale_indexes(subject_of(store)))
    assert [each.code for each in findings] == ["index-shard-missing"]
    assert findings[0].file == f"m/{INDEX}"


def test_files_that_no_list_of_checksums_has() -> None:
    """Each is named, where there is a list; without one nothing is missing."""
    store = sharded()
    put(store, "m/SHA256SUMS", b"0" * 64 + b"  model-00001-of-00002.safetensors\n")
    (finding,) = digests_missing(subject_of(store))
    assert (finding.code, finding.file) == ("digest-missing", "m/model-00002-of-00002.safetensors")


def test_an_unfinished_run() -> None:
    """Its state is named, with the command that finishes it."""
    store = sharded()
    put(store, "m/.shardctl/plan.json", b"?")
    (finding,) = leftover(subject_of(store))
    assert (finding.code, finding.severity) == ("folder-leftover", "warning")
    assert finding.file == "m/.shardctl"
    assert "`restart`" in finding.hint


def test_a_name_that_promises_another_format() -> None:
    """The check is that of `source.misnamed`."""
    store = MemoryStore()
    put(store, "m/model.bin", weights({"a": b"1"}))
    assert found(misnamed, subject_of(store, "m/model.bin")) == [("container-misnamed", "error")]
