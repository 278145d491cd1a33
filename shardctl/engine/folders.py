"""Folders that a run makes: none of them can be lost in a power cut once the run has succeeded."""

from __future__ import annotations

from shardctl.errors import StorageError
from shardctl.stores.base import Store


def make_durably(store: Store, folder: str) -> tuple[str, ...]:
    """Make a folder and its parents; returns those that were not there, innermost first.

    Each has a durable name before the next is made in it. So at most the innermost of those that are there can be one
    that a kill caught between the two, and its name is made durable first. Raises what the store does.
    """
    missing: list[str] = []
    there = folder
    while store.kind(there) is None:
        missing.append(there)
        there = store.split(there)[0]
    _sync_name(store, there)
    for each in reversed(missing):
        store.make_folder(each)
        _sync_name(store, each)
    return tuple(missing)


def _sync_name(store: Store, folder: str) -> None:
    try:
        store.sync_folder(store.split(folder)[0])
    except StorageError as error:
        # A folder that may be written to but not read cannot be opened, and so not be synced, by anybody.
        if not isinstance(error.__cause__, PermissionError):
            raise
