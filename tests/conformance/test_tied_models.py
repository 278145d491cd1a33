"""Models with tied weights, converted to safetensors: transformers loads them into whole models and
into base-model classes, with the embeddings that were trained.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.program import call_cli

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

VOCABULARY = 64


def llama() -> tuple[PreTrainedModel, list[Any]]:
    """Two layers with `lm_head.weight` tied to `model.embed_tokens.weight`."""
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config), [LlamaModel]


def t5() -> tuple[PreTrainedModel, list[Any]]:
    """An encoder and a decoder whose embeddings are tied to `shared.weight`."""
    from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration, T5Model

    config = T5Config(
        vocab_size=VOCABULARY,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        tie_word_embeddings=True,
    )
    return T5ForConditionalGeneration(config), [T5Model, T5EncoderModel]


def gpt2() -> tuple[PreTrainedModel, list[Any]]:
    """Two layers with `lm_head.weight` tied to `transformer.wte.weight`."""
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

    config = GPT2Config(vocab_size=VOCABULARY, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    return GPT2LMHeadModel(config), [GPT2Model]


def bert() -> tuple[PreTrainedModel, list[Any]]:
    """A masked model whose decoder and bias are tied to the embeddings and to a second bias."""
    from transformers import BertConfig, BertForMaskedLM, BertModel

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    return BertForMaskedLM(config), [BertModel]


MODELS = [llama, t5, gpt2, bert]


def save_torch(model: PreTrainedModel, directory: Path, *, alphabetical: bool) -> Path:
    """Save a model as torch does, every name of a tied tensor with it, and its configuration."""
    import torch

    model.config.save_pretrained(directory)
    state = model.state_dict()
    names = sorted(state) if alphabetical else list(state)
    torch.save({name: state[name] for name in names}, directory / "pytorch_model.bin")
    return directory


def assert_loads(model: PreTrainedModel, classes: list[Any], directory: Path) -> None:
    """The model's class and the base classes load, nothing is missing, and every tensor is equal.

    The base classes load without a pooler, which the whole model does not have.
    """
    for cls in (type(model), *classes):
        loaded, info = cls.from_pretrained(directory, output_loading_info=True)
        missing = {name for name in info["missing_keys"] if "pooler" not in name}
        assert not missing, (cls.__name__, missing)
        expected = model.state_dict()
        prefix = "" if cls is type(model) else f"{model.base_model_prefix}."
        for name, tensor in loaded.state_dict().items():
            if "pooler" not in name:
                assert_same(tensor, expected.get(name, expected.get(prefix + name)), name)


def assert_same(found: torch.Tensor, expected: torch.Tensor | None, name: str) -> None:
    """Two tensors have the same elements."""
    import torch

    assert expected is not None, name
    assert torch.equal(found, expected), name


@pytest.mark.parametrize("alphabetical", [False, True], ids=["model-order", "alphabetical"])
@pytest.mark.parametrize("shape", [["--single"], ["--num-shards", 3]], ids=["single", "shards"])
@pytest.mark.parametrize("make", MODELS)
def test_base_models_load_with_their_embeddings(
    tmp_path: Path,
    make: Callable[[], tuple[PreTrainedModel, list[Any]]],
    shape: list[object],
    *,
    alphabetical: bool,
) -> None:
    """From a tied `.bin`, in any order of its names, whole models and base models load equal."""
    model, classes = make()
    source = save_torch(model, tmp_path / "source", alphabetical=alphabetical)
    call_cli("reshard", source, tmp_path / "safe", "--to", "safetensors", *shape, "-q")
    assert_loads(model, classes, tmp_path / "safe")


@pytest.mark.parametrize("make", MODELS)
def test_what_the_hub_saved_gets_its_embeddings_back(
    tmp_path: Path, make: Callable[[], tuple[PreTrainedModel, list[Any]]]
) -> None:
    """What huggingface_hub saved under the alphabetically first names is written under those that
    the base models look for.
    """
    from huggingface_hub import save_torch_state_dict

    model, classes = make()
    model.config.save_pretrained(tmp_path / "source")
    save_torch_state_dict(model.state_dict(), tmp_path / "source", max_shard_size=4000)
    call_cli("reshard", tmp_path / "source", tmp_path / "safe", "--single", "-q")
    assert_loads(model, classes, tmp_path / "safe")
