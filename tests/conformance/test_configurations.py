"""The type in which transformers makes a model of what was converted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    CLIPConfig,
    CLIPModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from tests.support.program import call_cli


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama of random weights in float32."""
    directory = tmp_path_factory.mktemp("models") / "llama"
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
@pytest.mark.parametrize(
    ("dtype", "loaded"),
    [("bf16", torch.bfloat16), ("f16", torch.float16), ("f64", torch.float64)],
)
def test_a_model_is_made_in_the_new_type(
    llama: Path, tmp_path: Path, dtype: str, loaded: torch.dtype, key: str
) -> None:
    """In the type of the configuration, whichever key names it, and equal to torch's conversion."""
    source, out = tmp_path / "source", tmp_path / "out"
    call_cli("merge", llama, source, "-q")
    config = source / "config.json"
    config.write_text(config.read_text().replace('"dtype"', f'"{key}"'))
    call_cli("reshard", source, out, "--dtype", dtype, "-q")
    model = AutoModelForCausalLM.from_pretrained(out, dtype="auto")
    before = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).state_dict()
    assert model.config.dtype == loaded
    assert {tensor.dtype for tensor in model.state_dict().values()} == {loaded}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name].to(loaded)), name


def test_only_the_type_changes(llama: Path, tmp_path: Path) -> None:
    """Every other byte of the configuration is the one that transformers wrote."""
    call_cli("reshard", llama, tmp_path / "out", "--dtype", "bf16", "-q")
    before = (llama / "config.json").read_text()
    assert '"float32"' in before
    after = (tmp_path / "out" / "config.json").read_text()
    assert after == before.replace('"float32"', '"bfloat16"')
    call_cli("reshard", llama, tmp_path / "out", "--dtype", "bf16", "--check")


def test_a_type_of_8_bits_leaves_the_model_loadable(llama: Path, tmp_path: Path) -> None:
    """Torch makes no model in it, so the configuration keeps the type that the model had."""
    call_cli("reshard", llama, tmp_path / "out", "--dtype", "f8_e4m3", "-q")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}


def test_configurations_within_it_follow(tmp_path: Path) -> None:
    """A model of two parts has a type in the configuration of each."""
    part = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = CLIPConfig(
        text_config={**part, "vocab_size": 32},
        vision_config={**part, "image_size": 8, "patch_size": 4},
        projection_dim=8,
    )
    source, out = tmp_path / "source", tmp_path / "out"
    CLIPModel(config).save_pretrained(source)
    document = json.loads((source / "config.json").read_text())
    for name in ("text_config", "vision_config"):
        document[name]["dtype"] = "float32"
    (source / "config.json").write_text(json.dumps(document, indent=2))
    call_cli("reshard", source, out, "--dtype", "bf16", "-q")
    found = AutoConfig.from_pretrained(out)
    assert {found.dtype, found.text_config.dtype, found.vision_config.dtype} == {torch.bfloat16}
    model = CLIPModel.from_pretrained(out, dtype="auto")
    floats = [each for each in model.state_dict().values() if each.is_floating_point()]
    assert {tensor.dtype for tensor in floats} == {torch.bfloat16}
