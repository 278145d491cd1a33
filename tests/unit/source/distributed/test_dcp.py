"""Distributed checkpoints of torch: what does not fit together is named, with tensor and rank."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex

from shardctl.findings import Finding
from shardctl.model import Checkpoint
from shardctl.source.locate import find_source
from shardctl.source.read import read_checkpoint
from shardctl.storages import sources_of
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.dcp_files import Slice, Whole, put_dcp, saved
from tests.support.memory_checkpoints import get, put, weights

TOP, BOTTOM = torch.zeros(2, 3), torch.ones(2, 3)
GOOD = Whole((4, 3), (Slice((0, 0), TOP), Slice((2, 0), BOTTOM, rank=1)))


def read(store: MemoryStore, directory: str = "d") -> tuple[Checkpoint, list[Finding]]:
    """The checkpoint in a directory, and what is wrong with it."""
    findings: list[Finding] = []
    located = find_source(store, directory)
    return read_checkpoint(store, located, findings.append, nested=True), findings


def only(findings: list[Finding]) -> Finding:
    """The one finding."""
    (finding,) = findings
    return finding


def test_slices_become_one_tensor() -> None:
    """A tensor has the slices of all ranks as its sources, each where its bytes are."""
    store = MemoryStore()
    put_dcp(store, "d", {"a": GOOD})
    checkpoint, findings = read(store)
    assert not findings
    (tensor,) = checkpoint.tensors
    assert (tensor.name, tensor.shape) == ("a", (4, 3))
    data = [get(store, source.span.path) for source in sources_of(tensor)]
    spans = [source.span for source in sources_of(tensor)]
    assert [bytes(d[s.offset : s.end]) for d, s in zip(data, spans, strict=True)] == [
        TOP.numpy().tobytes(),
        BOTTOM.numpy().tobytes(),
    ]
    assert [file.path for file in checkpoint.files] == [
        "d/.metadata",
        "d/__0_0.distcp",
        "d/__1_0.distcp",
    ]


def test_elements_that_torch_counts_in_pairs() -> None:
    """Shapes of F4 in the metadata are in torch's pairs, those of the tensor in elements."""
    store = MemoryStore()
    pairs = torch.arange(32, dtype=torch.uint8).reshape(4, 8).view(torch.float4_e2m1fn_x2)
    scalar = torch.tensor(7, dtype=torch.uint8).view(torch.float4_e2m1fn_x2).reshape(1)
    dtype = torch.float4_e2m1fn_x2
    put_dcp(
        store,
        "d",
        {
            "a": Whole((4, 8), (Slice((0, 0), pairs),), dtype),
            "b": Whole((1,), (Slice((0,), scalar),), dtype),
        },
    )
    checkpoint, findings = read(store)
    assert not findings
    tensors = {tensor.name: tensor for tensor in checkpoint.tensors}
    assert {name: (t.dtype.name, t.shape) for name, t in tensors.items()} == {
        "a": ("F4", (4, 16)),
        "b": ("F4", (2,)),
    }
    span = tensors["a"].span
    assert get(store, span.path)[span.offset : span.end] == bytes(range(32))


def test_slices_of_one_shape_are_told_apart() -> None:
    """In a safetensors data file, where all slices have one place, each name has its own bytes."""
    from safetensors.torch import save

    store = MemoryStore()
    parts = {"a": TOP, "b": BOTTOM}
    metadata = put_dcp(
        store, "d", {name: Whole((2, 3), (Slice((0, 0), parts[name]),)) for name in parts}
    )
    for index in metadata.storage_data:
        metadata.storage_data[index] = _StorageInfo("__0_0.distcp", 0, 24)
    put(store, "d/__0_0.distcp", save(parts))
    put(store, "d/.metadata", pickle.dumps(metadata))
    checkpoint, findings = read(store)
    assert not findings
    data = get(store, "d/__0_0.distcp")
    for tensor in checkpoint.tensors:
        span = tensor.span
        assert data[span.offset : span.end] == parts[tensor.name].numpy().tobytes()


@pytest.mark.parametrize(
    ("tensor", "code", "message"),
    [
        (
            Whole((4, 3), (Slice((0, 0), TOP),)),
            "tensor-slices",
            "no slice covers position [2, 0] of [4, 3]",
        ),
        (
            Whole((4, 3), (Slice((0, 0), TOP), Slice((1, 0), BOTTOM, rank=1))),
            "tensor-slices",
            "2 slices cover position [1, 0] of [4, 3], in 'd/__0_0.distcp' and 'd/__1_0.distcp'",
        ),
        (Whole((2, 3), ()), "tensor-slices", "no slice covers position [0, 0]"),
        (
            Whole((4, 3), (*GOOD.slices[:1], Slice((2, 0), BOTTOM.half(), rank=1))),
            "tensor-size-mismatch",
            "the slice is F16, and the metadata says F32",
        ),
        (
            Whole((4, 3), (*GOOD.slices[:1], Slice((2, 0), torch.ones(6), 1, (2, 3)))),
            "tensor-size-mismatch",
            "the slice is [6], and the metadata says [2, 3]",
        ),
        (
            Whole((4, 3), (*GOOD.slices[:1], Slice((2, 0), {"x": TOP, "y": TOP}, 1, (2, 3)))),
            "index-tensor-missing",
            "does not hold the slice",
        ),
    ],
)
def test_slices_that_do_not_fit(tensor: Whole, code: str, message: str) -> None:
    """A gap, an overlap, another type or shape: the tensor is named and left out, others stay."""
    store = MemoryStore()
    put_dcp(store, "d", {"a": tensor, "b": GOOD})
    checkpoint, findings = read(store)
    assert [each.name for each in checkpoint.tensors] == ["b"]
    finding = only(findings)
    assert (finding.code, finding.tensor, finding.severity) == (code, "a", "error")
    assert message in finding.message
    assert checkpoint.incomplete


def test_a_missing_file_names_its_rank() -> None:
    """Without the file of one rank, every tensor with a slice in it is left out."""
    store = MemoryStore()
    put_dcp(store, "d", {"a": GOOD, "b": Whole((2, 3), (Slice((0, 0), TOP),))}, without=[1])
    checkpoint, findings = read(store)
    assert [each.name for each in checkpoint.tensors] == ["b"]
    finding = only(findings)
    assert finding.file == "d/__1_0.distcp"
    assert "1 slice of rank 1, the first of 'a'" in finding.message


def test_a_file_that_ends_too_soon_names_the_tensor() -> None:
    """A slice that the file does not reach is an error; those before it are read."""
    store = MemoryStore()
    parts = {name: Whole((2, 3), (Slice((0, 0), TOP),)) for name in ("a", "b")}
    put_dcp(store, "d", parts)
    put(store, "d/__0_0.distcp", get(store, "d/__0_0.distcp")[:-10])
    checkpoint, findings = read(store)
    assert [each.name for each in checkpoint.tensors] == ["a"]
    assert [(each.code, each.tensor) for each in findings] == [("file-truncated", "b")]


def test_a_damaged_slice_names_the_tensor_and_the_byte() -> None:
    """Damage in the header of a slice is placed in the data file, not in the slice."""
    store = MemoryStore()
    put_dcp(store, "d", {name: Whole((2, 3), (Slice((0, 0), TOP),)) for name in ("a", "b")})
    data = bytearray(get(store, "d/__0_0.distcp"))
    second = len(data) // 2
    at = data.index(b"ctorch._utils", second)
    data[at] ^= 1
    put(store, "d/__0_0.distcp", bytes(data))
    checkpoint, findings = read(store)
    assert [each.name for each in checkpoint.tensors] == ["a"]
    assert {each.tensor for each in findings} == {"b"}
    assert all(each.offset is None or each.offset >= second for each in findings)


@pytest.mark.parametrize("data", [b"", b"?", b"not a pickle", pickle.dumps({"a": 1})])
def test_metadata_that_is_something_else(data: bytes) -> None:
    """What is not metadata of torch is an error of that file, and nothing is read."""
    store = MemoryStore()
    put_dcp(store, "d", {"a": GOOD})
    put(store, "d/.metadata", data)
    checkpoint, findings = read(store)
    assert not checkpoint.tensors
    assert only(findings).file == "d/.metadata"
    assert only(findings).code in ("pickle-invalid", "metadata-invalid")


def test_one_range_for_many_tensors_is_read_once() -> None:
    """Names that all claim the bytes of one large slice take no longer than the file is long."""
    store = MemoryStore()
    large = saved({f"x{number}": torch.zeros(1) for number in range(500)})
    metadata = put_dcp(store, "d", {"a": Whole((2, 3), (Slice((0, 0), TOP),))})
    described = metadata.state_dict_metadata["a"]
    count = 2_000
    entries = {f"t{number}": described for number in range(count)}
    places = {
        MetadataIndex(name, (0, 0)): _StorageInfo("__0_0.distcp", 0, len(large)) for name in entries
    }
    put(store, "d/__0_0.distcp", large)
    put(store, "d/.metadata", pickle.dumps(Metadata(entries, None, places)))
    begin = time.process_time()
    checkpoint, findings = read(store)
    assert time.process_time() - begin < 20
    assert not checkpoint.tensors
    assert any("those of another slice as well" in finding.message for finding in findings)


def test_names_in_each_others_way_are_both_kept() -> None:
    """A tensor at a path that leads through another one is kept under its whole name."""
    store = MemoryStore()
    whole = Whole((2, 3), (Slice((0, 0), TOP),))
    metadata = put_dcp(store, "d", {"a": whole, "a.b": whole})
    metadata.planner_data = {"a": ("a",), "a.b": ("a", "b")}
    put(store, "d/.metadata", pickle.dumps(metadata))
    checkpoint, findings = read(store)
    assert not findings
    assert [each.name for each in checkpoint.tensors] == ["a", "a.b"]


def test_what_the_metadata_would_import_is_known() -> None:
    """Names outside torch that unpickling the metadata would import are kept, to be reported."""
    store = MemoryStore()
    metadata = put_dcp(store, "d", {"a": GOOD})
    vars(metadata)["storage_meta"] = print
    put(store, "d/.metadata", pickle.dumps(metadata))
    checkpoint, _ = read(store)
    assert checkpoint.files[0].unsafe_globals == ("builtins.print",)


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_a_link_to_nothing(tmp_path: Path, name: str) -> None:
    """One among the data files, or instead of the metadata, is a finding and ends nothing."""
    store = MemoryStore()
    put_dcp(store, "d", {"a": GOOD})
    for entry in store.list("d"):
        (tmp_path / entry.name).write_bytes(get(store, f"d/{entry.name}"))
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("gone")
    findings: list[Finding] = []
    local = LocalStore()
    read_checkpoint(local, find_source(local, str(tmp_path)), findings.append, nested=True)
    finding = only(findings)
    assert (finding.severity, finding.file) == ("error", str(tmp_path / name))


def test_a_link_to_nothing_beside_another_checkpoint(tmp_path: Path) -> None:
    """Without data files it is not taken for a distributed checkpoint."""
    (tmp_path / ".metadata").symlink_to("gone")
    (tmp_path / "model.safetensors").write_bytes(weights({"a": b"1"}))
    assert find_source(LocalStore(), str(tmp_path)).distributed is None
