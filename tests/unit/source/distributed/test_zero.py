"""A ZeRO checkpoint is read as the tensors that were trained, and what does not fit is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from shardctl.findings import Finding
from shardctl.formats.torch.calls.types import TORCH_NAME_OF
from shardctl.model import Checkpoint
from shardctl.source.locate import find_source
from shardctl.source.read import read_checkpoint
from shardctl.storages import tied_names
from shardctl.streams.elements import elements_of
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights
from tests.support.state_dicts import assert_equal
from tests.support.zero_files import (
    MODEL,
    Files,
    Trained,
    model_file,
    optimizer_file,
    put_step,
    sample,
    step,
)

#: The entry of the vectors of stages 1 and 2.
JOINED = "single_partition_of_fp32_groups"
STAGES = [(1, 1), (2, 2), (1, 3), (2, 16), (3, 1), (3, 2), (3, 3), (3, 16)]


def read(store: MemoryStore, source: str = "d") -> tuple[Checkpoint, list[Finding]]:
    """The checkpoint, and what is wrong with it."""
    findings: list[Finding] = []
    located = find_source(store, source)
    return read_checkpoint(store, located, findings.append), findings


def loaded(store: MemoryStore, checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The tensors, with the elements that a copy would get."""
    found: dict[str, torch.Tensor] = {}
    for tensor in checkpoint.tensors:
        data = bytearray(b"".join(elements_of(store.open, tensor)))
        dtype = getattr(torch, TORCH_NAME_OF[tensor.dtype.name])
        flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        found[tensor.name] = flat.reshape(tensor.shape)
    return found


@pytest.mark.parametrize(("stage", "ranks"), STAGES)
def test_what_was_trained_is_read(stage: int, ranks: int) -> None:
    """Parameters lie in one rank or across several, are padded or not, or without elements; what
    was not trained is taken as it is, and all of it in the order of the module.
    """
    store, model = MemoryStore(), sample()
    put_step(store, step(model, stage, ranks))
    checkpoint, findings = read(store)
    assert not findings
    assert_equal(loaded(store, checkpoint), model.whole())
    assert [tensor.name for tensor in checkpoint.tensors] == list(model.whole())
    assert list(tied_names(checkpoint.tensors)) == [["embed.weight", "head.weight"]]


def test_what_is_left_out_is_named() -> None:
    """The state of the optimizers and of the run is beside the tensors, with its bytes in all
    files, and so are the copies of the parameters in the type that was computed with.
    """
    store, model = MemoryStore(), sample()
    put_step(store, step(model, 2, 3))
    checkpoint, _ = read(store)
    beside = {each.name: each.nbytes for file in checkpoint.files for each in file.beside}
    copies = sum(2 * value.numel() for value in model.parameters.values())
    assert beside["optimizer_state_dict.base_optimizer_state"] == 3 * 32
    assert beside["module"] == copies
    assert {"global_steps", "ds_config", "ds_version"} < beside.keys()
    assert not any(name.startswith("optimizer_state_dict.single") for name in beside)


@pytest.mark.parametrize("stage", [2, 3])
def test_a_name_of_what_was_not_saved_is_said(stage: int) -> None:
    """Where frozen parameters were not saved, another name of one has the module's copy at most."""
    store, model = MemoryStore(), sample()
    files = step(model, stage, 2)
    copy = model.frozen["frozen.weight"]
    for name, states in files.items():
        if "model_states" in name:
            states |= {"frozen_param_shapes": None, "frozen_param_fragments": None}
            states["shared_params"] = {"head.weight": "frozen.weight"}
            del states["module"]["frozen.weight"]
            states["module"]["head.weight"] = copy if stage < 3 else torch.empty(0).bfloat16()
    put_step(store, files)
    checkpoint, findings = read(store)
    assert [(each.code, each.tensor) for each in findings] == [("tensor-empty", "head.weight")]
    expected = {name: value for name, value in model.whole().items() if name != "frozen.weight"}
    del expected["head.weight"]
    assert_equal(loaded(store, checkpoint), expected | ({"head.weight": copy} if stage < 3 else {}))


def _changed(stage: int, change: Callable[[Files], object]) -> tuple[Checkpoint, list[Finding]]:
    """What is read of a step of two ranks of which something was changed."""
    store = MemoryStore()
    files = step(sample(), stage, 2)
    change(files)
    put_step(store, files)
    return read(store)


def _state(files: Files, rank: int = 1) -> dict[str, Any]:
    state: dict[str, Any] = files[optimizer_file(rank)]["optimizer_state_dict"]
    return state


def _vectors(files: Files, rank: int = 1) -> list[torch.Tensor]:
    state = _state(files, rank)
    found: list[torch.Tensor] = state.get("fp32_flat_groups") or state[JOINED]
    return found


def _set(vectors: list[torch.Tensor], change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    vectors[0] = change(vectors[0])


def cut(vector: torch.Tensor) -> torch.Tensor:
    """A vector without its last element."""
    return vector[:-1]


@pytest.mark.parametrize(
    ("stage", "change", "code", "tensor", "message"),
    [
        (2, lambda f: _set(_vectors(f), cut), "tensor-slices", "embed.weight", "rank 1"),
        (2, lambda f: _set(_vectors(f), torch.Tensor.half), "tensor-slices", "embed.weight", "F16"),
        (2, lambda f: _vectors(f).pop(), "tensor-slices", "embed.weight", "1 vector for 2 groups"),
        (
            2,
            lambda f: f[MODEL]["param_shapes"][0].update(more=(9,)),
            "tensor-slices",
            "embed.weight",
            "92 elements of the 99",
        ),
        (2, lambda f: _set(_vectors(f), torch.Tensor.int), "metadata-invalid", None, "I32 [46]"),
        (2, lambda f: _state(f).update({JOINED: [3]}), "tensor-slices", "embed.weight", "0 v"),
        (3, lambda f: _set(_vectors(f), cut), "tensor-slices", "embed.weight", "rank 1"),
        (3, lambda f: _set(_vectors(f), torch.Tensor.half), "tensor-slices", "embed.weight", "F16"),
        (
            3,
            lambda f: f[model_file(3, 1)]["frozen_param_fragments"].clear(),
            "tensor-slices",
            "frozen.weight",
            "frozen parameter",
        ),
        (
            3,
            lambda f: f[model_file(3, 1)]["frozen_param_fragments"].update(
                {"frozen.weight": torch.zeros(3).bfloat16()}
            ),
            "tensor-slices",
            "frozen.weight",
            "rank 1 has 3 elements of the 11",
        ),
        (
            1,
            lambda f: f[MODEL]["frozen_param_fragments"].update({"frozen.weight": torch.zeros(2)}),
            "tensor-slices",
            "frozen.weight",
            "[3, 7]",
        ),
        (2, lambda f: _state(f).update(zero_stage=1), "tensor-slices", None, "rank 1 says stage 1"),
        (2, lambda f: _state(f).update(partition_count=3), "tensor-slices", None, "3 ranks"),
        (3, lambda f: f[model_file(3, 1)].update(global_steps=3), "tensor-slices", None, "3 steps"),
        (2, lambda f: f.pop(optimizer_file(1)), "shard-set-incomplete", None, "rank 1"),
        (3, lambda f: f.pop(model_file(3, 1)), "shard-set-incomplete", None, "rank 1"),
        (3, lambda f: f.pop(model_file(3)), "shard-set-incomplete", None, "rank 0"),
        (2, lambda f: f.pop(MODEL), "shard-set-incomplete", None, "file of the model"),
        (
            2,
            lambda f: f.update({optimizer_file(2): f[optimizer_file(1)]}),
            "tensor-slices",
            None,
            "files of 3 ranks, and they say 2",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit(
    stage: int, change: Callable[[Files], object], code: str, tensor: str | None, message: str
) -> None:
    """A part that is missing, of another size or of another type is an error that says whose."""
    checkpoint, findings = _changed(stage, change)
    first = next(each for each in findings if each.severity == "error")
    assert (first.code, first.tensor) == (code, tensor)
    assert message in first.message
    assert checkpoint.incomplete
    if tensor is not None:
        assert tensor not in {each.name for each in checkpoint.tensors}


def test_the_rest_is_read_where_one_group_does_not_fit() -> None:
    """Parameters of other groups, and what is not trained, can still be looked at."""
    checkpoint, _ = _changed(2, lambda files: _set(_vectors(files), cut))
    names = {tensor.name for tensor in checkpoint.tensors}
    assert {"a.bias", "scale", "frozen.weight", "ids"} <= names
    assert "a.weight" not in names


def test_padding_may_be_left_out() -> None:
    """An elastic checkpoint has no padding, so that the last ranks have less than the first."""
    store, model = MemoryStore(), sample()
    files = step(model, 1, 16)
    first, second = _vectors(files, 15)
    assert not first.any()
    assert not second.any()
    _vectors(files, 15)[:] = [first[:0], second[:0]]
    put_step(store, files)
    checkpoint, findings = read(store)
    assert not findings
    assert_equal(loaded(store, checkpoint), model.whole())


@pytest.mark.parametrize("ranks", [1, 3])
def test_parameters_may_be_apart(ranks: int) -> None:
    """With `parameter_alignment` there is padding after each parameter, as the ranks' files say."""
    store, model = MemoryStore(), sample()
    put_step(store, step(model, 2, ranks, alignment=8))
    checkpoint, findings = read(store)
    assert not findings
    assert_equal(loaded(store, checkpoint), model.whole())


@pytest.mark.parametrize("stage", [2, 3])
def test_older_files(stage: int) -> None:
    """Before shared parameters were recorded, they are known by their storage in the module where
    parameters are whole there; the shapes were once one dictionary.
    """
    store = MemoryStore()
    whole = sample()
    model = Trained(groups=(whole.parameters,), shared=whole.shared if stage == 2 else {})
    files = step(model, stage, 2)
    for name, states in files.items():
        if name.endswith("_model_states.pt"):
            for key in ("shared_params", "frozen_param_shapes", "frozen_param_fragments"):
                states.pop(key)
            (states["param_shapes"],) = states["param_shapes"]
    put_step(store, files)
    checkpoint, findings = read(store)
    assert not findings
    assert_equal(loaded(store, checkpoint), model.whole())
    tied = [["embed.weight", "head.weight"]] if stage == 2 else []
    assert list(tied_names(checkpoint.tensors)) == tied


def test_nothing_of_the_module_is_lost() -> None:
    """What is not listed, as frozen parameters of some releases, is taken from the module."""
    store, model = MemoryStore(), sample()
    files = step(model, 1, 2)
    files[MODEL].update(frozen_param_shapes=None, frozen_param_fragments=None, buffer_names=[])
    put_step(store, files)
    checkpoint, findings = read(store)
    assert not findings
    assert_equal(loaded(store, checkpoint), model.whole())


def test_a_file_that_is_not_read_is_reported_once() -> None:
    """A damaged file is an error of that file, and no error of what is missing without it."""
    store = MemoryStore()
    put_step(store, step(sample(), 2, 2))
    put(store, f"d/{optimizer_file(1)}", b"<html>")
    checkpoint, findings = read(store)
    assert [each.code for each in findings] == ["file-html-page"]
    assert not checkpoint.tensors


def test_files_of_another_kind_are_refused() -> None:
    """A file of the right name that DeepSpeed did not save is an error that says so."""
    store = MemoryStore()
    put_step(store, {**step(sample(), 2, 2), MODEL: {"module": {"a": torch.zeros(2)}}})
    _, findings = read(store)
    assert [each.code for each in findings] == ["metadata-invalid"]
    put(store, f"d/{MODEL}", weights({"a": b"1"}))
    _, findings = read(store)
    assert [each.code for each in findings] == ["metadata-invalid"]


def test_a_link_that_leads_nowhere_is_reported() -> None:
    """The name of a rank's file without a file is an error of that path."""
    store = MemoryStore()
    put_step(store, step(sample(), 2, 2))
    located = find_source(store, "d")
    store.remove(f"d/{optimizer_file(1)}")
    findings: list[Finding] = []
    checkpoint = read_checkpoint(store, located, findings.append)
    assert [each.file for each in findings] == [f"d/{optimizer_file(1)}"]
    assert not checkpoint.tensors
