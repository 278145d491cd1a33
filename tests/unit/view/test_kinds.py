"""What tensors are for, by their names."""

from __future__ import annotations

import pytest

from shardctl.view.kinds import KINDS, kind_of

NAMES = {
    "attention": [
        "model.layers.0.self_attn.q_proj.weight",
        "transformer.h.3.attn.c_attn.bias",
        "bert.encoder.layer.1.attention.output.dense.weight",
        "decoder.block.0.layer.1.EncDecAttention.q.weight",
        "layers.0.attention.wq.weight",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight",
        "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight",
    ],
    "MLP": [
        "model.layers.0.mlp.gate_proj.weight",
        "transformer.h.3.mlp.c_fc.bias",
        "bert.encoder.layer.1.intermediate.dense.weight",
        "bert.encoder.layer.1.output.dense.weight",
        "layers.0.feed_forward.w1.weight",
        "encoder.block.0.layer.1.DenseReluDense.wi.weight",
    ],
    "embedding": [
        "model.embed_tokens.weight",
        "lm_head.weight",
        "transformer.wte.weight",
        "shared.weight",
        "tok_embeddings.weight",
        "output.weight",
        "bert.embeddings.word_embeddings.weight",
    ],
    "expert": [
        "model.layers.0.mlp.experts.63.down_proj.weight",
        "model.layers.0.block_sparse_moe.gate.weight",
        "model.layers.0.mlp.shared_expert.up_proj.weight",
    ],
    "norm": [
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.self_attn.q_norm.weight",
        "bert.embeddings.LayerNorm.bias",
        "transformer.h.0.ln_1.weight",
        "transformer.ln_f.weight",
        "blocks.0.norm1.weight",
    ],
    "other": ["x", "", "step", "model.layers.0.mixer.A_log", "conv1.weight"],
}


@pytest.mark.parametrize(("kind", "names"), NAMES.items())
def test_usual_names_are_known(kind: str, names: list[str]) -> None:
    """The names of common models say what their tensors are for; others are of no known kind."""
    assert {name: kind_of(name) for name in names} == dict.fromkeys(names, kind)
    assert kind in KINDS


def test_long_names_are_told_by_their_end() -> None:
    """Of a name of megabytes its end is looked at."""
    assert kind_of(f"{'mlp.' * 1_000_000}x.self_attn.q.weight") == "attention"
