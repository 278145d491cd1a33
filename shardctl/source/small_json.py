"""Small JSON files beside the weights, which say whose a directory is or what belongs together."""

from __future__ import annotations

import json

from shardctl.errors import FormatError, InputError, MissingError
from shardctl.formats.limits import MAX_CONFIG_BYTES
from shardctl.stores.base import Store


def parsed(store: Store, path: str, code: str) -> object:
    """Return what a small JSON file says.

    Raises MissingError where nothing is there, FormatError with `code` for one that is large or not
    JSON, InputError for what is not a file, and StorageError for one that cannot be read.
    """
    if store.kind(path) is None:
        message = "the name is a link to a file that does not exist"
        raise MissingError(message, hint="fetch it again", file=path)
    with store.open(path) as reader:
        size = reader.version.size
        if size > MAX_CONFIG_BYTES:
            message = f"has {size:,} bytes, and more than {MAX_CONFIG_BYTES:,} are not read"
            raise FormatError(message, hint="fetch it again", code=code, file=path)
        data = reader.read(0, size)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError("not valid JSON", hint="fetch it again", code=code, file=path) from error


def read_json(store: Store, path: str) -> object:
    """Return what a small JSON file says; None where it is missing, large or invalid.

    For files that say whose a directory is: nothing of a checkpoint depends on them. Raises
    StorageError for one that cannot be read.
    """
    if store.kind(path) != "file":
        return None
    try:
        return parsed(store, path, "input")
    except InputError:
        return None
