"""Safetensors files with the slices of one process are not taken for whole tensors."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save

from shardctl.findings import Finding
from shardctl.source.locate import find_source
from shardctl.source.read import read_checkpoint
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put

_FIRST, _SECOND = (f"shard-0000{rank}-model-00001-of-00001.safetensors" for rank in (1, 2))


def _put(store: MemoryStore, name: str, info: object) -> None:
    data = save({"a": torch.ones(4, 4)}, {"format": "pt", "DCP_SHARDING_INFO": json.dumps(info)})
    put(store, f"m/{name}", data)


def _found(store: MemoryStore, name: str) -> list[tuple[str, str | None]]:
    findings: list[Finding] = []
    located = find_source(store, f"m/{name}", whole_set=False)
    read_checkpoint(store, located, findings.append)
    return [(each.code, each.tensor) for each in findings if each.severity == "error"]


@pytest.mark.parametrize("name", [_FIRST, "model.safetensors"])
@pytest.mark.parametrize(
    ("offsets", "sliced"), [([4, 0], True), ([0, 2], True), ([0, 0], False), ([], False)]
)
def test_what_does_not_begin_at_0_is_a_slice(
    name: str, offsets: list[int], *, sliced: bool
) -> None:
    """A tensor that begins within another is refused by name, whatever its file is called."""
    store = MemoryStore()
    _put(store, name, {"a": {"saved_offsets": offsets}})
    assert _found(store, name) == ([("tensor-slices", "a")] if sliced else [])


def test_the_first_slice_is_one_beside_the_files_of_others() -> None:
    """What begins at 0 is a slice, too, where other processes saved files beside it."""
    store = MemoryStore()
    _put(store, _FIRST, {"a": {"saved_offsets": [0, 0]}})
    assert not _found(store, _FIRST)
    _put(store, _SECOND, {"a": {"saved_offsets": [4, 0]}})
    assert _found(store, _FIRST) == [("tensor-slices", "a")]


@pytest.mark.parametrize(
    "info",
    [{}, {"a": {}}, {"a": 3}, {"a": {"saved_offsets": "4"}}, {"a": {"saved_offsets": [None]}}, [1]],
)
def test_metadata_of_another_form_says_nothing(info: object) -> None:
    """Only what torch writes there says that tensors are slices."""
    store = MemoryStore()
    _put(store, _FIRST, info)
    assert not _found(store, _FIRST)
