"""Paths of any store, from a directory downwards by a name with slashes, and upwards."""

from __future__ import annotations

from collections.abc import Iterator

from shardctl.stores.base import Store


def below(store: Store, directory: str, name: str) -> str:
    """Return the path of what has a name in a directory, with slashes after its sub-directories."""
    return store.join(directory, *name.split("/"))


def directories_above(store: Store, path: str) -> Iterator[str]:
    """Yield the directories that a path lies in, the nearest first, "" for a relative one last."""
    while (above := store.split(path)[0]) != path:
        yield above
        path = above
