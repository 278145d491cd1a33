"""What was checked is said, and what was not: an "ok" says what it is about."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from shardctl.stores.local.store import LocalStore
from shardctl.testing.builders import safetensors_bytes
from shardctl.testing.memory import MemoryStore
from shardctl.verify.coverage import NOT_READ, NOT_RECORDED, Unchecked
from shardctl.verify.run import Thoroughness, Verdict, verify
from tests.support.dcp_files import Slice, Whole, put_dcp
from tests.support.memory_checkpoints import put, weights

TENSORS = {"a": b"1" * 10, "b": b"2" * 10}


@pytest.fixture
def store() -> MemoryStore:
    """Two tensors, as safetensors, as a `.bin`, and as a set with an index."""
    made = MemoryStore()
    put(made, "s/model.safetensors", weights(TENSORS))
    put(made, "b/pytorch_model.bin", weights(TENSORS, "bin"))
    shards = {}
    for number, (name, data) in enumerate(TENSORS.items(), 1):
        shards[name] = f"pytorch_model-0000{number}-of-00002.bin"
        put(made, f"i/{shards[name]}", weights({name: data}, "bin"))
    index = {"metadata": {"total_size": 20}, "weight_map": shards}
    put(made, "i/pytorch_model.bin.index.json", json.dumps(index).encode())
    return made


def look(store: MemoryStore, source: str, **how: Any) -> Verdict:
    """What is found."""
    return verify(store, source, Thoroughness(**how))


@pytest.mark.parametrize(
    ("source", "how", "checked", "unchecked"),
    [
        ("s", {}, f"structure only: {NOT_RECORDED}", [NOT_RECORDED]),
        ("s", {"deep": True}, f"structure only: {NOT_RECORDED}", [NOT_RECORDED]),
        ("b", {}, f"structure only: {NOT_READ}", [NOT_READ]),
        ("b", {"deep": True}, "structure and CRC-32 of 2 tensors", []),
        ("i", {}, f"structure and index only: {NOT_READ}", [NOT_READ]),
        ("i", {"deep": True}, "structure, index and CRC-32 of 2 tensors", []),
        (
            "s",
            {"deep": True, "against": "b"},
            "structure; against 'b': names, dtypes, shapes and bytes",
            [],
        ),
    ],
)
def test_what_was_checked(
    store: MemoryStore, source: str, how: dict[str, Any], checked: str, unchecked: list[str]
) -> None:
    """The line names every check that was made, and each that was not has its reason."""
    found = look(store, source, **how).coverage
    assert found.checked == checked
    assert found.unchecked == tuple(
        Unchecked("the bytes of 2 tensors", reason) for reason in unchecked
    )


def test_a_comparison_of_headers_says_that_bytes_are_unchecked(store: MemoryStore) -> None:
    """Without `deep`, names, dtypes and shapes are compared, and the bytes are said not to be."""
    found = look(store, "b", against="s").coverage
    assert found.checked == "structure; against 's': names, dtypes and shapes"
    assert [each.what for each in found.unchecked] == [
        "the bytes of 2 tensors",
        "the bytes of 2 tensors against 's'",
    ]


def test_digests_count_by_file(store: MemoryStore) -> None:
    """A recorded SHA-256 vouches for its file, and not for others."""
    data = weights(TENSORS)
    put(store, "s/SHA256SUMS", f"{hashlib.sha256(data).hexdigest()}  model.safetensors\n".encode())
    found = look(store, "s", deep=True)
    assert (found.findings, found.coverage.unchecked) == ((), ())
    assert found.coverage.checked == "structure and SHA-256 of 1 file"
    assert look(store, "s").coverage.unchecked == (Unchecked("the bytes of 2 tensors", NOT_READ),)


def test_bytes_that_nothing_vouches_for_are_a_note(store: MemoryStore) -> None:
    """Where all bytes were read and compared with nothing, that is a note; not without `deep`,
    where a CRC-32 or another copy vouches for them, where errors say more, nor for tensors
    without bytes.
    """
    (finding,) = look(store, "s", deep=True).findings
    assert (finding.code, finding.severity, finding.file) == ("content-unchecked", "note", "s")
    assert "of 2 tensors" in finding.message
    assert look(store, "s").findings == look(store, "b", deep=True).findings == ()
    assert look(store, "s", deep=True, against="b").findings == ()
    put(store, "e/model.safetensors", safetensors_bytes({"e": ("F32", [0, 2], b"")}))
    assert look(store, "e", deep=True).findings == ()
    put(store, "s/model.safetensors", weights(TENSORS)[:-1])
    assert [f.code for f in look(store, "s", deep=True).findings] == ["file-truncated"]


def test_what_could_not_be_read_is_unchecked(store: MemoryStore) -> None:
    """Files that are missing or cut off are named."""
    put(store, "i/pytorch_model-00001-of-00002.bin", b"")
    assert look(store, "i").coverage.unchecked[-1] == Unchecked(
        "tensors of 1 file, the first is 'i/pytorch_model-00001-of-00002.bin'",
        "missing, or not read whole",
    )


def test_what_could_not_be_read_is_summed_up(store: MemoryStore) -> None:
    """Of a directory with many broken files one line says how many there are, not one each."""
    for number in range(9):
        put(store, f"many/m{number}.safetensors", b"")
    (unchecked,) = verify(store, "many", Thoroughness()).coverage.unchecked
    assert unchecked.what == "tensors of 9 files, the first is 'many/m0.safetensors'"


def test_files_of_several_saves_may_fit_together(store: MemoryStore) -> None:
    """That files of processes are of one save is not checked, where there are several."""
    halves = [Slice((0, 0), torch.zeros(2, 3)), Slice((2, 0), torch.ones(2, 3), rank=1)]
    put_dcp(store, "d", {"a": Whole((4, 3), tuple(halves))})
    unchecked = look(store, "d", deep=True).coverage.unchecked
    assert [each.what for each in unchecked] == ["whether the 2 files are of one save"]
    put_dcp(store, "e", {"a": Whole((2, 3), (halves[0],))})
    assert look(store, "e", deep=True).coverage.unchecked == ()


def test_loading_says_so(tmp_path: Path) -> None:
    """With `load`, what was loaded counts as loaded, and its bytes are still unchecked."""
    save_file({"a": torch.ones(2)}, tmp_path / "m.safetensors", {"format": "pt"})
    found = verify(LocalStore(), str(tmp_path / "m.safetensors"), Thoroughness(load=True)).coverage
    assert found.checked == "structure and 1 tensor as upstream loads them"
    assert [each.reason for each in found.unchecked] == [NOT_RECORDED]
