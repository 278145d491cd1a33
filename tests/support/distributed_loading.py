"""Load a distributed checkpoint into a model that several processes share: run once for each."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.processes import join_group, leave_group


def _load(directory: Path) -> None:
    import torch
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    whole = torch.load(directory / "whole.pt")
    with torch.device("meta"):
        model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 1))
    for layer in (*model, model):
        fully_shard(layer, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    model.to_empty(device="cpu")
    state = {"model": model.state_dict()}
    dcp.load(state, checkpoint_id=directory / "dcp")
    model.load_state_dict(state["model"])
    for name, parameter in model.named_parameters():
        assert isinstance(parameter, DTensor)
        assert torch.equal(parameter.full_tensor(), whole[name]), name


if __name__ == "__main__":
    join_group()
    _load(Path(sys.argv[1]))
    leave_group()
