"""What of the target is replaced, and what is in the way there."""

from __future__ import annotations

import dataclasses
import json

import pytest

from shardctl.commands.target.replace import superseded
from shardctl.commands.target.resolve import Route, resolve_target
from shardctl.errors import TargetExistsError
from shardctl.planning.request import Limits, Replace, Request
from shardctl.source.locate import find_source
from shardctl.stores.base import Store
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, sample, weights

REQUEST = Request(Limits(), "safetensors", ".safetensors", "model")


def route(store: Store, target: str, source: str = "m") -> Route:
    """From a source to a target in the same store."""
    place = resolve_target(store, target, one_file=True)
    return Route(store, find_source(store, source), store, place)


def giving_way(
    store: MemoryStore,
    target: str,
    replace: Replace,
    names: tuple[str, ...] = ("model.safetensors",),
    stem: str = "model",
) -> tuple[str, ...]:
    """The files that these names replace where `m` is the source."""
    request = dataclasses.replace(REQUEST, stem=stem)
    return superseded(route(store, target), request, names, replace)


def test_the_source_itself_needs_replace() -> None:
    """In place without --replace is refused; with it the files that were read go."""
    store = MemoryStore()
    sample(store)
    with pytest.raises(TargetExistsError, match="source itself"):
        giving_way(store, "m", "nothing")
    assert giving_way(store, "m", "same", ("other.safetensors",)) == ("model.safetensors",)


def test_in_place_takes_the_set_that_was_read_in_any_container() -> None:
    """A `.bin` that is read is replaced by safetensors with plain --replace."""
    store = MemoryStore()
    put(store, "m/pytorch_model.bin", weights({"a": b"1"}, "bin"))
    assert giving_way(store, "m", "same") == ("pytorch_model.bin",)


@pytest.mark.parametrize("how", ["nothing", "same"])
def test_another_format_needs_replace_all(how: Replace) -> None:
    """A checkpoint of another format is replaced with "all", and the hint says so."""
    store = MemoryStore()
    sample(store)
    put(store, "t/pytorch_model.bin", weights({"a": b"1"}, "bin"))
    with pytest.raises(TargetExistsError, match=r"pytorch_model\.bin") as caught:
        giving_way(store, "t", how)
    assert '`replace="all"`' in caught.value.hint
    assert giving_way(store, "t", "all") == ("pytorch_model.bin",)


def test_a_distributed_checkpoint_is_replaced_whole() -> None:
    """Its data files and its metadata are one checkpoint, which another of its format replaces, and
    any other format with "all"; metadata of something else is not in the way.
    """
    store = MemoryStore()
    sample(store)
    old = (".metadata", "__0_0.distcp", "__10_0.distcp")
    for name in old:
        put(store, f"t/{name}", b"")
    request = Request(Limits(), "dcp", ".distcp", "model")
    new = ("__0_0.distcp", ".metadata")
    for asked, names in ((REQUEST, ("model.safetensors",)), (request, new)):
        with pytest.raises(TargetExistsError, match=r"a checkpoint: \.metadata \(2 files\)"):
            superseded(route(store, "t"), asked, names, "nothing")
    assert superseded(route(store, "t"), request, new, "same") == old
    assert giving_way(store, "t", "all") == old
    put(store, "u/.metadata", b"")
    assert giving_way(store, "u", "nothing") == ()


#: Checkpoints that no loader takes for a `model.safetensors` without a variant.
APART = (
    "model.fp16.safetensors",
    "model.fp16-00001-of-00001.safetensors",
    "pytorch_model.fp16.bin",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "pytorch_lora_weights.safetensors",
)


@pytest.mark.parametrize("how", ["nothing", "same"])
@pytest.mark.parametrize("name", APART)
def test_another_variant_or_an_adapter_is_not_in_the_way(name: str, how: Replace) -> None:
    """What loaders keep apart from the new checkpoint stays; only "all" replaces it."""
    store = MemoryStore()
    sample(store)
    put(store, f"t/{name}", weights({"a": b"1"}, "bin" if name.endswith("bin") else "safetensors"))
    assert giving_way(store, "t", how) == ()
    assert giving_way(store, "t/model.safetensors", how) == ()
    assert giving_way(store, "t", "all") == (name,)


def test_a_model_is_not_in_the_way_of_an_adapter() -> None:
    """An adapter is written beside a model and another adapter, and not over one of its stem."""
    store = MemoryStore()
    put(store, "m/adapter_model.safetensors", weights({"a": b"1"}))
    put(store, "t/model.safetensors", weights({"a": b"1"}))
    put(store, "t/pytorch_lora_weights.safetensors", weights({"a": b"1"}))
    planned = (("adapter_model.safetensors",), "adapter_model")
    assert giving_way(store, "t", "nothing", *planned) == ()
    put(store, "t/adapter_model.bin", weights({"a": b"1"}, "bin"))
    with pytest.raises(TargetExistsError, match=r"adapter_model\.bin"):
        giving_way(store, "t", "nothing", *planned)


@pytest.mark.parametrize("name", APART)
@pytest.mark.parametrize("how", ["nothing", "same"])
def test_no_hint_would_remove_what_is_kept_apart(name: str, how: Replace) -> None:
    """Where another checkpoint is in the way, "all" is not offered if it removes more than that."""
    store = MemoryStore()
    sample(store)
    put(store, "t/pytorch_model.bin", weights({"a": b"1"}, "bin"))
    put(store, f"t/{name}", weights({"a": b"1"}, "bin" if name.endswith("bin") else "safetensors"))
    with pytest.raises(TargetExistsError, match=r"pytorch_model\.bin") as caught:
        giving_way(store, "t", how)
    assert "all" not in caught.value.hint


def test_a_set_whose_index_lists_a_planned_name_is_in_the_way() -> None:
    """Another variant whose files have names of the new set is in the way all the same."""
    store = MemoryStore()
    sample(store)
    put(store, "t/model.safetensors", weights({"a": b"1"}))
    index = {"metadata": {}, "weight_map": {"a": "model.safetensors"}}
    put(store, "t/model.safetensors.index.fp16.json", json.dumps(index).encode())
    with pytest.raises(TargetExistsError, match="index"):
        giving_way(store, "t", "nothing")


def test_the_same_variant_and_format_needs_replace() -> None:
    """A checkpoint of the same stem, variant and format is replaced, and the hint says how."""
    store = MemoryStore()
    sample(store)
    put(store, "t/model.safetensors", weights({"a": b"1"}))
    with pytest.raises(TargetExistsError, match="'t' already holds a checkpoint") as caught:
        giving_way(store, "t", "nothing")
    assert caught.value.file == "t"
    assert '`replace="same"`' in caught.value.hint
    assert giving_way(store, "t", "same") == ("model.safetensors",)


def test_the_current_directory_is_named() -> None:
    """Where TARGET is a file of the current directory, the error names that as `.`."""
    store = MemoryStore()
    sample(store)
    put(store, "model.safetensors", weights({"a": b"1"}))
    with pytest.raises(TargetExistsError, match=r"'\.' already holds a checkpoint") as caught:
        giving_way(store, "pytorch_model.bin", "nothing", ("pytorch_model.bin",))
    assert caught.value.file == "."


def test_a_name_that_nothing_may_replace() -> None:
    """Where neither way would replace what is there, the hint offers another name."""
    store = MemoryStore()
    sample(store)
    put(store, "t/own.safetensors", weights({"a": b"1"}))
    for how in ("nothing", "same", "all"):
        with pytest.raises(TargetExistsError) as caught:
            giving_way(store, "t", how, ("own.safetensors",))
        assert "another `name`" in caught.value.hint


def test_a_file_in_the_way_of_a_new_name() -> None:
    """A file of a new name, weights or not, is replaced only with --replace, a directory never."""
    store = MemoryStore()
    sample(store)
    put(store, "t/extra.json", b"{}")
    with pytest.raises(TargetExistsError, match=r"extra\.json") as caught:
        giving_way(store, "t", "nothing", ("extra.json",))
    assert caught.value.file == "t/extra.json"
    assert giving_way(store, "t", "same", ("extra.json",)) == ("extra.json",)
    store.make_directory("u/model.safetensors")
    with pytest.raises(TargetExistsError, match="is a directory") as caught:
        giving_way(store, "u", "all")
    assert "replace" not in caught.value.hint


def test_a_file_target_leaves_its_neighbours_alone() -> None:
    """Other checkpoints in the directory of a target file are not in its way."""
    store = MemoryStore()
    sample(store)
    put(store, "t/pytorch_model.bin", weights({"a": b"1"}, "bin"))
    assert giving_way(store, "t/x.safetensors", "nothing", ("x.safetensors",)) == ()


def test_the_index_that_was_read_is_removed_whatever_its_name() -> None:
    """In place, an index of an unusual name goes with the set that it lists: it would name shards
    that it was not written for. One that was not read stays.
    """
    store = MemoryStore()
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for tensor, shard in zip("ab", shards, strict=True):
        put(store, f"m/{shard}", weights({tensor: b"x"}))
    listed = json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}).encode()
    for name in ("ema.json", "other.json"):
        put(store, f"m/{name}", listed)
    found = superseded(route(store, "m", "m/ema.json"), REQUEST, shards, "same")
    assert set(found) == {*shards, "ema.json"}


def test_the_index_that_was_read_stays_elsewhere() -> None:
    """The index of a source in another directory is not in the target, whatever is there."""
    store = MemoryStore()
    put(store, "m/a-00001-of-00001.safetensors", weights({"a": b"x"}))
    listed = {"weight_map": {"a": "a-00001-of-00001.safetensors"}}
    put(store, "m/ema.json", json.dumps(listed).encode())
    put(store, "out/ema.json", b"mine")
    put(store, "out/model.safetensors", weights({"b": b"y"}))
    names = ("model.safetensors",)
    found = superseded(route(store, "out", "m/ema.json"), REQUEST, names, "same")
    assert found == ("model.safetensors",)


def test_a_distributed_checkpoint_is_in_the_way() -> None:
    """A directory with the data files of a distributed checkpoint holds a checkpoint."""
    store = MemoryStore()
    sample(store)
    put(store, "out/__0_0.distcp", b"slices")
    with pytest.raises(TargetExistsError, match="already holds a checkpoint"):
        giving_way(store, "out", "nothing")
