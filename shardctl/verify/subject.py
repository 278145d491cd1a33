"""What is checked: one checkpoint, as far as it could be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from shardctl.model import Checkpoint
from shardctl.source.checksum_file import read_checksums
from shardctl.source.locate import Located
from shardctl.stores.base import Store


@dataclass(frozen=True)  # without slots: what is made on first use needs a place
class Subject:
    """One checkpoint to check, as far as it could be read."""

    store: Store
    located: Located
    checkpoint: Checkpoint

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The names of the files in the directory, by path."""
        return self.located.names(self.store)

    @cached_property
    def digests(self) -> Mapping[str, str] | None:
        """The digests in the directory's `SHA256SUMS`, None where there is none; raises FormatError."""
        return read_checksums(self.store, self.located.directory)
