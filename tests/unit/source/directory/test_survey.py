"""What lies in a directory, read in memory that the largest index needs, and in time that follows
the number of names.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

from shardctl.source.directory.candidates import candidates
from shardctl.source.directory.survey import look_at
from shardctl.source.locate import each_checkpoint
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights

STORE = LocalStore()


def index(*, shard: str, tensors: int) -> bytes:
    """An index that places so many tensors in one shard."""
    weight_map = {f"layers.{number}.weight": shard for number in range(tensors)}
    return json.dumps({"metadata": {}, "weight_map": weight_map}).encode()


def peak_of(directory: str) -> int:
    """The most bytes in use while a directory is looked at and its first index is read."""
    tracemalloc.start()
    try:
        survey = look_at(STORE, directory)
        assert survey.index_of(survey.every[0]).index is not None
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_indexes_are_read_one_at_a_time(tmp_path: Path) -> None:
    """Nine indexes take hardly more memory than one."""
    data = index(shard="a.safetensors", tensors=5_000)
    for count in (1, 9):
        (tmp_path / f"of{count}").mkdir()
        for number in range(count):
            name = f"v{number}.safetensors.index.json"
            (tmp_path / f"of{count}" / name).write_bytes(data)
    assert peak_of(str(tmp_path / "of9")) < 1.25 * peak_of(str(tmp_path / "of1"))


def test_the_only_index_is_read_once() -> None:
    """An index that is alone is kept, and not read again."""
    store = MemoryStore()
    put(store, "m/model.safetensors.index.json", index(shard="a.safetensors", tensors=2))
    survey = look_at(store, "m")
    store.remove("m/model.safetensors.index.json")
    (candidate,) = survey.every
    read = survey.index_of(candidate).index
    assert read is not None
    assert list(read.weight_map) == ["layers.0.weight", "layers.1.weight"]


def test_each_checkpoint_of_a_directory_is_located_by_one_listing() -> None:
    """A plain file, an incomplete set and an index each have their files, though nothing is listed
    twice.
    """
    store = MemoryStore()
    for name in ("model.safetensors", "consolidated.00.pth", "adapter_model.safetensors"):
        put(store, f"m/{name}", weights({"a": b"1"}))
    put(store, "m/model-00002-of-00003.safetensors", weights({"a": b"1"}))
    put(store, "m/pytorch_model.bin.index.json", index(shard="x.bin", tensors=1))
    put(store, "m/x.bin", b"")
    lists: list[str] = []
    real = store.list
    store.list = lambda directory: lists.append(directory) or real(directory)  # type: ignore[method-assign,func-returns-value] # counts the calls
    located = {store.split(one.root)[1]: one for one in each_checkpoint(store, "m")}
    assert lists == ["m", "m"]  # once to see whether it is a place in the hub's cache
    assert located["model.safetensors"].files == ("m/model.safetensors",)
    assert located["pytorch_model.bin.index.json"].files == ("m/x.bin",)
    part = located["model-00002-of-00003.safetensors"]
    assert part.files == ("m/model-00002-of-00003.safetensors",)
    assert [finding.code for finding in part.findings] == ["shard-set-incomplete"]
    assert "2 of 3 numbered files are missing: number 1, 3" in part.findings[0].message


def test_a_number_does_not_make_a_long_list() -> None:
    """One file of a set of 99,999 counts by its name alone."""
    (candidate,) = candidates(["model-00001-of-99999.safetensors"], lambda _: None)
    assert candidate.lacks == 99_998
    assert candidate.missing == tuple(range(2, 12))


def test_a_hundred_thousand_names_are_quick() -> None:
    """A set of 99,999 files with its index, beside 2,000 other indexes, is sorted out in seconds: a
    search for each name would take hours.
    """
    names = [f"model-{number:05d}-of-99999.safetensors" for number in range(1, 100_000)]
    others = [f"v{number}.safetensors.index.json" for number in range(2_000)]
    own = "model.safetensors.index.json"
    begun = time.process_time()
    found = candidates([*names, *others, own], {own: set(names[:-1])}.get)
    assert time.process_time() - begun < 20
    assert found[-1].index == own
    assert found[-1].files == tuple(names[:-1])
    assert found[-1].unlisted == (names[-1],)
