"""Mixtures of experts: stacked and split again, transformers loads the same model from both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shardctl.planning.transform.expert_rules import KNOWN
from shardctl.torch import save_sharded
from tests.support.program import call_cli
from tests.support.state_dicts import assert_equal, load, result

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_COMMON = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
}


def mixtral() -> PreTrainedModel:
    """Experts in `block_sparse_moe`, called w1, w2 and w3."""
    from transformers import MixtralConfig, MixtralForCausalLM

    return MixtralForCausalLM(MixtralConfig(**_COMMON, num_local_experts=4, num_experts_per_tok=2))


def qwen2_moe() -> PreTrainedModel:
    """Experts in `mlp`, beside a shared one."""
    from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

    return Qwen2MoeForCausalLM(
        Qwen2MoeConfig(
            **_COMMON,
            moe_intermediate_size=8,
            shared_expert_intermediate_size=24,
            num_experts=4,
            num_experts_per_tok=2,
        )
    )


def qwen3_moe() -> PreTrainedModel:
    """Experts in `mlp`, with a head size that is not the quotient."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    return Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            **_COMMON, head_dim=8, moe_intermediate_size=8, num_experts=4, num_experts_per_tok=2
        )
    )


def deepseek_v3() -> PreTrainedModel:
    """A dense layer, and one with experts and a shared one."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    return DeepseekV3ForCausalLM(
        DeepseekV3Config(
            **_COMMON,
            moe_intermediate_size=8,
            n_routed_experts=4,
            n_shared_experts=1,
            n_group=1,
            topk_group=1,
            num_experts_per_tok=2,
            first_k_dense_replace=1,
            q_lora_rank=8,
            kv_lora_rank=8,
            qk_nope_head_dim=8,
            qk_rope_head_dim=8,
            v_head_dim=8,
        )
    )


def outputs(path: Path, kind: type[PreTrainedModel]) -> torch.Tensor:
    """What a model that is loaded from a directory says of a few tokens; nothing is missing."""
    import torch

    model, information = kind.from_pretrained(path, output_loading_info=True, dtype=torch.float32)
    assert not information["missing_keys"], information
    assert not information["unexpected_keys"], information
    with torch.no_grad():
        return model.eval()(torch.arange(12).reshape(2, 6)).logits


@pytest.mark.parametrize("make", [mixtral, qwen2_moe, qwen3_moe, deepseek_v3])
def test_both_forms_load_equal(make: Callable[[], PreTrainedModel], tmp_path: Path) -> None:
    """A model that was saved with a tensor for each expert, the same stacked, and split again, give
    equal outputs; the last has the bytes of the first, and the second those of the model itself.
    """
    import torch

    torch.manual_seed(0)
    model = make().eval()
    model.save_pretrained(tmp_path / "each")
    each = load(result(tmp_path / "each"))
    assert any(".experts.3." in name for name in each)
    expected = outputs(tmp_path / "each", type(model))
    call_cli("reshard", tmp_path / "each", tmp_path / "stacked", "--experts", "stack", "-q")
    stacked = load(result(tmp_path / "stacked"))
    assert not any(".experts.3." in name for name in stacked)
    own = {name.replace(".mlp.", ".ffn."): tensor for name, tensor in model.state_dict().items()}
    assert_equal(
        {
            name.replace(".mlp.", ".ffn.").replace(".block_sparse_moe.", ".ffn."): tensor
            for name, tensor in stacked.items()
        },
        own,
    )
    assert torch.equal(outputs(tmp_path / "stacked", type(model)), expected)
    call_cli("reshard", tmp_path / "stacked", tmp_path / "split", "--experts", "split", "-q")
    assert_equal(load(result(tmp_path / "split")), each)
    assert torch.equal(outputs(tmp_path / "split", type(model)), expected)
    written = json.loads((tmp_path / "split" / "config.json").read_text())
    assert written == json.loads((tmp_path / "each" / "config.json").read_text())


#: What single experts of Mixtral are called, whose stacked names in memory are those of Qwen2-MoE.
_FROM_MEMORY = """
"mlp.experts.gate_up_proj" = [
    "block_sparse_moe.experts.*.w1.weight", "block_sparse_moe.experts.*.w3.weight",
]
"mlp.experts.down_proj" = ["block_sparse_moe.experts.*.w2.weight"]
"""


def test_a_state_dict_from_memory_is_split_by_a_map(tmp_path: Path) -> None:
    """Mixtral has other names in memory than in its files. With the map that the documentation has,
    a state dict that was saved as it is becomes one of the files' names, which loads; and back.
    """
    import torch

    torch.manual_seed(0)
    model = mixtral().eval()
    save_sharded(model, tmp_path / "memory")
    stacked = load(result(tmp_path / "memory"))
    assert "model.layers.0.mlp.experts.gate_up_proj" in stacked
    (tmp_path / "map.toml").write_text(_FROM_MEMORY)
    options = ("--experts-map", tmp_path / "map.toml", "-q")
    call_cli("reshard", tmp_path / "memory", tmp_path / "split", "--experts", "split", *options)
    assert "model.layers.0.block_sparse_moe.experts.3.w3.weight" in load(result(tmp_path / "split"))
    model.save_pretrained(tmp_path / "each")
    expected = outputs(tmp_path / "each", type(model))
    assert torch.equal(outputs(tmp_path / "split", type(model)), expected)
    call_cli("reshard", tmp_path / "split", tmp_path / "back", "--experts", "stack", *options)
    assert_equal(load(result(tmp_path / "back")), stacked)


@pytest.mark.parametrize(
    "family",
    [
        "mixtral", "minimax", "minimax_m2", "phimoe", "qwen2_moe", "qwen3_moe", "qwen3_next",
        "deepseek_v2", "deepseek_v3", "olmoe", "glm4_moe", "ernie4_5_moe", "dots1",
        "hunyuan_v1_moe", "jamba", "lfm2_moe", "nemotron_h", "deepseek_v4",
    ],
)  # fmt: skip
def test_the_table_is_that_of_transformers(family: str) -> None:
    """Each tensor that transformers stacks of a family has a rule with the same parts, in order."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from transformers.core_model_loading import MergeModulelist

    def ends(name: str, pattern: str) -> bool:
        return f".{name}".endswith("." + pattern.replace("\\.", ".").removeprefix("."))

    stacked = [
        rule
        for rule in get_checkpoint_conversion_mapping(family)
        if any(isinstance(each, MergeModulelist) for each in getattr(rule, "operations", ()))
    ]
    assert len(stacked) == 2
    for rule in stacked:
        parts, (whole,) = list(rule.source_patterns), rule.target_patterns
        assert any(
            len(known.parts) == len(parts)
            and all(map(ends, known.parts, parts))
            and ends(known.stacked, whole)
            for known in KNOWN
        ), rule
