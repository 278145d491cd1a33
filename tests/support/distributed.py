"""Checkpoints that several processes save with torch: run as a program, once for each process."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.processes import join_group, leave_group, run_processes

#: How many elements the tensors of `whole` have along each dimension.
SHAPES = {
    "embed.weight": (7, 5),
    "layers.0.rows.weight": (8, 6),
    "layers.0.columns.weight": (6, 8),
    "layers.0.both.weight": (5, 7),
    "layers.0.mlp.experts.gate_up_proj": (4, 12, 8),
    "layers.0.mlp.experts.down_proj": (4, 8, 6),
    "norm.weight": (3,),
    "few.weight": (1, 4),
}


def save_distributed(directory: Path, processes: int) -> None:
    """Save the tensors of `whole` from so many processes, in every way that torch has."""
    run_processes("tests.support.distributed", processes, directory)


def _save(directory: Path) -> None:
    import torch
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.filesystem import FileSystemWriter, SerializationFormat
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
    from torch.distributed.tensor.placement_types import _StridedShard

    processes = dist.get_world_size()
    torch.manual_seed(0)
    whole = {name: torch.randn(shape) for name, shape in SHAPES.items()}
    whole["layers.0.columns.weight"] = whole["layers.0.columns.weight"].bfloat16()
    flat = init_device_mesh("cpu", (processes,))
    grid = init_device_mesh("cpu", (2, processes // 2))
    parts = {
        "embed.weight": distribute_tensor(whole["embed.weight"], flat, [Shard(0)]),
        "layers.0.rows.weight": distribute_tensor(whole["layers.0.rows.weight"], flat, [Shard(0)]),
        "layers.0.columns.weight": distribute_tensor(
            whole["layers.0.columns.weight"], flat, [Shard(1)]
        ),
        "layers.0.both.weight": distribute_tensor(
            whole["layers.0.both.weight"], grid, [Shard(0), Shard(1)]
        ),
        "layers.0.mlp.experts.gate_up_proj": distribute_tensor(
            whole["layers.0.mlp.experts.gate_up_proj"], flat, [Shard(0)]
        ),
        "layers.0.mlp.experts.down_proj": distribute_tensor(
            whole["layers.0.mlp.experts.down_proj"], grid, [Shard(1), Shard(2)]
        ),
        "norm.weight": distribute_tensor(whole["norm.weight"], flat, [Replicate()]),
        "few.weight": distribute_tensor(whole["few.weight"], flat, [Shard(0)]),
    }
    plain = {"steps": torch.arange(10).reshape(5, 2), "scale": torch.tensor(2.5)}
    model = {**parts, **plain}
    if dist.get_rank() == 0:
        torch.save({**whole, **plain}, directory / "whole.pt")
    nested = {"model": model, "optimizer": {"lr": 0.1, "step": 3}, "epoch": 2}
    dcp.save(nested, checkpoint_id=directory / "dcp")
    dcp.save(
        model,
        storage_writer=FileSystemWriter(
            directory / "slices", serialization_format=SerializationFormat.SAFETENSORS
        ),
    )
    dcp.save(
        model,
        storage_writer=dcp.HuggingFaceStorageWriter(str(directory / "hub"), save_distributed=True),
    )
    name = f"model_world_size_{processes}_rank_{dist.get_rank()}.pt"
    (directory / "ranks").mkdir(exist_ok=True)
    torch.save(model, directory / "ranks" / name)
    # What only state dicts of ranks can hold: shares that do not follow one another.
    folds = (grid, [_StridedShard(0, split_factor=processes // 2), Shard(0)])
    placed = {
        "strided.weight": folds,
        "twice.weight": (grid, [Shard(0), Shard(0)]),
        "mixed.weight": (grid, [Shard(1), Replicate()]),
        "apart.weight": (flat, [_StridedShard(0, split_factor=2)]),
        "both.weight": (grid, [_StridedShard(1, split_factor=3), Shard(0)]),
    }
    more = {each: torch.randn(8, 12) for each in placed}
    (directory / "shares").mkdir(exist_ok=True)
    if dist.get_rank() == 0:
        tied = {"tied.weight": more["twice.weight"]}
        torch.save({"module": more | tied}, directory / "shares.pt")
    shares = {
        each: distribute_tensor(more[each], mesh, list(how)) for each, (mesh, how) in placed.items()
    }
    shares["tied.weight"] = shares["twice.weight"]
    torch.save({"module": shares}, directory / "shares" / name)
    (directory / "sums").mkdir(exist_ok=True)
    sums = {"a.weight": DTensor.from_local(more["strided.weight"], flat, [Partial()])}
    torch.save(sums, directory / "sums" / name)
    _save_fsdp1(directory, name)


def _save_fsdp1(directory: Path, name: str) -> None:
    """Save the state dict of a model in FSDP1's way, of each rank its shards."""
    import torch
    from torch import distributed as dist
    from torch import nn
    from torch.distributed.fsdp import FullyShardedDataParallel, StateDictType

    torch.manual_seed(1)
    model = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 9), nn.LayerNorm(1))
    model.register_buffer("steps", torch.arange(4))
    if dist.get_rank() == 0:
        torch.save(model.state_dict(), directory / "fsdp1.pt")
    wrapped = FullyShardedDataParallel(model, device_id=torch.device("cpu"))
    with FullyShardedDataParallel.state_dict_type(wrapped, StateDictType.SHARDED_STATE_DICT):
        shards = wrapped.state_dict()
    (directory / "fsdp1").mkdir(exist_ok=True)
    torch.save(shards, directory / "fsdp1" / name)


if __name__ == "__main__":
    join_group()
    _save(Path(sys.argv[1]))
    leave_group()
