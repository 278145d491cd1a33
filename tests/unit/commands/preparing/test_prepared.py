"""What is ready to go: what a run reads, needs and changes, and whether its result is there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardctl.checksums import format_checksums
from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.write import write
from shardctl.engine.journal.records import Records, StoredRecords
from shardctl.engine.run import RunOptions
from shardctl.engine.space import SLACK_BYTES
from shardctl.errors import TargetExistsError, UsageError
from shardctl.model import Version
from shardctl.planning.request import Conversion, Limits, Selection, WriteOptions
from shardctl.streams.progress import Silent
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import get, put, sample, weights
from tests.toy.store import ToyStore

BY_250 = WriteOptions(limits=Limits(max_shard_bytes=250))
ONE = WriteOptions(limits=Limits())
#: The configuration of a model of timm.
TIMM = b'{"architecture": "resnet18", "pretrained_cfg": {}}'
SHARDS = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
INDEX = "model.safetensors.index.json"


@pytest.fixture
def store() -> MemoryStore:
    """A store with the checkpoint `m` of six tensors of 100 bytes, and a config."""
    store = MemoryStore()
    sample(store)
    return store


def ready(
    store: MemoryStore,
    target: str = "t",
    options: WriteOptions = BY_250,
    records: Records | None = None,
    *,
    compare: bool = True,
) -> Prepared:
    """What a run from `m` would do."""
    return prepare(
        store, "m", store, target, options, finish=True, records=records, compare=compare
    )


def run(
    store: MemoryStore,
    target: str = "t",
    options: WriteOptions = BY_250,
    records: Records | None = None,
) -> None:
    """Carry that out."""
    prepared = ready(store, target, options)
    write(store, store, prepared, RunOptions(jobs=1), Silent(), records=records)


# what a loader takes


@pytest.mark.parametrize(
    ("target", "options", "expected"),
    [
        ("t", BY_250, f"t/{INDEX}"),
        ("t", ONE, "t/model.safetensors"),
        ("t/", ONE, "t/model.safetensors"),
        ("deep/../x.bin", ONE, "deep/../x.bin"),
        ("t", replace(BY_250, format="dcp"), "t"),
    ],
)
def test_a_loader_takes_the_index_or_the_file(
    store: MemoryStore, target: str, options: WriteOptions, expected: str
) -> None:
    """It is in a directory, a directory of a format in pieces, or the file that was named."""
    assert ready(store, target, options).path(store) == expected


# what is read


def test_versions_are_those_of_every_file_that_is_read(store: MemoryStore) -> None:
    """Weights and companions are in, by their paths in the source; in the identity by name."""
    put(store, "m/1_Pooling/config.json", b"[]")
    found = ready(store)
    paths = ["m/model.safetensors", "m/1_Pooling/config.json", "m/config.json"]
    assert found.sources == {path: store.version(path) for path in paths}
    assert found.identity.sources == {path[2:]: found.sources[path] for path in paths}
    assert found.identity.plan_id == found.plan.id
    assert set(found.companions) == {"1_Pooling/config.json", "config.json"}


def test_an_edited_companion_has_the_version_that_was_edited(store: MemoryStore) -> None:
    """A configuration that is written while the run is prepared is noticed when it is copied."""

    class Changing(MemoryStore):
        def version(self, path: str) -> Version:
            if path == "m/config.json":
                put(self, path, b'{"dtype": "float64"}')
            return super().version(path)

    changing = Changing()
    put(changing, "m/model.safetensors", get(store, "m/model.safetensors"))
    put(changing, "m/config.json", b'{"torch_dtype": "float32"}')
    with changing.open("m/config.json") as reader:
        before = reader.version
    options = replace(ONE, conversion=Conversion("BF16"))
    assert ready(changing, options=options).sources["m/config.json"] == before


@pytest.mark.parametrize("checksums", [False, True])
def test_checksums_are_part_of_what_identifies_a_run(
    store: MemoryStore, *, checksums: bool
) -> None:
    """A run with them is another one, though its plan is the same."""
    found = ready(store, options=replace(BY_250, checksums=checksums))
    assert found.identity.options["checksums"] is checksums
    assert found.plan.id == ready(store).plan.id


# what is needed


def test_room_is_needed_for_every_new_file(store: MemoryStore) -> None:
    """Shards, the index and the companions that are copied count, to the byte."""
    put(store, "m/tokenizer.json", bytes(5000))
    found = ready(store)
    run(store)
    new = [*SHARDS, INDEX, "config.json", "tokenizer.json"]
    assert found.room.needed == SLACK_BYTES + sum(len(get(store, f"t/{name}")) for name in new)
    assert found.room.free is None
    put(store, "u/tokenizer.json", bytes(5000))
    assert ready(store, "u").room.needed == found.room.needed - 5000


def test_an_edited_companion_needs_its_new_size(store: MemoryStore) -> None:
    """The name of the new type may be longer than the old one."""
    put(store, "m/config.json", b'{"dtype": "half"}')
    same = ready(store)
    converted = ready(store, options=replace(BY_250, conversion=Conversion("BF16")))
    assert converted.changes.copies["config.json"].edits
    assert converted.room.needed == same.room.needed + len("bfloat16") - len("half")


# whether it is there


def test_without_a_record_contents_are_compared(store: MemoryStore) -> None:
    """An equal result is up to date and said to be compared; unless no comparison is to be made."""
    assert not ready(store).up_to_date
    run(store)
    found = ready(store)
    assert found.up_to_date
    assert found.notes == ("the target was compared with the source: it is complete and equal",)
    with pytest.raises(TargetExistsError):
        ready(store, compare=False)


def test_what_is_up_to_date_changes_nothing(store: MemoryStore) -> None:
    """It has no copies, nothing to replace, no checksums to compare, and no notes on these."""
    digests = {"model.safetensors": "0" * 64}
    put(store, "m/SHA256SUMS", format_checksums(digests))
    options = replace(BY_250, replace="same")
    run(store, options=options)
    found = ready(store, options=replace(options, read_back=True))
    assert found.up_to_date
    assert (found.changes.copies, found.changes.superseded, found.recorded) == ({}, (), {})
    assert [note for note in found.notes if "replace" in note or "SHA-256" in note] == []


def test_a_record_is_enough_unless_bytes_are_to_be_read_back(store: MemoryStore) -> None:
    """With `read_back` the result is compared, though its record is right; in place it cannot be,
    since the source is gone.
    """
    records = StoredRecords(MemoryStore(), "records", str)
    run(store, records=records)
    assert ready(store, records=records).notes == ()
    checked = replace(BY_250, read_back=True)
    assert "compared" in ready(store, options=checked, records=records).notes[0]
    again = replace(BY_250, replace="same")
    run(store, "m", again, records)
    found = ready(store, "m", replace(again, read_back=True), records)
    assert (found.up_to_date, found.notes) == (True, ())


# what is replaced


def test_files_that_are_read_and_replaced_are_known(store: MemoryStore) -> None:
    """They are the superseded names of the source's own directory, and of no other."""
    options = replace(BY_250, replace="same")
    assert ready(store, "m", options).replaced_source == ("model.safetensors",)
    put(store, "t/model.safetensors", weights({"old": b"1"}))
    found = ready(store, "t", options)
    assert (found.changes.superseded, found.replaced_source) == (("model.safetensors",), ())


def test_a_part_of_the_source_does_not_replace_it(store: MemoryStore) -> None:
    """What a selection leaves out would be lost."""
    options = replace(ONE, replace="same", selection=Selection(include=("layer.1",)))
    with pytest.raises(UsageError, match="5 tensors that the selection leaves out would be lost"):
        ready(store, "m", options)
    assert ready(store, "t", options).not_carried


# notes


def test_a_note_says_that_a_target_cannot_be_locked(store: MemoryStore) -> None:
    """It is for those who are about to write, and not where nothing is to be done."""
    toy = ToyStore()
    found = prepare(store, "m", toy, "t", BY_250, finish=True)
    (note,) = found.notes
    assert "cannot be locked" in note
    write(store, toy, found, RunOptions(jobs=1), Silent())
    again = prepare(store, "m", toy, "t", BY_250, finish=True)
    assert again.up_to_date
    assert not any("cannot be locked" in note for note in again.notes)


def test_a_list_of_checksums_above_is_noted_where_it_gets_stale(store: MemoryStore) -> None:
    """Of a component that is written alone the pipeline's list is left as it is, and said to be
    stale; a run for the whole pipeline looks after it.
    """
    put(store, "p/model_index.json", b"{}")
    put(store, "p/unet/model.safetensors", weights({"old": b"1"}))
    put(store, "p/SHA256SUMS", format_checksums({"unet/model.safetensors": "0" * 64}))
    options = replace(BY_250, replace="same")

    def stale(*apart: str) -> list[str]:
        found = prepare(store, "m", store, "p/unet", options, finish=True, apart=apart)
        return [note for note in found.notes if "'p/SHA256SUMS' lists files" in note]

    assert len(stale()) == 1
    assert stale("p/unet") == []


def notes_on_clients(store: MemoryStore, options: WriteOptions) -> list[str]:
    """The notes of a run without companions, but for those on the files that are not copied."""
    notes = ready(store, options=replace(options, companions="none")).notes
    return [note for note in notes if not note.startswith("not copied")]


@pytest.mark.parametrize("asks", ["source", "target"])
def test_a_client_that_reads_one_file_is_noted(store: MemoryStore, asks: str) -> None:
    """Shards where the client of the source or of the target reads one file are noted before the
    work, and one file is not.
    """
    put(store, "m/config.json" if asks == "source" else "t/config.json", TIMM)
    (note,) = notes_on_clients(store, BY_250)
    assert note.startswith("timm reads one weights file and no index: of 3 numbered files it loads")
    assert "write(single=True)" in note
    assert notes_on_clients(store, ONE) == []


def test_shards_of_an_adapter_are_noted(store: MemoryStore) -> None:
    """An adapter keeps its stem, by which its client finds it, and shards of it are noted."""
    tensors = {"a": b"1" * 100, "b": b"2" * 200}
    put(store, "a/pytorch_lora_weights.safetensors", weights(tensors))
    prepared = prepare(store, "a", store, "t", BY_250, finish=True)
    assert prepared.plan.filenames[0] == "pytorch_lora_weights-00001-of-00002.safetensors"
    assert prepared.notes[-1].startswith("diffusers reads one weights file")
