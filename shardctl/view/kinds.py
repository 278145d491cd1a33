"""What a tensor is for, by the usual names of modules: attention, MLP, expert, and so on."""

from __future__ import annotations

import re

#: The kinds of tensors, and of what is known by none of the names below: `OTHER`.
OTHER = "other"
KINDS = ("attention", "MLP", "embedding", "expert", "norm", OTHER)
#: Characters of a name that are looked at: a name can be megabytes long.
_MOST_COMPARED = 1000

#: The names of modules, each kind before those whose modules it can lie in: norms are part of
#: attention and of embeddings, experts have an MLP each. Source: the state dicts of models in
#: transformers 5.24, timm and diffusers, and the original releases of Llama and Mistral.
_NAMES = {
    "norm": r"\w*norm\w*|ln(_\w+)?|ln\d",
    "expert": r"(\w+_)?experts?(_\w+)?|\w*moe",
    "attention": r"\w*attn\w*|\w*attention\w*|[qkvo]_proj|qkv(_proj)?|query_key_value|w[qkvo]|"
    r"query|key|value|to_[qkv]|to_out",
    "MLP": r"mlp\w*|ffn?(_\w+)?|feed_?forward\w*|fc\d?|fc_(in|out)|dense_h_to_4h|dense_4h_to_h|"
    r"(gate|up|down|gate_up)_proj|c_fc|w[123]|densereludense|intermediate|output(?=\.dense)",
    "embedding": r"\w*embed\w*|w[tp]e|shared|lm_head|output|classifier",
}
_PATTERNS = {kind: re.compile(rf"(^|\.)({names})(\.|$)") for kind, names in _NAMES.items()}


def kind_of(name: str) -> str:
    """Return the kind of a tensor, one of `KINDS`, by its dotted name.

    The output head is an embedding: it has the shape of one, and often is the same tensor.
    """
    lowered = name[-_MOST_COMPARED:].lower()
    return next((kind for kind, known in _PATTERNS.items() if known.search(lowered)), OTHER)
