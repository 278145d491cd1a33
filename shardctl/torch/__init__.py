"""Save and load models of torch, shard by shard. Needs the extra `torch`.

    save_sharded(model, "sharded", max_shard_size="200MB")
    load_sharded_checkpoint(model, "sharded")
    weights = shardctl.torch.open("sharded")      # a lazy mapping of names to tensors

Files are planned, written and replaced as the functions of `shardctl` do it; a pickle is never
executed. The bytes go straight between the files and the memory of the tensors.
"""

from __future__ import annotations

from shardctl.torch.loading.load import IncompatibleKeys, load_sharded_checkpoint
from shardctl.torch.loading.mismatch import MismatchError, PartlyLoadedError
from shardctl.torch.saving.save import save_sharded
from shardctl.torch.state_dict import (
    StateDict,
    TensorSlice,
    open,  # noqa: A004 - as `gzip.open` and `tarfile.open` are called
)

__all__ = [
    "IncompatibleKeys",
    "MismatchError",
    "PartlyLoadedError",
    "StateDict",
    "TensorSlice",
    "load_sharded_checkpoint",
    "open",
    "save_sharded",
]
