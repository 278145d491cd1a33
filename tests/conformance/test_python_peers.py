"""Directories that a program saves are those that transformers and Accelerate load, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.models import emptied
from tests.support.state_dicts import assert_equal

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
accelerate = pytest.importorskip("accelerate")

SIZES = {"vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2}
DEVICES = {"": "cpu"}


def bert() -> Any:
    """A small model without ties."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        **SIZES, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    return BertModel(config).eval()


def gpt2() -> Any:
    """A small model whose head is tied to its embedding."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(**SIZES, n_embd=32, n_layer=2, n_head=2)).eval()


@pytest.fixture(params=["bert", "gpt2"])
def model(request: pytest.FixtureRequest) -> Any:
    """One of the models."""
    return {"bert": bert, "gpt2": gpt2}[request.param]()


@pytest.fixture(params=["safetensors", "bin"])
def saved(request: pytest.FixtureRequest, model: Any, tmp_path: Path) -> Path:
    """A directory with its shards and its config."""
    from shardctl.torch import save_sharded

    plan = save_sharded(model, tmp_path / "m", max_shard_size="20KB", format=request.param)
    assert len(plan.shards) > 3
    return tmp_path / "m"


def test_transformers_loads_what_was_saved(model: Any, saved: Path) -> None:
    """`from_pretrained` takes the config and every weight."""
    from transformers import AutoModel

    found, info = type(model).from_pretrained(saved, output_loading_info=True)
    assert_equal(found.state_dict(), model.state_dict())
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert AutoModel.from_pretrained(saved).config.architectures == [type(model).__name__]


def test_what_transformers_saves_is_loaded(model: Any, tmp_path: Path) -> None:
    """The result is that of transformers' own function, also where it leaves out tied names."""
    from shardctl.torch import load_sharded_checkpoint

    model.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    found = emptied(model)
    assert load_sharded_checkpoint(found, tmp_path / "theirs") == ([], [])
    assert_equal(found.state_dict(), model.state_dict())


def test_accelerate_loads_what_was_saved(model: Any, saved: Path) -> None:
    """`load_checkpoint_in_model` fills a model that is there."""
    found = emptied(model)
    accelerate.load_checkpoint_in_model(found, str(saved))
    found.tie_weights()
    assert_equal(found.state_dict(), model.state_dict())


def test_accelerate_dispatches_what_was_saved(model: Any, saved: Path, tmp_path: Path) -> None:
    """`init_empty_weights`, loading by a device map, and `dispatch_model` with a part on disk."""
    with accelerate.init_empty_weights():
        found = type(model)(model.config)
    found.tie_weights()
    accelerate.load_checkpoint_in_model(found, str(saved), device_map=DEVICES)
    found = accelerate.dispatch_model(
        found.eval(), device_map=DEVICES, main_device="cpu", offload_dir=str(tmp_path / "offload")
    )
    tokens = torch.tensor([[3, 4, 5]])
    assert torch.equal(found(tokens)[0], model(tokens)[0])


def test_an_empty_model_of_accelerate_is_filled(model: Any, saved: Path) -> None:
    """With `assign` a model of `init_empty_weights` gets all its tensors."""
    from shardctl.torch import load_sharded_checkpoint

    with accelerate.init_empty_weights():
        found = type(model)(model.config)
    assert load_sharded_checkpoint(found, saved, assign=True) == ([], [])
    found.tie_weights()
    assert_equal(found.state_dict(), model.state_dict())


def test_a_map_of_accelerate_places_a_model(model: Any, saved: Path) -> None:
    """A dictionary that `infer_auto_device_map` makes is taken; what is on disk is read at use."""
    from shardctl.torch import load_sharded_checkpoint

    with accelerate.init_empty_weights():
        found = type(model)(model.config).eval()
    found.tie_weights()
    room = sum(each.nbytes for each in model.parameters()) * 9 // 10
    devices = accelerate.infer_auto_device_map(
        found, max_memory={"cpu": room}, no_split_module_classes=["BertLayer", "GPT2Block"]
    )
    assert {"cpu", "disk"} == set(devices.values())
    load_sharded_checkpoint(found, saved, device_map=devices)
    tokens = torch.tensor([[3, 4, 5]])
    assert torch.allclose(found(tokens)[0], model(tokens)[0], atol=1e-6)
    assert any(each.is_meta for each in found.parameters())


def test_a_lazy_state_dict_is_one_for_transformers(model: Any, saved: Path) -> None:
    """`from_pretrained(state_dict=…)` takes an open checkpoint."""
    import shardctl.torch as library

    with library.open(saved) as weights:
        found = type(model).from_pretrained(None, config=model.config, state_dict=dict(weights))
    assert_equal(found.state_dict(), model.state_dict())
