"""Small files and directories that change in one durable step."""

from __future__ import annotations

import os

from shardctl.errors import ShardctlError, StorageError
from shardctl.stores.base import Store
from shardctl.stores.optional import keep_mode, sync_directory

#: Suffix of a file until it is complete.
FRESH = ".new"


def put(store: Store, directory: str, name: str, data: bytes) -> None:
    """Give a file of our own new content in one durable step: it has the old content or the new.

    What is called `name` with the suffix FRESH is taken to be left over from a step before.
    """
    fresh = store.join(directory, f"{name}{FRESH}")
    store.remove(fresh)
    _put(store, directory, name, fresh, data)


def put_beside(store: Store, directory: str, name: str, data: bytes) -> None:
    """Do the same in a directory of the user, where no other file may be removed."""
    fresh = store.join(directory, f".{name}.{os.urandom(4).hex()}{FRESH}")
    try:
        _put(store, directory, name, fresh, data)
    except ShardctlError:
        store.remove(fresh)
        raise


def write_new(store: Store, path: str, data: bytes) -> None:
    """Create a file of these bytes, and make them durable; its name is not durable by that.

    Raises TargetExistsError and StorageError.
    """
    with store.create(path, len(data)) as writer:
        writer.write(0, data)
        writer.sync()


def _put(store: Store, directory: str, name: str, fresh: str, data: bytes) -> None:
    write_new(store, fresh, data)
    final = store.join(directory, name)
    if store.kind(final) == "file":
        keep_mode(store, final, fresh)
    store.rename(fresh, final)
    sync_directory(store, directory)


def make_durably(store: Store, directory: str) -> tuple[str, ...]:
    """Make a directory and its parents, durably; return those that were missing, innermost first.

    Each has a durable name before the next is made in it. So at most the innermost of those that
    exist can be one that a kill caught between the two, and its name is made durable first.
    Raises what the store does.
    """
    missing: list[str] = []
    existing = directory
    while store.kind(existing) is None:
        missing.append(existing)
        existing = store.split(existing)[0]
    _sync_name(store, existing)
    for each in reversed(missing):
        store.make_directory(each)
        _sync_name(store, each)
    return tuple(missing)


def _sync_name(store: Store, directory: str) -> None:
    try:
        sync_directory(store, store.split(directory)[0])
    except StorageError as error:
        # A directory that may be written to but not read cannot be opened by anyone, and so not be
        # synced.
        if not isinstance(error.__cause__, PermissionError):
            raise
