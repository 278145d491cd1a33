"""What a run changes beside the planned files, and what it must not lose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.target.changes import Changes, refuse_lost, replaced_notes
from shardctl.commands.target.resolve import Route, Target
from shardctl.errors import TargetExistsError, UsageError
from shardctl.model import Checkpoint, NonTensor
from shardctl.planning.request import Limits, Selection, WriteOptions
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, sample, weights

ONE = WriteOptions(limits=Limits())
TARGET = Target("m", None)
SUMS = "0" * 64 + "  model.safetensors\n" + "0" * 64 + "  other.txt\n"


@pytest.fixture
def store() -> MemoryStore:
    """A model `m` with files beside it, and another of the same name in `t`."""
    store = MemoryStore()
    sample(store)
    put(store, "m/sub/vocab.txt", b"new")
    put(store, "t/model.safetensors", weights({"a": b"1"}))
    put(store, "t/config.json", b"old")
    put(store, "t/SHA256SUMS", SUMS.encode())
    return store


def ready(store: MemoryStore, target: str, options: WriteOptions) -> Prepared:
    """What a run from `m` would write."""
    return prepare(store, "m", store, target, options, finish=True)


def test_into_an_empty_target(store: MemoryStore) -> None:
    """Companions are copied with their directories, and nothing is replaced."""
    changes = ready(store, "new", ONE).changes
    assert set(changes.copies) == {"config.json", "sub/vocab.txt"}
    assert changes.directories == {"sub": "m/sub"}
    assert changes.gone == {"model.safetensors", "config.json", "sub/vocab.txt"}
    assert (changes.superseded, changes.kept, changes.sums) == ((), (), {})


def test_over_another_checkpoint(store: MemoryStore) -> None:
    """What is replaced loses its line in `SHA256SUMS`; a companion that differs is in the way,
    stays, or is replaced too, as was asked.
    """
    with pytest.raises(TargetExistsError, match=r"'t/config\.json' already exists"):
        ready(store, "t", ONE)
    changes = ready(store, "t", replace(ONE, replace="same")).changes
    assert (changes.superseded, changes.kept) == (("model.safetensors",), ("config.json",))
    assert set(changes.copies) == {"sub/vocab.txt"}
    changes = ready(store, "t", replace(ONE, replace="same", companions="none")).changes
    assert changes.superseded == ("model.safetensors",)
    assert changes.sums == {"SHA256SUMS": f"{'0' * 64}  other.txt\n".encode()}
    assert changes.edited_sums == ("SHA256SUMS",)
    both = replace(ONE, replace="same", replace_companions=True)
    changes = ready(store, "t", both).changes
    assert changes.superseded == ("model.safetensors", "config.json")


def test_a_signed_list_is_left_alone(store: MemoryStore) -> None:
    """A `SHA256SUMS` with a signature beside it does not change, and is named."""
    put(store, "t/SHA256SUMS.asc", b"signed")
    found = ready(store, "t", replace(ONE, replace="same"))
    assert (found.changes.sums, found.changes.foreign_sums) == ({}, ("SHA256SUMS",))
    assert any("SHA256SUMS" in note for note in found.notes)


def test_a_selection_does_not_replace_its_source(store: MemoryStore) -> None:
    """Tensors that are left out would be gone with the source: no option allows that in place."""
    options = replace(
        ONE, replace="same", selection=Selection(include=("layer.0",)), drop_non_tensors=True
    )
    with pytest.raises(UsageError, match=r"^5 tensors that the selection leaves out") as caught:
        ready(store, "m", options)
    assert "'model.safetensors' is read and replaced" in caught.value.message
    assert "choose another target" in caught.value.hint
    assert caught.value.file == "m"
    assert ready(store, "new", options).plan.left_out


def lost_of(store: MemoryStore, checkpoint: Checkpoint, options: WriteOptions) -> None:
    """See whether `m` may be replaced where it holds what is in a checkpoint."""
    refuse_lost(TARGET, checkpoint, ready(store, "new", ONE).plan, options, ["model.safetensors"])


@pytest.mark.parametrize("where", ["checkpoint", "file"])
@pytest.mark.parametrize(("count", "more"), [(10, False), (11, True)])
def test_what_lies_beside_the_weights_is_not_lost(
    store: MemoryStore, where: str, count: int, *, more: bool
) -> None:
    """Entries beside the state dict keep their file from being replaced; ten are named."""
    entries = tuple(NonTensor(f"epoch\x1b{number}", "int") for number in range(count))
    checkpoint = ready(store, "new", ONE).checkpoint
    lost_of(store, checkpoint, ONE)
    if where == "checkpoint":
        checkpoint = replace(checkpoint, beside=entries)
    else:
        checkpoint = replace(checkpoint, files=(replace(checkpoint.files[0], beside=entries),))
    with pytest.raises(UsageError, match="would lose what lies beside the weights") as caught:
        lost_of(store, checkpoint, ONE)
    assert caught.value.message.endswith("9, …" if more else "9")
    assert "\x1b" not in caught.value.message
    assert "`drop_non_tensors`" in caught.value.hint
    lost_of(store, checkpoint, replace(ONE, drop_non_tensors=True))
    lost_of(store, checkpoint, replace(ONE, companions="none"))
    refuse_lost(TARGET, checkpoint, ready(store, "new", ONE).plan, ONE, [])


def test_replaced_files_are_named_before_the_work(store: MemoryStore) -> None:
    """Each file that is replaced or kept, and each list that is edited, is in a note."""
    found = ready(store, "new", ONE)
    route = Route(store, found.located, store, found.target)
    assert list(replaced_notes(route, Changes())) == []
    notes = list(
        replaced_notes(
            route,
            Changes(
                superseded=("a.bin", "b\x1b.bin"),
                kept=("config.json", "t\x1b.json"),
                edited_sums=("SHA256SUMS",),
                foreign_sums=("sub/SHA256SUMS",),
            ),
        )
    )
    assert notes[0].startswith("kept in the target, though the source's differ: config.json, ")
    assert notes[-1].startswith("replaces 2 files in the target: a.bin, ")
    assert any("SHA256SUMS" in note for note in notes[1:-1])
    assert any("sub/SHA256SUMS" in note for note in notes[1:-1])
    assert not any("\x1b" in note for note in notes)


def test_old_shards_in_subdirectories_are_noted() -> None:
    """In place, shards that the index has in a subdirectory stay, and that is said."""
    store = MemoryStore()
    for name, tensor in (("one.safetensors", "a"), ("sub/two.safetensors", "b")):
        put(store, f"m/{name}", weights({tensor: b"1"}))
    put(
        store,
        "m/model.safetensors.index.json",
        b'{"metadata":{},"weight_map":{"a":"one.safetensors","b":"sub/two.safetensors"}}',
    )
    notes = ready(store, "m", replace(ONE, replace="same")).notes
    assert "the old shards in subdirectories stay: sub/two.safetensors" in notes
