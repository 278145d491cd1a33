"""Which file each upstream loader takes of a directory with several checkpoints.

Source: the order in which `_get_resolved_checkpoint_files` of transformers 5.23
(`modeling_utils.py`), `load_torch_model` of huggingface_hub 2.4 (`serialization/_torch.py`) and
`load_checkpoint_in_model` of accelerate 1.15 (`utils/modeling.py`) look for names. They look for
those of safetensors and torch only, whatever other formats there are.
"""

from __future__ import annotations

from collections.abc import Sequence

from shardctl.source.directory.candidates import Candidate

_SINGLE, _SINGLE_TORCH = "model.safetensors", "pytorch_model.bin"
_SHARDED, _SHARDED_TORCH = f"{_SINGLE}.index.json", f"{_SINGLE_TORCH}.index.json"
#: Given for a loader that fails.
NOTHING = "none"


def loader_choices(candidates: Sequence[Candidate]) -> dict[str, str]:
    """Return by loader the name that it takes of a directory with these checkpoints, or "none".

    No loader takes a variant unasked, but the hub's takes the only file with the right suffix,
    whatever its name (of torch only where it is allowed, with `safe=False`). accelerate also takes
    the only index.
    """
    present = {candidate.choice for candidate in candidates if candidate.variant is None}
    indexes = [candidate.choice for candidate in candidates if candidate.index is not None]
    files = [name for candidate in candidates for name in candidate.files]
    only = [name for like in (_SINGLE, _SINGLE_TORCH) for name in _only(files, like)]
    orders = {
        "transformers": (_SINGLE, _SHARDED, _SINGLE_TORCH, _SHARDED_TORCH),
        "huggingface_hub": (_SHARDED, _SHARDED_TORCH, *only),
        "accelerate": (_SINGLE_TORCH, _SINGLE, *(indexes if len(indexes) == 1 else ())),
    }
    return {
        loader: next((name for name in order if name in {*present, *only, *indexes}), NOTHING)
        for loader, order in orders.items()
    }


def _only(files: Sequence[str], like: str) -> list[str]:
    """Return the only file with the suffix of another name; none where there are several."""
    having = [name for name in files if name.endswith(like[like.rindex(".") :])]
    return having if len(having) == 1 else []
