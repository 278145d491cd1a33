"""For which shards an index can be made, and what must not be lost with the old one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest

from shardctl.commands.shards import refuse_lost, refuse_other_tensors, shards_of
from shardctl.errors import InputError
from shardctl.model import Index
from shardctl.source.locate import Located, find_source
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights

INDEX = "m/model.safetensors.index.json"


def shard(number: int, count: int = 3) -> str:
    """The name of a shard."""
    return f"model-{number:05d}-of-{count:05d}.safetensors"


def located(files: Iterable[str], listed: Iterable[str] = ()) -> tuple[MemoryStore, Located]:
    """A store in which `m` has these files, and an index that lists others; the set found there."""
    store = MemoryStore()
    for name in files:
        put(store, f"m/{name}", weights({f"in {name}": b"1"}))
    if listed:
        weight_map = {f"in {name}": name for name in listed}
        put(store, INDEX, json.dumps({"weight_map": weight_map}).encode())
    return store, find_source(store, INDEX if listed else "m")


def test_all_that_is_there_is_in_order() -> None:
    """Shards are found by their numbers, in the order of these."""
    store, found = located([shard(3), shard(1), shard(2)])
    assert shards_of(store, found) == tuple(f"m/{shard(number)}" for number in (1, 2, 3))


def test_an_unlisted_shard_is_one_as_well() -> None:
    """A file of the set that the index does not list is in, so that its tensors get listed."""
    store, found = located([shard(number) for number in (1, 2, 3)], [shard(1), shard(3)])
    assert f"m/{shard(2)}" in found.unlisted
    assert shards_of(store, found) == tuple(f"m/{shard(number)}" for number in (1, 2, 3))


def test_a_listed_shard_that_the_numbers_do_not_miss_may_be_gone() -> None:
    """An index of another number of shards lists files that never were in the set that is there."""
    store, found = located([shard(1, 2), shard(2, 2)], [shard(1, 2), shard(2, 3)])
    assert shards_of(store, found) == (f"m/{shard(1, 2)}", f"m/{shard(2, 2)}")


@pytest.mark.parametrize("listed", [(), (shard(1), shard(2), shard(3))])
def test_missing_numbers_are_named(listed: tuple[str, ...]) -> None:
    """Whether an index lists them or not, the numbers that a set lacks are an error of the set."""
    store, found = located([shard(2)], listed)
    with pytest.raises(InputError, match=r"missing 2 of 3 shards: number 1, 3$") as caught:
        shards_of(store, found)
    assert (caught.value.code, caught.value.file) == ("shard-set-incomplete", "m")


def test_of_many_missing_numbers_the_first_are_named() -> None:
    """A set of a thousand files with one there is refused in one line."""
    store, found = located([shard(1, 1000)])
    with pytest.raises(
        InputError, match=r"missing 999 of 1,000 shards: number 2, 3, 4, 5, 6, 7, 8, 9, 10, 11$"
    ):
        shards_of(store, found)


def test_sets_of_several_counts_are_refused() -> None:
    """Two sets of one name are named by their counts, in order, and neither is chosen."""
    store, found = located([shard(1, 12), shard(1, 2), shard(2, 2)], [shard(1, 12), shard(1, 2)])
    with pytest.raises(InputError, match="several sets, of 2 and 12 files") as caught:
        shards_of(store, found)
    assert (caught.value.code, caught.value.file) == ("shard-unlisted", "m")


@pytest.mark.parametrize(
    "other",
    [
        "mtp-00001-of-00001.safetensors",
        "model.fp16-00001-of-00001.safetensors",
        "extra.safetensors",
    ],
)
def test_numbers_are_those_of_a_stem_and_a_variant(other: str) -> None:
    """A set of another name that the index lists too is counted alone, and one file not at all."""
    files = [shard(1, 2), shard(2, 2), other]
    store, found = located(files, files)
    assert set(shards_of(store, found)) == {f"m/{name}" for name in files}


def test_a_set_may_count_from_zero() -> None:
    """Numbers from 0 on lack nothing without the last."""
    files = [shard(0), shard(1), shard(2)]
    store, found = located(files)
    assert shards_of(store, found) == tuple(f"m/{name}" for name in files)
    store.remove(f"m/{shard(1)}")
    with pytest.raises(InputError, match="missing 1 of 3 shards: number 1"):
        shards_of(store, found)


def test_without_numbers_every_listed_file_must_be_there() -> None:
    """Nothing but the index says that there are others; the first that is gone is named."""
    store, found = located(["x.safetensors"], ["x.safetensors", "y\n.safetensors"])
    with pytest.raises(InputError, match=r"1 shard listed .* is 'y\\n\.safetensors'") as caught:
        shards_of(store, found)
    assert (caught.value.code, caught.value.file) == ("index-shard-missing", INDEX)


def test_a_listed_file_without_a_number_must_be_there_beside_a_numbered_set() -> None:
    """The numbers say nothing about it."""
    files = [shard(1, 2), shard(2, 2)]
    store, found = located(files, [*files, "extra.safetensors"])
    with pytest.raises(InputError, match=r"the first is 'extra\.safetensors'"):
        shards_of(store, found)


def test_without_any_file_the_listed_ones_are_missed() -> None:
    """Without numbers to look at, numbered names that are listed are missing files."""
    store, found = located([], [shard(1, 2), shard(2, 2)])
    with pytest.raises(InputError, match="2 shards listed in the index but missing"):
        shards_of(store, found)


def test_a_directory_of_the_name_is_not_a_shard() -> None:
    """Only files count."""
    store, found = located([shard(1, 2), shard(2, 2)])
    store.remove(f"m/{shard(2, 2)}")
    store.make_directory(f"m/{shard(2, 2)}")
    with pytest.raises(InputError, match="missing 1 of 2 shards: number 2"):
        shards_of(store, found)


def test_tensors_with_unusable_names_of_files_must_be_held() -> None:
    """What an index lists in a file that cannot be opened is lost unless a shard has it."""
    index = Index(INDEX, {}, {"a": "x.safetensors"}, unusable=("b", "c\n"))
    found = replace(located(["x.safetensors"])[1], index=index, index_path=INDEX)
    with pytest.raises(InputError, match=r"2 tensors .* the first is 'b'") as caught:
        refuse_lost(found, {"a": "x.safetensors"}, {})
    assert (caught.value.code, caught.value.file) == ("shard-name-unsafe", INDEX)
    assert caught.value.tensor == "b"
    held = {"a": "x.safetensors", "b": "x.safetensors"}
    with pytest.raises(InputError, match=r"1 tensor .* the first is 'c\\n'"):
        refuse_lost(found, held, {})
    refuse_lost(found, held, {"c\n": "b"})
    refuse_lost(replace(found, index=None), {}, {})


def test_tensors_of_the_index_must_be_held_or_tied() -> None:
    """What it lists in a sound shard is lost unless a shard has it, or it is an alias."""
    index = Index(INDEX, {}, {"a": "x.safetensors", "b": "y.safetensors"})
    found = replace(located(["x.safetensors"])[1], index=index, index_path=INDEX)
    with pytest.raises(InputError, match=r"'b' in 'y\.safetensors'") as caught:
        refuse_lost(found, {"a": "x.safetensors"}, {})
    assert (caught.value.code, caught.value.tensor) == ("index-tensor-missing", "b")
    refuse_lost(found, {"a": "x.safetensors", "b": "x.safetensors"}, {})
    refuse_lost(found, {"a": "x.safetensors"}, {"b": "a"})


def test_an_index_of_other_tensors_is_not_replaced() -> None:
    """Every tensor that it lists is in the files beside it, or is an alias of one that is."""
    stale = Index(INDEX, {}, {"a": "gone", "b": "gone", "t": "gone"})
    with pytest.raises(InputError, match=r"lack 2 tensors .* the first is 'b'") as caught:
        refuse_other_tensors(stale, {"a": "x"}, {})
    assert (caught.value.code, caught.value.file) == ("index-shard-missing", INDEX)
    assert caught.value.tensor == "b"
    refuse_other_tensors(stale, {"a": "x", "b": "x", "more": "x"}, {"t": "a"})
    refuse_other_tensors(None, {}, {})
