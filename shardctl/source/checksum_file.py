"""Read the `SHA256SUMS` of a directory."""

from __future__ import annotations

from collections.abc import Mapping

from shardctl.checksums import CHECKSUMS, parse_checksums
from shardctl.stores.base import Store


def read_checksums(store: Store, directory: str) -> Mapping[str, str] | None:
    """The digests in a directory's `SHA256SUMS` by file name, None where there is no such file. Other lines are ignored."""
    path = store.join(directory, CHECKSUMS)
    if store.kind(path) != "file":
        return None
    with store.open(path) as reader:
        return parse_checksums(reader.read(0, reader.version.size))
