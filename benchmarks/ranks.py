"""Save the model of the benchmarks as several processes do, each of which holds a slice of it.

    python -m torch.distributed.run --nproc-per-node RANKS -m benchmarks.ranks HIDDEN DCP SLICES

Every tensor is divided along its first dimension, as FSDP2 does. DCP gets torch's own distributed
checkpoint, SLICES the safetensors files that torch's writer for the hub leaves to be consolidated.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from benchmarks.sources import shapes


def slices(hidden: int) -> dict[str, Any]:
    """Return this process's slice of every tensor: random numbers, the same for all."""
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard

    ranks = torch.distributed.get_world_size()
    mesh = init_device_mesh("cpu", (ranks,))
    generator = torch.Generator().manual_seed(torch.distributed.get_rank())
    chunk = torch.randn(2**20, generator=generator).bfloat16()
    state = {}
    for name, (rows, *rest) in shapes(hidden):
        if rows % ranks:
            raise ValueError(f"{rows} rows of '{name}' cannot be divided evenly by {ranks}")
        local = torch.empty(rows // ranks, *rest, dtype=torch.bfloat16)
        repeats = -(-local.numel() // len(chunk))
        local.view(-1).copy_(chunk.repeat(repeats)[: local.numel()])
        state[name] = DTensor.from_local(local, mesh, [Shard(0)])
    return state


def main(hidden: str, dcp: str, sliced: str) -> None:
    """Save both."""
    import torch.distributed.checkpoint

    torch.distributed.init_process_group("gloo")
    state = slices(int(hidden))
    torch.distributed.checkpoint.save(state, checkpoint_id=dcp)
    writer = torch.distributed.checkpoint.HuggingFaceStorageWriter(sliced, save_distributed=True)
    torch.distributed.checkpoint.save(state, storage_writer=writer)
    torch.distributed.barrier()
    # Threads of the group can abort an interpreter that is taken down.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
