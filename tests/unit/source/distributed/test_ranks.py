"""State dicts of ranks that do not fit together: what differs is named."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from shardctl.errors import InputError
from shardctl.findings import Finding
from shardctl.model import Checkpoint
from shardctl.source.locate import find_source
from shardctl.source.read import read_checkpoint
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put


def put_ranks(store: MemoryStore, *ranks: Mapping[str, object], size: int | None = None) -> None:
    """Write a file for each rank."""
    for rank, state in enumerate(ranks):
        out = io.BytesIO()
        torch.save(dict(state), out)
        name = f"model_world_size_{size or len(ranks)}_rank_{rank}.pt"
        put(store, f"d/{name}", out.getvalue())


def read(store: MemoryStore) -> tuple[Checkpoint, list[Finding]]:
    """The checkpoint, and what is wrong with it."""
    findings: list[Finding] = []
    located = find_source(store, "d")
    return read_checkpoint(store, located, findings.append, nested=True), findings


def test_plain_tensors_are_those_of_the_first_rank() -> None:
    """What is not divided is the same in every rank; what only one has is kept."""
    store = MemoryStore()
    second = {"a": torch.zeros(2), "b": torch.zeros(1)}
    put_ranks(store, {"m": {"a": torch.zeros(2)}, "step": 3}, {"m": second})
    checkpoint, findings = read(store)
    assert not findings
    homes = {each.name: each.storage.extent.path for each in checkpoint.tensors}
    assert homes == {
        "m.a": "d/model_world_size_2_rank_0.pt",
        "m.b": "d/model_world_size_2_rank_1.pt",
    }
    assert [each.name for each in checkpoint.non_tensors] == ["step"]


def test_files_of_two_saves_show_in_what_should_be_equal() -> None:
    """A whole tensor whose checksum differs between ranks is a warning; the first one counts."""
    store = MemoryStore()
    same = {"a": torch.zeros(2), "view": torch.arange(4)[1:]}
    put_ranks(store, same, {**same, "a": torch.ones(2)}, {**same, "b": torch.ones(1)})
    checkpoint, (finding,) = read(store)
    assert (finding.severity, finding.file, finding.tensor) == (
        "warning",
        "d/model_world_size_3_rank_1.pt",
        "a",
    )
    assert "1 tensor that should be the same in every rank has other values" in finding.message
    assert checkpoint.tensors[0].storage.extent.path == "d/model_world_size_3_rank_0.pt"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (torch.zeros(3), "another shape or type"),
        (torch.zeros(2).half(), "another shape or type"),
        (3, "it is a whole tensor in one file"),
    ],
)
def test_plain_tensors_that_differ(other: object, message: str) -> None:
    """A tensor that ranks have in several shapes or types is named and left out."""
    store = MemoryStore()
    put_ranks(store, {"a": torch.zeros(2), "b": torch.zeros(1)}, {"a": other})
    checkpoint, findings = read(store)
    assert [each.name for each in checkpoint.tensors] == ["b"]
    assert [(each.code, each.tensor) for each in findings] == [("tensor-slices", "a")]
    assert message in findings[0].message


def test_missing_ranks_are_counted_by_the_name() -> None:
    """The names say how many ranks there are."""
    store = MemoryStore()
    put_ranks(store, {"a": torch.zeros(2)}, {}, size=4)
    _, findings = read(store)
    assert [each.code for each in findings] == ["shard-set-incomplete"]
    assert "rank 2, 3" in findings[0].message


def test_files_of_several_saves_are_refused() -> None:
    """Ranks of two different numbers of processes are not one model."""
    store = MemoryStore()
    put_ranks(store, {"a": torch.zeros(2)})
    put_ranks(store, {"a": torch.zeros(2)}, {})
    with pytest.raises(InputError, match="several saves, by 1 and 2 processes"):
        find_source(store, "d")


def test_two_files_of_one_rank_are_refused() -> None:
    """Of a rank that has two files neither is taken, as the names do not say which one counts."""
    store = MemoryStore()
    put_ranks(store, {"a": torch.zeros(2)}, {"a": torch.zeros(2)})
    put(store, "d/model_world_size_2_rank_01.pt", b"another")
    with pytest.raises(InputError, match="several saves, with two files of rank 1"):
        find_source(store, "d")


def test_no_value_takes_the_place_of_another() -> None:
    """Of two tensors that would have one name, the second is an error."""
    store = MemoryStore()
    first = {"a": torch.zeros(2), "a.b": torch.zeros(3)}
    put_ranks(store, first, {"a": {"b": torch.zeros(4)}})
    checkpoint, findings = read(store)
    assert {each.name: each.shape for each in checkpoint.tensors} == {"a": (2,), "a.b": (3,)}
    assert [(each.code, each.tensor) for each in findings] == [("tensor-slices", "a.b")]


def test_the_file_of_one_rank_alone_is_no_set() -> None:
    """A directory with the file of one of several ranks is read as that file, with a warning."""
    store = MemoryStore()
    put_ranks(store, {"a": torch.zeros(2)}, size=4)
    assert find_source(store, "d").distributed is None
    _, findings = read(store)
    assert [(each.code, each.severity) for each in findings] == [
        ("shard-set-incomplete", "warning")
    ]


def test_a_link_to_nothing_among_the_ranks(tmp_path: Path) -> None:
    """It is one finding, and the files of the other ranks are read."""
    names = [f"model_world_size_3_rank_{rank}.pt" for rank in range(3)]
    torch.save({"a": torch.zeros(2)}, tmp_path / names[0])
    (tmp_path / names[1]).symlink_to("gone")
    torch.save({"b": torch.zeros(2)}, tmp_path / names[2])
    findings: list[Finding] = []
    store = LocalStore()
    checkpoint = read_checkpoint(store, find_source(store, str(tmp_path)), findings.append)
    assert [(each.code, each.severity, each.file) for each in findings] == [
        ("file-not-regular", "error", str(tmp_path / names[1]))
    ]
    assert [each.name for each in checkpoint.tensors] == ["a", "b"]
