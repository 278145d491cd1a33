"""Load a directory with transformers, huggingface_hub and accelerate, and say what was loaded."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import load_checkpoint_in_model
from huggingface_hub import load_torch_model
from transformers import PretrainedConfig, PreTrainedModel

#: Not loaded: the loader raised, or left a tensor as it was.
FAILS = 0


class _Config(PretrainedConfig):  # type: ignore[misc] # transformers is not annotated
    """A configuration with nothing in it."""

    model_type = "three-tensors"


class _Model(PreTrainedModel):  # type: ignore[misc] # as above
    """Three tensors of four elements, `a`, `b` and `c`."""

    config_class = _Config

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        for name in "abc":
            setattr(self, name, torch.nn.Parameter(torch.zeros(4)))
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Leave what is missing at 0."""


def loaded(directory: Path) -> tuple[int, int, int]:
    """Return the generation that transformers, the hub's library and accelerate load of it."""
    return _transformers(directory), _hub(directory), _accelerate(directory)


def _transformers(directory: Path) -> int:
    try:
        return _generation(_Model.from_pretrained(directory, config=_Config()))
    except Exception:  # whatever the loader raises, it fails
        return FAILS


def _hub(directory: Path) -> int:
    model = _Model(_Config())
    try:
        load_torch_model(model, directory, strict=True, safe=False)
    except Exception:  # as above
        return FAILS
    return _generation(model)


def _accelerate(directory: Path) -> int:
    model = _Model(_Config())
    try:
        load_checkpoint_in_model(model, directory)
    except Exception:  # as above
        return FAILS
    return _generation(model)


def _generation(model: torch.nn.Module) -> int:
    """The one number in all elements; 0 where they differ, because some were not loaded."""
    values = {value for tensor in model.state_dict().values() for value in tensor.tolist()}
    return int(values.pop()) if len(values) == 1 else FAILS
