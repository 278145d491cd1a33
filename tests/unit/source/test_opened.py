"""Every file whose header is read is announced, with its place among all."""

from __future__ import annotations

from shardctl.findings import strict
from shardctl.source.locate import find_source
from shardctl.source.opened import unseen
from shardctl.source.read import read_checkpoint
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights


def test_each_file_is_announced_once() -> None:
    """With its path, its size in bytes, its number from one on, and how many there are."""
    store = MemoryStore()
    paths = [f"m/model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for path, tensor in zip(paths, "ab", strict=True):
        put(store, path, weights({tensor: b"x" * 10}))
    seen: list[tuple[str, int, int, int]] = []
    located = find_source(store, "m")
    read_checkpoint(store, located, lambda _: None, opened=lambda *each: seen.append(each))
    sizes = [store.version(path).size for path in paths]
    assert [each[:2] for each in seen] == list(zip(paths, sizes, strict=True))
    assert [each[3] for each in seen] == [2, 2]
    assert sorted({each[2] for each in seen}) == [seen[0][2], seen[0][2] + 1]


def test_unseen_does_nothing() -> None:
    """A read without anyone who looks is the same."""
    store = MemoryStore()
    put(store, "m/model.safetensors", weights({"a": b"x"}))
    located = find_source(store, "m")
    seen = read_checkpoint(store, located, strict, opened=unseen)
    assert seen == read_checkpoint(store, located, strict)
