"""Saving: what is written, what is refused, and that an old checkpoint is never mixed up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import shardctl
from tests.support.observers import Counting
from tests.support.program import environment
from tests.support.state_dicts import assert_equal, load, random_state_dict, result

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

FORMATS = ("safetensors", "bin")
PROJECTIONS = ("gate_proj", "up_proj", "down_proj")


def floats(count: int = 6, size: int = 100) -> dict[str, Any]:
    """A state dict of small tensors."""
    return {f"w{number}": torch.full((size,), float(number)) for number in range(count)}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("seed", range(3))
def test_everything_is_saved(name: str, seed: int, tmp_path: Path) -> None:
    """All types, ties, views, strides, scalars and empty tensors load with upstream's loaders."""
    from shardctl.torch import save_sharded

    state = random_state_dict(seed)
    plan = save_sharded(state, tmp_path / "model", max_shard_size=150, format=name)
    assert len(plan.shards) > 2
    assert_equal(load(result(tmp_path / "model")), state)
    assert shardctl.verify(tmp_path / "model", deep=True).ok


def test_bytes_are_those_of_the_commands(tmp_path: Path) -> None:
    """A model is saved as the same tensors are split from a file."""
    from shardctl.torch import save_sharded

    state = floats()
    torch.save(state, tmp_path / "pytorch_model.bin")
    shardctl.write(
        tmp_path / "pytorch_model.bin", tmp_path / "split", max_shard_size="1KB", record=False
    )
    save_sharded(state, tmp_path / "saved", max_shard_size="1KB", format="bin")
    files = sorted(path.name for path in (tmp_path / "split").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "saved").iterdir())
    for name in files:
        assert (tmp_path / "split" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()


SETTINGS: list[dict[str, Any]] = [
    {"dtype": "bf16", "keep_dtype": "*.bias"},
    {"exclude": ["*.bias"], "add_prefix": "model.", "rename": [("weight", "w")]},
    {"group_by": r"(layers\.\d+)\.", "max_shard_size": 100},
    {"experts": "stack"},
    {"order": "natural", "name": "weights", "variant": "x", "num_shards": 3},
    {"single": True, "checksums": True, "read_back": True},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda each: next(iter(each)))
def test_settings_are_those_of_the_commands(settings: dict[str, Any], tmp_path: Path) -> None:
    """Each does to tensors in memory what it does to a file of them."""
    from shardctl.torch import save_sharded

    names = ("layers.10.w.weight", "layers.2.w.bias", "layers.2.w.weight")
    experts = (f"layers.0.mlp.experts.{e}.{part}.weight" for e in (0, 1) for part in PROJECTIONS)
    state = {name: torch.randn(4, 6) for name in (*names, *experts)}
    torch.save(state, tmp_path / "model.bin")
    source, target = tmp_path / "model.bin", tmp_path / "one"
    shardctl.write(source, target, format="safetensors", record=False, **settings)
    save_sharded(state, tmp_path / "two", **settings)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_arguments_of_a_wrong_kind(tmp_path: Path) -> None:
    """They are errors that name them, before anything is written."""
    from shardctl.torch import save_sharded

    with pytest.raises(TypeError, match=r"save_sharded\(\) got .* 'layout'"):
        save_sharded(floats(), tmp_path / "m", layout="compact")  # type: ignore[call-arg] # what is tested
    with pytest.raises(shardctl.UsageError, match="`metadata`"):
        save_sharded(floats(), tmp_path / "m", metadata={"step": 7})  # type: ignore[dict-item] # what is tested
    assert not (tmp_path / "m").exists()


def test_keywords_are_those_of_write() -> None:
    """The settings of `save_sharded` have the types that those of `write` have."""
    from shardctl.planning.keywords import WriteKeywords
    from shardctl.torch.saving.save import SaveKeywords

    of_write, of_save = get_type_hints(WriteKeywords), get_type_hints(SaveKeywords)
    own = {"max_shard_size", "format", "layout", "accept_damage"}
    assert of_save == {name: kind for name, kind in of_write.items() if name not in own}


def test_the_plan_and_the_progress(tmp_path: Path) -> None:
    """The plan names the files, and the observer gets every byte."""
    from shardctl.torch import save_sharded

    observer = Counting()
    plan = save_sharded(floats(), tmp_path / "model", num_shards=3, observer=observer)
    assert {path.name for path in (tmp_path / "model").iterdir()} == set(plan.filenames)
    assert dict(observer.advanced) == dict(observer.sizes)
    single = save_sharded(floats(), tmp_path / "one.safetensors", single=True)
    assert single.filenames == ("one.safetensors",)


def test_metadata_and_a_config_are_written(tmp_path: Path) -> None:
    """String pairs go into every file; a config is made by its own method, and left as it is."""
    from shardctl.torch import open as open_state
    from shardctl.torch import save_sharded

    class Config:
        architectures = None

        def to_json_string(self) -> str:
            return json.dumps({"architectures": self.architectures})

    class Model(torch.nn.Linear):  # type: ignore[misc, name-defined] # torch is optional here
        config = Config()

    save_sharded(Model(2, 2), tmp_path / "model", metadata={"step": "7"})
    assert json.loads((tmp_path / "model" / "config.json").read_text()) == {
        "architectures": ["Model"]
    }
    assert Model.config.architectures is None
    assert open_state(tmp_path / "model").metadata == {"format": "pt", "step": "7"}
    Model.config.to_json_string = lambda: '{"new": 1}'  # type: ignore[method-assign] # another config
    save_sharded(Model(2, 2), tmp_path / "model", replace="same")
    assert json.loads((tmp_path / "model" / "config.json").read_text()) == {"new": 1}


def refused() -> dict[str, Any]:
    """Tensors that are not plain data, by what the message says of them."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.empty(3)
    freed = torch.ones(3)
    freed.untyped_storage().resize_(0)
    return {
        "meta device": torch.empty(3, device="meta"),
        "sparse_coo": torch.ones(2, 2).to_sparse(),
        "sparse_csr": torch.ones(2, 2).to_sparse_csr(),
        "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "quantised": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "FakeTensor": fake,
        "no shape yet": torch.nn.parameter.UninitializedParameter(),
        "memory was freed": freed,
        "has no memory": torch._to_functional_tensor(torch.ones(3)),
        "torch.bits8": torch.zeros(3, dtype=torch.uint8).view(torch.bits8),
    }


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of quantised and nested prototypes
def test_what_is_not_plain_data_is_refused_by_name(tmp_path: Path) -> None:
    """Before anything is written, and all of them at once."""
    from shardctl.torch import save_sharded

    for reason, tensor in refused().items():
        with pytest.raises(shardctl.InputError) as caught:
            save_sharded({"fine": torch.ones(1), "odd.one": tensor}, tmp_path / "model")
        assert "'odd.one'" in caught.value.message
        assert reason in caught.value.message
    with pytest.raises(shardctl.InputError, match=r"'a' .*'b' "):
        save_sharded(dict.fromkeys("ab", torch.empty(1, device="meta")), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_distributed_tensor_is_refused_by_name(tmp_path: Path) -> None:
    """A DTensor is a part of a tensor."""
    script = """
import os, sys, torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_tensor, Shard
import shardctl
from shardctl.torch import save_sharded
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))
weight = torch.nn.Parameter(distribute_tensor(torch.ones(4, 4), mesh, [Shard(0)]))
try:
    save_sharded({"part": weight}, sys.argv[1])
except shardctl.InputError as error:
    print(error.message, flush=True)
os._exit(0)  # threads of the group can abort an interpreter that is taken down
"""
    command = [sys.executable, "-c", script, str(tmp_path / "model")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment(), cwd=tmp_path
    )
    assert "'part' is a torch.distributed.tensor.DTensor" in done.stdout


def test_values_that_are_not_tensors(tmp_path: Path) -> None:
    """They are refused by name, as are nested state dicts; single values can be left out."""
    from shardctl.torch import save_sharded

    state = {"w": torch.ones(2), "step": 3}
    with pytest.raises(shardctl.InputError, match="step"):
        save_sharded(state, tmp_path / "model")
    plan = save_sharded(state, tmp_path / "model", drop_non_tensors=True)
    assert plan.notes == ("left out (not a tensor: builtins.int): step",)
    nested = {"model": {"w": torch.ones(2)}, "step": 3}
    with pytest.raises(shardctl.InputError, match="nested state dicts") as caught:
        save_sharded(nested, tmp_path / "nested")
    assert caught.value.hint == "choose one with `key`: model"
    save_sharded(nested, tmp_path / "nested", key="model")
    assert_equal(load(result(tmp_path / "nested")), nested["model"])  # type: ignore[arg-type] # the one of tensors
    with pytest.raises(shardctl.InputError, match="non-string keys"):
        save_sharded({0: torch.ones(2)}, tmp_path / "numbers")
    with pytest.raises(shardctl.UsageError, match="cannot save a list"):
        save_sharded([torch.ones(2)], tmp_path / "list")


def test_conjugated_and_negated_views_have_their_values(tmp_path: Path) -> None:
    """Where torch computes values when it reads, the values are written."""
    from shardctl.torch import save_sharded

    numbers = torch.complex(torch.arange(4.0), torch.arange(4.0))
    state = {"conj": numbers.conj(), "neg": numbers.conj().imag}
    assert state["conj"].is_conj()
    assert state["neg"].is_neg()
    save_sharded(state, tmp_path / "model")
    assert_equal(load(result(tmp_path / "model")), {key: t.clone() for key, t in state.items()})


def test_an_old_checkpoint_is_replaced_only_when_asked(tmp_path: Path) -> None:
    """Until then nothing changes, and afterwards no shard of the old set is left."""
    from shardctl.torch import save_sharded

    save_sharded(floats(6), tmp_path, num_shards=3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(shardctl.TargetExistsError) as caught:
        save_sharded(floats(4), tmp_path, num_shards=2)
    assert '`replace="same"`' in caught.value.hint
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    save_sharded(floats(4), tmp_path, num_shards=2, replace="same")
    assert_equal(load(result(tmp_path)), floats(4))
    assert len(list(tmp_path.iterdir())) == 3


def test_an_open_checkpoint_is_a_state_dict(tmp_path: Path) -> None:
    """What was opened lazily can be saved again, in another format."""
    from shardctl.torch import open as open_state
    from shardctl.torch import save_sharded

    state = random_state_dict(5)
    save_sharded(state, tmp_path / "one", num_shards=2)
    with open_state(tmp_path / "one") as weights:
        save_sharded(weights, tmp_path / "two", num_shards=3, format="bin")
    assert_equal(load(result(tmp_path / "two")), state)


class Stopping(Counting):
    """Stops a run after its first finished file."""

    def finished(self, filename: str, nbytes: int, *, kept: bool) -> None:
        super().finished(filename, nbytes, kept=kept)
        if not kept:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("changed", [False, True])
def test_an_interrupted_save_is_resumed(name: str, changed: bool, tmp_path: Path) -> None:
    """A finished shard is kept where it holds the same bytes, and written again where not."""
    from shardctl.torch import save_sharded

    def save(state: Mapping[str, object], observer: Counting) -> Counting:
        save_sharded(state, tmp_path / "m", num_shards=3, format=name, jobs=1, observer=observer)
        return observer

    state = floats()
    with pytest.raises(KeyboardInterrupt):
        save(state, Stopping())
    assert [path.name for path in (tmp_path / "m").iterdir()] == [".shardctl"]
    if changed:
        for tensor in state.values():
            tensor.add_(1)
    observer = save(state, Counting())
    assert bool(observer.kept) is not changed
    assert_equal(load(result(tmp_path / "m")), state)


def test_the_same_weights_are_not_written_twice(tmp_path: Path) -> None:
    """A second save compares, and writes only where something differs."""
    from shardctl.torch import save_sharded

    state = floats()
    save_sharded(state, tmp_path, num_shards=2)
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    save_sharded(state, tmp_path, num_shards=2, replace="same")
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    state["w3"][7] = -1
    save_sharded(state, tmp_path, num_shards=2, replace="same")
    assert_equal(load(result(tmp_path)), state)
