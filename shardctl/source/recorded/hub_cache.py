"""The cache of the hub's library: snapshots of links to blobs (`models--ORG--NAME/blobs/…`)."""

from __future__ import annotations

from shardctl.stores.base import Store


def is_blob(store: Store, path: str) -> bool:
    """Whether a path, links followed already, is that of a blob of a model in such a cache."""
    parent, blobs = store.split(store.split(path)[0])
    return blobs == "blobs" and store.split(parent)[1].startswith("models--")
