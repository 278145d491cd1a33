"""Small files and directories that change in one durable step."""

from __future__ import annotations

from shardctl.errors import StorageError
from shardctl.stores.base import Store

#: What a file is called until it is whole.
FRESH = ".new"


def put(store: Store, directory: str, name: str, data: bytes) -> None:
    """Give a small file new content in one durable step: the old content or the new, never less."""
    fresh = store.join(directory, f"{name}{FRESH}")
    store.remove(fresh)
    with store.create(fresh, len(data)) as writer:
        writer.write(0, data)
        writer.sync()
    final = store.join(directory, name)
    if store.kind(final) == "file":
        store.copy_mode(final, fresh)
    store.rename(fresh, final)
    store.sync_directory(directory)


def make_durably(store: Store, directory: str) -> tuple[str, ...]:
    """Make a folder and its parents; returns those that were not there, innermost first.

    Each has a durable name before the next is made in it. So at most the innermost of those that
    are there can be one that a kill caught between the two, and its name is made durable first.
    Raises what the store does.
    """
    missing: list[str] = []
    there = directory
    while store.kind(there) is None:
        missing.append(there)
        there = store.split(there)[0]
    _sync_name(store, there)
    for each in reversed(missing):
        store.make_directory(each)
        _sync_name(store, each)
    return tuple(missing)


def _sync_name(store: Store, directory: str) -> None:
    try:
        store.sync_directory(store.split(directory)[0])
    except StorageError as error:
        # A folder that may be written to but not read cannot be opened, and so not be synced, by
        # anybody.
        if not isinstance(error.__cause__, PermissionError):
            raise
