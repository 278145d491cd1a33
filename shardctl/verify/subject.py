"""What is checked: one checkpoint, as far as it could be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shardctl.model import Checkpoint, Tensor
from shardctl.source.locate import Located
from shardctl.stores.base import Store


@dataclass(frozen=True, slots=True)
class Subject:
    """One checkpoint to check, as far as it could be read."""

    store: Store
    located: Located
    checkpoint: Checkpoint

    @property
    def names(self) -> Mapping[str, str]:
        """The names of the files in the directory, by path."""
        return self.located.names(self.store)

    @property
    def tensors(self) -> Mapping[str, list[Tensor]]:
        """The tensors of each file, by its path."""
        held: dict[str, list[Tensor]] = {file.path: [] for file in self.checkpoint.files}
        for tensor in self.checkpoint.tensors:
            held[tensor.storage.extent.path].append(tensor)
        return held

    def may_hold(self) -> Callable[[str], bool]:
        """Return whether a tensor of a name may be in a file that could not be read whole.

        With an index, in the file that it gives; without one, in any.
        """
        incomplete, index = self.checkpoint.incomplete, self.checkpoint.index
        if not incomplete or index is None:
            return lambda _: bool(incomplete)
        names = self.names
        shards = {names[path] for path in incomplete}
        return lambda name: index.weight_map.get(name) in shards
