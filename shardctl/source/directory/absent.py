"""Names of a set that do not lead to a file: dangling links, directories and devices."""

from __future__ import annotations

from shardctl.findings import Finding
from shardctl.stores.base import Store


def absent(store: Store, path: str, *, listed: bool = False) -> Finding | None:
    """Return the finding for a path that is not a regular file, links followed; else None.

    `listed`: an index names it, so that it may be missing altogether. Raises StorageError.
    """
    kind = store.kind(path)
    if kind == "file":
        return None
    if kind is not None:
        message = "the name belongs to a directory or a device, not to a file that can be read"
        return Finding(
            "file-not-regular", "error", message, "put the weights file in its place", path
        )
    if listed:
        message = "listed in the index but missing"
        hint = "incomplete download; fetch the missing shard"
        return Finding("index-shard-missing", "error", message, hint, path)
    message = "the name is a link to a file that does not exist"
    hint = "fetch the model again, or fix the link"
    return Finding("file-not-regular", "error", message, hint, path)
