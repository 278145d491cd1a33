"""Files of slices that say where each begins: they are placed, or what is wrong is named."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from shardctl.findings import Finding
from shardctl.model import Checkpoint
from shardctl.source.locate import find_source
from shardctl.source.read import read_checkpoint
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put

ROWS = torch.arange(6.0).reshape(2, 3)


def put_slices(
    store: MemoryStore, rank: int, tensors: Mapping[str, torch.Tensor], offsets: object
) -> None:
    """Write the file of one rank; `offsets` are in its metadata."""
    text = offsets
    if isinstance(offsets, dict):
        text = json.dumps({name: {"saved_offsets": start} for name, start in offsets.items()})
    assert isinstance(text, str)
    metadata = {"DCP_SHARDING_INFO": text, "DCP_VERSION": "1.0", "format": "pt"}
    name = f"shard-{rank:05d}-model-00001-of-00001.safetensors"
    put(store, f"d/{name}", save({key: each.clone() for key, each in tensors.items()}, metadata))


def read(store: MemoryStore, source: str = "d") -> tuple[Checkpoint, list[Finding]]:
    """The checkpoint, and what is wrong with it."""
    findings: list[Finding] = []
    located = find_source(store, source, whole_set=False)
    return read_checkpoint(store, located, findings.append, nested=True), findings


def test_slices_are_placed_by_their_offsets() -> None:
    """The shape of a tensor is what its slices reach to; nothing of the slices stays in the
    metadata.
    """
    store = MemoryStore()
    put_slices(store, 1, {"a": ROWS, "b": ROWS}, {"a": [0, 0], "b": [0, 0]})
    put_slices(store, 2, {"a": ROWS}, {"a": [2, 0]})
    checkpoint, findings = read(store)
    assert not findings
    assert {each.name: each.shape for each in checkpoint.tensors} == {"a": (4, 3), "b": (2, 3)}
    assert checkpoint.metadata == {"format": "pt"}


@pytest.mark.parametrize(
    ("offsets", "tensor", "message"),
    [
        ({"a": [3, 0]}, ROWS, "no slice covers position [2, 0] of [5, 3]"),
        ({"a": [1, 0]}, ROWS, "2 slices cover position [1, 0]"),
        ({"a": [2]}, ROWS, "does not say where the slice begins"),
        ({"a": [2, -1]}, ROWS, "does not say where"),
        ({"a": [2, 0.5]}, ROWS, "does not say where"),
        ({"a": [2**70, 0]}, ROWS, "does not say where"),
        ({"a": "x"}, ROWS, "does not say where"),
        ({"b": [2, 0]}, ROWS, "does not say where"),
        ("{", ROWS, "does not say where"),
        ("[" * 100_000, ROWS, "does not say where"),
        ({"a": [2, 0]}, ROWS.half(), "the slice is F16 of 2 dimensions"),
        ({"a": [6]}, ROWS.reshape(-1), "the slice is F32 of 1 dimension"),
        ({"a": [2**62, 0]}, ROWS, "no slice covers position [2, 0]"),
    ],
)
def test_slices_that_cannot_be_placed(offsets: object, tensor: torch.Tensor, message: str) -> None:
    """A tensor whose slices do not fit is named and left out; others stay."""
    store = MemoryStore()
    put_slices(store, 1, {"a": ROWS, "b": ROWS}, {"a": [0, 0], "b": [0, 0]})
    put_slices(store, 2, {"a": tensor}, offsets)
    begin = time.process_time()
    checkpoint, findings = read(store)
    assert time.process_time() - begin < 20
    assert [each.name for each in checkpoint.tensors] == ["b"]
    (finding,) = findings
    assert (finding.code, finding.tensor) == ("tensor-slices", "a")
    assert message in finding.message


def test_a_number_that_is_missing_is_named() -> None:
    """The files of ranks are counted from 1, so a gap shows even where tensors look whole."""
    store = MemoryStore()
    for rank in (1, 3):
        put_slices(store, rank, {f"t{rank}": ROWS}, {f"t{rank}": [0, 0]})
    _, findings = read(store)
    assert [each.code for each in findings] == ["shard-set-incomplete"]
    assert "rank 2" in findings[0].message


def test_offsets_in_a_file_that_one_process_saved() -> None:
    """Torch records offsets for whole tensors too: a file of another name is read as it is, unless
    one of its tensors begins elsewhere.
    """
    store = MemoryStore()
    text = json.dumps({"a": {"saved_offsets": [0, 0]}})
    put(store, "m/model.safetensors", save({"a": ROWS}, {"DCP_SHARDING_INFO": text}))
    checkpoint, findings = read(store, "m")
    assert not findings
    assert json.loads(checkpoint.metadata["DCP_SHARDING_INFO"]) == json.loads(text)
    text = json.dumps({"a": {"saved_offsets": [2, 0]}})
    put(store, "m/model.safetensors", save({"a": ROWS}, {"DCP_SHARDING_INFO": text}))
    _, findings = read(store, "m")
    assert [(each.code, each.tensor) for each in findings] == [("tensor-slices", "a")]


_FIRST, _SECOND = (f"shard-0000{rank}-model-00001-of-00001.safetensors" for rank in (1, 2))


def put_alone(store: MemoryStore, name: str, info: object) -> None:
    """Write a file of any name; `info` is what its metadata says of where its slices begin."""
    put(store, f"d/{name}", save({"a": ROWS}, {"DCP_SHARDING_INFO": json.dumps(info)}))


def errors_of(store: MemoryStore, name: str) -> list[tuple[str, str | None]]:
    """The errors of a file that is read alone, by code and tensor."""
    _, findings = read(store, f"d/{name}")
    return [(each.code, each.tensor) for each in findings if each.severity == "error"]


@pytest.mark.parametrize(
    ("offsets", "sliced"), [([4, 0], True), ([0, 2], True), ([0, 0], False), ([], False)]
)
def test_what_does_not_begin_at_0_is_a_slice(offsets: list[int], *, sliced: bool) -> None:
    """A tensor that begins within another is refused by name, whatever its file is called; a file
    with the name of one process's is refused in any case.
    """
    store = MemoryStore()
    for name in (_FIRST, "model.safetensors"):
        put_alone(store, name, {"a": {"saved_offsets": offsets}})
    assert errors_of(store, "model.safetensors") == ([("tensor-slices", "a")] if sliced else [])
    assert errors_of(store, _FIRST) == [("tensor-slices", "a" if sliced else None)]


def test_one_file_alone_is_refused_with_the_set_named() -> None:
    """Of a set, a file that is looked at alone is an error whose hint says what to name."""
    store = MemoryStore()
    put_alone(store, _FIRST, {"a": {"saved_offsets": [0, 0]}})
    put_alone(store, _SECOND, {"a": {"saved_offsets": [2, 0]}})
    for name in (_FIRST, _SECOND):
        _, findings = read(store, f"d/{name}")
        assert ["the directory with the files of all" in each.hint for each in findings] == [True]
    located = find_source(store, f"d/{_FIRST}")
    assert located.files == (f"d/{_FIRST}", f"d/{_SECOND}")


@pytest.mark.parametrize(
    "info",
    [{}, {"a": {}}, {"a": 3}, {"a": {"saved_offsets": "4"}}, {"a": {"saved_offsets": [None]}}, [1]],
)
def test_metadata_of_another_form_says_nothing(info: object) -> None:
    """Only what torch writes there says that tensors are slices."""
    store = MemoryStore()
    put_alone(store, "model.safetensors", info)
    assert not errors_of(store, "model.safetensors")


def test_a_link_to_nothing_among_the_slices(tmp_path: Path) -> None:
    """It is one finding, and the slices of the other files are read."""
    for rank in (1, 3):
        metadata = {"DCP_SHARDING_INFO": f'{{"{rank}": {{"saved_offsets": [0, 0]}}}}'}
        name = f"shard-{rank:05d}-model-00001-of-00001.safetensors"
        (tmp_path / name).write_bytes(save({str(rank): ROWS.clone()}, metadata))
    link = tmp_path / "shard-00002-model-00001-of-00001.safetensors"
    link.symlink_to("gone")
    findings: list[Finding] = []
    store = LocalStore()
    checkpoint = read_checkpoint(store, find_source(store, str(tmp_path)), findings.append)
    assert [(each.code, each.severity, each.file) for each in findings] == [
        ("file-not-regular", "error", str(link))
    ]
    assert [each.name for each in checkpoint.tensors] == ["1", "3"]
