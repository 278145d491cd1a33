"""A checkpoint whose headers were read, with its tensors by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from shardctl.api.settings import Location
from shardctl.engine.found import find_checkpoint
from shardctl.engine.sources import Sources
from shardctl.findings import strict
from shardctl.model import Checkpoint, Tensor
from shardctl.source.read import read_checkpoint
from shardctl.storages import named_tensors
from shardctl.stores.base import Store
from shardctl.stores.registry import open_store


@dataclass(frozen=True, slots=True)
class Opened:
    """A checkpoint, its store, and its tensors by name: recorded names of tied tensors too."""

    store: Store
    checkpoint: Checkpoint
    tensors: Mapping[str, Tensor]
    files: tuple[str, ...]

    def sources(self) -> Sources:
        """Return the files, to be read in the versions whose headers were read."""
        return Sources.of(self.store, self.checkpoint)


def read_headers(location: Location, key: str | None, variant: str | None = None) -> Opened:
    """Read the headers of a checkpoint, with all the checks of its files and its index.

    `key` chooses a nested state dict; values beside the tensors are left out. `variant` chooses one
    of several checkpoints in a directory. Raises InputError for whatever is wrong, and UsageError
    where a directory has several checkpoints.
    """
    store, path = open_store(os.fspath(location))
    located = find_checkpoint(store, path, variant=variant)
    checkpoint = read_checkpoint(store, located, strict, key, drop_non_tensors=True)
    tensors = named_tensors(checkpoint)
    names = located.completed(checkpoint).names(store)
    return Opened(store, checkpoint, tensors, tuple(names[file.path] for file in checkpoint.files))
