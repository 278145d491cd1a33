"""ZeRO checkpoints in a store in memory, laid out as DeepSpeed 0.19 saves them, or not quite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from shardctl.testing.memory import MemoryStore
from tests.support.dcp_files import saved
from tests.support.memory_checkpoints import put

#: What the files of a step hold, by name: to be changed before they are put into a store.
Files = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Trained:
    """A model that is trained: the parameters of each group, and those that are not trained.

    `shared` are names of parameters with the name that has the values. The module computes in
    bfloat16, and the parameters are trained as they are.
    """

    groups: tuple[Mapping[str, torch.Tensor], ...]
    frozen: Mapping[str, torch.Tensor] = field(default_factory=dict)
    buffers: Mapping[str, torch.Tensor] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """The trained parameters of all groups."""
        return {name: value for group in self.groups for name, value in group.items()}

    def whole(self) -> dict[str, torch.Tensor]:
        """What should be read."""
        values = {**self.parameters, **self.frozen, **self.buffers}
        return values | {name: values[kept] for name, kept in self.shared.items()}


def sample(seed: int = 0) -> Trained:
    """A model with two groups, a scalar, tied, frozen and other parameters, and buffers."""
    random = torch.Generator().manual_seed(seed)

    def made(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    return Trained(
        groups=(
            {"embed.weight": made(11, 5), "a.weight": made(7, 5)},
            {"a.bias": made(7), "scale": made(), "none": made(0, 3)},
        ),
        frozen={"frozen.weight": made(3, 7).bfloat16()},
        buffers={"norm.mean": made(5).bfloat16(), "ids": torch.arange(4)},
        shared={"head.weight": "embed.weight"},
    )


def step(model: Trained, stage: int, ranks: int, *, alignment: int = 1) -> Files:
    """The files of a step of that stage, saved by so many ranks.

    With an `alignment`, parameters that are joined begin at a multiple of it.
    """
    if stage == 3:
        return _one_by_one(model, ranks)
    return _joined(model, stage, ranks, alignment)


def put_step(store: MemoryStore, files: Files, directory: str = "d") -> None:
    """Write the files of a step."""
    for name, value in files.items():
        put(store, f"{directory}/{name}", saved(value))


def optimizer_file(rank: int) -> str:
    """The name of the file of a rank."""
    return f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"


def model_file(stage: int, rank: int = 0) -> str:
    """The name of the file of the model."""
    return f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt" if stage == 3 else MODEL


MODEL = "mp_rank_00_model_states.pt"


def _joined(model: Trained, stage: int, ranks: int, alignment: int) -> Files:
    """Parameters of a group are joined, padded, and cut in equal parts."""
    parts: list[list[torch.Tensor]] = [[] for _ in range(ranks)]
    paddings = [[-value.numel() % alignment for value in group.values()] for group in model.groups]
    for group, after in zip(model.groups, paddings, strict=True):
        pieces = [
            torch.cat([value.reshape(-1), torch.zeros(padding)])
            for value, padding in zip(group.values(), after, strict=True)
        ]
        vector = torch.cat(pieces)
        padded = torch.cat([vector, torch.zeros(-len(vector) % (2 * ranks))])
        for rank, part in enumerate(padded.chunk(ranks)):
            parts[rank].append(part.clone())
    module = {name: value.bfloat16() for name, value in model.parameters.items()}
    files = {MODEL: _model_states(model, module, dict(model.frozen))}
    for rank, vectors in enumerate(parts):
        state = {
            "single_partition_of_fp32_groups": vectors,
            "param_alignment_paddings": paddings,
        }
        files[optimizer_file(rank)] = _optimizer_states(stage, ranks, len(vectors), state)
    return files


def _one_by_one(model: Trained, ranks: int) -> Files:
    """Each parameter is padded and cut in equal parts; a group is a vector of such parts."""
    files: Files = {}
    module = {name: torch.empty(0).bfloat16() for name in model.parameters}
    for rank in range(ranks):
        frozen = {name: part_of(value, rank, ranks) for name, value in model.frozen.items()}
        files[model_file(3, rank)] = _model_states(model, module, frozen)
        groups = [
            torch.cat([part_of(value, rank, ranks) for value in group.values()])
            for group in model.groups
        ]
        state = {"fp32_flat_groups": groups}
        files[optimizer_file(rank)] = _optimizer_states(3, ranks, ranks, state)
    return files


def part_of(value: torch.Tensor, rank: int, ranks: int) -> torch.Tensor:
    """The part of a parameter that a rank has in stage 3."""
    vector = value.reshape(-1)
    padding = torch.zeros(-len(vector) % ranks, dtype=value.dtype)
    return torch.cat([vector, padding]).chunk(ranks)[rank].clone() if len(vector) else vector


def _model_states(
    model: Trained, module: Mapping[str, torch.Tensor], frozen: Mapping[str, torch.Tensor]
) -> dict[str, Any]:
    values = {**module, **model.frozen, **model.buffers}
    values |= {name: values[kept] for name, kept in model.shared.items()}
    return {
        "module": values,
        "buffer_names": list(model.buffers),
        "optimizer": None,
        "param_shapes": [
            {name: value.shape for name, value in group.items()} for group in model.groups
        ],
        "frozen_param_shapes": {name: value.shape for name, value in model.frozen.items()},
        "frozen_param_fragments": dict(frozen),
        "shared_params": dict(model.shared),
        "global_steps": 2,
        "ds_version": "0.19.8",
    }


def _optimizer_states(
    stage: int, ranks: int, groups: int, vectors: dict[str, Any]
) -> dict[str, Any]:
    counts = [ranks] * groups if stage < 3 else ranks
    moments = {"state": {0: {"exp_avg": torch.zeros(8)}}, "param_groups": [{"lr": 0.1}]}
    state: dict[str, Any] = {
        "zero_stage": stage,
        "partition_count": counts,
        "base_optimizer_state": moments,
    }
    return {"optimizer_state_dict": state | vectors, "ds_config": {}, "ds_version": "0.19.8"}
