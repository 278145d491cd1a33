"""What is put to the checks: one checkpoint, as far as it could be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shardctl.checksums import CHECKSUMS, parse_checksums
from shardctl.discover import Located
from shardctl.model import Checkpoint
from shardctl.stores.base import Store


@dataclass(frozen=True, slots=True)
class Subject:
    """One checkpoint under test, as far as it could be read."""

    store: Store
    located: Located
    checkpoint: Checkpoint

    @property
    def names(self) -> Mapping[str, str]:
        """The names of the files in the folder, by path."""
        return self.located.names(self.store)


def read_checksums(store: Store, folder: str) -> Mapping[str, str] | None:
    """The digests of a folder's `SHA256SUMS` by file name, None where there is none. Other lines are passed over."""
    path = store.join(folder, CHECKSUMS)
    if store.kind(path) != "file":
        return None
    with store.open(path) as reader:
        return parse_checksums(reader.read(0, reader.version.size))
