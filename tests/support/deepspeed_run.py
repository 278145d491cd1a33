"""A small model that several processes train with DeepSpeed and save: run as a program by each.

DeepSpeed is the group `training` of pyproject.toml.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.support.processes import join_group, leave_group


def main(directory: str, options: str) -> None:
    """Train for two steps, and save; `options` are those of ZeRO, as JSON.

    Their `precision`, which is taken out, is bf16, or fp16, of which DeepSpeed says that a CPU has
    none.
    """
    import deepspeed
    import torch
    from deepspeed.accelerator import get_accelerator
    from torch import nn

    class Model(nn.Module):  # type: ignore[misc] # torch is only in part annotated
        """Tied, frozen and other parameters, of numbers of elements that no rank divides."""

        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(11, 5)
            self.up = nn.Linear(5, 7)
            self.frozen = nn.Linear(7, 3)
            self.down = nn.Linear(3, 5, bias=False)
            self.norm = nn.LayerNorm(5)
            self.head = nn.Linear(5, 11, bias=False)
            self.head.weight = self.embed.weight
            self.frozen.requires_grad_(requires_grad=False)
            self.register_buffer("mean", torch.randn(3))

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            hidden = self.down(self.frozen(self.up(self.embed(tokens))))
            return self.head(self.norm(hidden)).float().square().mean()

    # It would be compiled, for a kind of communication that is not used.
    sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # type: ignore[attr-defined]
    zero = json.loads(options)
    precision = zero.pop("precision", "bf16")
    type(get_accelerator()).is_fp16_supported = lambda _: True
    join_group()
    deepspeed.init_distributed("gloo")
    torch.manual_seed(0)
    model = Model()
    trained = [value for value in model.parameters() if value.requires_grad]
    groups = [
        {"params": [value for value in trained if value.ndim > 1], "weight_decay": 0.1},
        {"params": [value for value in trained if value.ndim == 1], "weight_decay": 0.0},
    ]
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 2,
        "zero_optimization": zero,
        precision: {"enabled": True},
    }
    engine, *_ = deepspeed.initialize(
        model=model, config=config, optimizer=torch.optim.AdamW(groups, lr=0.05)
    )
    for _ in range(2):
        engine.backward(engine(torch.randint(0, 11, (4,))))
        engine.step()
    engine.save_checkpoint(directory, client_state={"epoch": 1})
    leave_group()


def consolidate(directory: str, target: str) -> None:
    """Save what DeepSpeed's own script makes of a checkpoint."""
    import torch
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    torch.save(get_fp32_state_dict_from_zero_checkpoint(directory), Path(target))


if __name__ == "__main__":
    os.environ["DS_ACCELERATOR"] = "cpu"
    {"train": main, "consolidate": consolidate}[sys.argv[1]](*sys.argv[2:])
