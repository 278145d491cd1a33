"""What loading a file would do to whoever loads it, as findings, and advice that is safe to take.

The hints never send to a program that loads a pickle which would import what torch's
`weights_only` does not allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shardctl.findings import Finding
from shardctl.model import NonTensor
from shardctl.sizes import format_size
from shardctl.text import escape

#: The advice for files that may have been crafted.
DO_NOT_LOAD = "do not load it: get the checkpoint from a source that you trust"
_CONVERT = (
    "do not load it with torch: shardctl reads its tensors and runs nothing, so they can be "
    "converted to safetensors"
)
_SHOWN = 5
#: How the kind of a tensor begins whose values are not yet those of its bytes.
LAZY = "torch.Tensor that is changed when it is loaded"
#: What a pickle holds that imports from a module, where no tensors can be read from it.
_CONTENTS = {
    "transformers.training_args": "the arguments of a Trainer",
    "argparse": "the arguments of a training script",
    "sklearn": "a scikit-learn object",
    "joblib": "an object that joblib saved",
    "xgboost": "an XGBoost model",
    "lightgbm": "a LightGBM model",
    "catboost": "a CatBoost model",
    "pandas": "a pandas table",
    "keras": "a Keras object",
    "tensorflow": "a TensorFlow object",
    "spacy": "a spaCy object",
    "paddle": "a PaddlePaddle object",
}


def unsafe_finding(names: Sequence[str], path: str, *, readable: bool) -> Finding:
    """`pickle-unsafe`, for names that `weights_only` does not allow.

    `readable`: all tensors can be read.
    """
    some = ", ".join(escape(name[:200]) for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    message = f"loading it would import {some}{more}: with `weights_only=False` that runs code"
    contents = None if readable else _contents(names)
    if contents is not None:
        message = f"the file holds {contents}, not weights; {message}"
    return Finding("pickle-unsafe", "error", message, _CONVERT if readable else DO_NOT_LOAD, path)


def _contents(names: Iterable[str]) -> str | None:
    """Return what a pickle holds, by the first module that says so; None for an unknown one."""
    modules = [f"{name}." for name in names]
    return next(
        (
            what
            for module, what in _CONTENTS.items()
            if any(name.startswith(f"{module}.") for name in modules)
        ),
        None,
    )


def refused_finding(refused: Sequence[str], path: str) -> Finding:
    """`pickle-unsafe` as a warning.

    Nothing is imported, but `torch.load` refuses the file by default.
    """
    some = ", ".join(map(escape, refused[:_SHOWN])) + (", …" if len(refused) > _SHOWN else "")
    message = (
        f"`torch.load` refuses it, at least with its default `weights_only=True`: it uses {some}"
    )
    hint = "convert it to safetensors, or let shardctl write it as a new .bin"
    return Finding("pickle-unsafe", "warning", message, hint, path)


def memory_finding(allocations: Iterable[tuple[str, int]], path: str) -> Finding:
    """`pickle-memory`: calls that take memory by a number, whatever the file holds."""
    listed = sorted(allocations, key=lambda made: -made[1])
    some = ", ".join(f"{escape(name)} ({_shown(nbytes)})" for name, nbytes in listed[:_SHOWN])
    message = f"loading it would allocate memory that the file does not hold: {some}"
    return Finding("pickle-memory", "error", message, DO_NOT_LOAD, path)


def unread_finding(value: NonTensor, path: str) -> Finding:
    """`tensor-unread`: a tensor, or an object that holds tensors, which shardctl does not read."""
    return Finding(
        "tensor-unread", "error", _unread_message(value), hint_for(value), path, value.name
    )


def _unread_message(value: NonTensor) -> str:
    """What an unread entry is, and what it holds."""
    if "meta" in value.kind:
        return f"the tensor has no data: it was saved while offloaded ({escape(value.kind[:200])})"
    held = ""
    if value.storages:
        noun = "storage" if value.storages == 1 else "storages"
        held = f" with {value.storages:,} {noun} of {value.nbytes:,} bytes"
    return f"the entry is a {escape(value.kind[:200])}{held}, which shardctl does not read"


def hint_for(value: NonTensor) -> str:
    """What to do about an entry that is not read: never to leave it out, never to load the file."""
    kind = value.kind
    if kind.startswith(LAZY):
        return "where it was made, resolve it (`resolve_conj()`, `resolve_neg()`) and save it again"
    if "meta" in kind:
        return "save it again with its weights loaded, not on the meta device"
    if kind.startswith(("torch.sparse", "torch._utils._rebuild_")):
        return "where it was made, make it plain (`to_dense()`, `dequantize()`) and save it so"
    if "numpy" in kind:
        return "where it was made, save it as a tensor (`torch.from_numpy`)"
    if "DTensor" in kind or "ShardedTensor" in kind:
        return "where it was made, save whole tensors (`full_tensor()`)"
    return "where it was made, save plain tensors: `model.state_dict()` instead of the model"


def _shown(nbytes: int) -> str:
    return format_size(nbytes) if nbytes < 1 << 60 else "more than any memory"
