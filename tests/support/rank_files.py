"""What several processes save, each with its part of every tensor, made by one process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

#: Processes that save.
RANKS = 3


def save_ranks(state: Mapping[str, torch.Tensor], directory: Path) -> Path:
    """Save the state dicts of ranks, with DTensors that are divided along their last axis."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard
    from torch.testing._internal.distributed.fake_pg import FakeStore

    directory.mkdir(parents=True)
    for rank in range(RANKS):
        # Of the kind `fake`, a group has one process, which believes in the others.
        dist.init_process_group("fake", rank=rank, world_size=RANKS, store=FakeStore())
        try:
            mesh = init_device_mesh("cpu", (RANKS,))
            held: dict[str, torch.Tensor] = {}
            for name, tensor in state.items():
                axis = tensor.dim() - 1
                held[name] = tensor.clone()
                if tensor.numel() and tensor.dim():
                    held[name] = DTensor.from_local(
                        _part(tensor, rank, axis),
                        mesh,
                        [Shard(axis)],
                        run_check=False,
                        shape=tensor.shape,
                        stride=tensor.contiguous().stride(),
                    )
            torch.save(held, directory / f"model_world_size_{RANKS}_rank_{rank}.pt")
        finally:
            dist.destroy_process_group()
    return directory


def save_slices(state: Mapping[str, torch.Tensor], directory: Path) -> Path:
    """Save slices along the first axis as torch's writer for the hub does, one file a rank."""
    from safetensors.torch import save_file

    directory.mkdir(parents=True)
    for rank in range(RANKS):
        parts: dict[str, torch.Tensor] = {}
        offsets: dict[str, object] = {}
        for name, tensor in state.items():
            if not tensor.dim() or not tensor.shape[0]:
                if rank == 0:
                    parts[name] = tensor.clone()
                    offsets[name] = {"saved_offsets": [0] * tensor.dim()}
                continue
            part = _part(tensor, rank, 0)
            if part.numel():
                step = -(-tensor.shape[0] // RANKS)
                parts[name] = part
                offsets[name] = {"saved_offsets": [rank * step] + [0] * (tensor.dim() - 1)}
        save_file(
            parts,
            directory / f"shard-{rank + 1:05d}-model-00001-of-00001.safetensors",
            metadata={"DCP_VERSION": "1", "DCP_SHARDING_INFO": json.dumps(offsets)},
        )
    return directory


def _part(tensor: torch.Tensor, rank: int, axis: int) -> torch.Tensor:
    """The chunk of a rank, which may be empty."""
    chunks = tensor.chunk(RANKS, axis)
    part = chunks[rank] if rank < len(chunks) else tensor.narrow(axis, 0, 0)
    return part.clone(memory_format=torch.contiguous_format)
