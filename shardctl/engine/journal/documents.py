"""The JSON documents of a run's journal. They may come from anybody, with a directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from shardctl.errors import StorageError
from shardctl.formats.limits import MAX_JOURNAL_BYTES
from shardctl.formats.strict_json import (
    Density,
    InvalidJsonError,
    decode,
    parse_object,
    refuse_dense,
)
from shardctl.model import Version
from shardctl.stores.base import Store

JOURNAL_VERSION = 2

#: Characters for each list or object, each member and each value: a run writes more for each.
_DENSITY = Density(container=16, member=12, value=10)

Parsed = TypeVar("Parsed")


def document_of(data: bytes) -> dict[str, Any]:
    """Return the object that the bytes of a document are.

    Raises ValueError for anything else, and for what would take many times its size in memory.
    """
    try:
        text = decode(data)
        refuse_dense(text, _DENSITY)
        return parse_object(text)
    except InvalidJsonError as error:
        raise ValueError(error.message) from None


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the bytes of a document of this version."""
    whole = {"journal_version": JOURNAL_VERSION, **document}
    return json.dumps(whole, separators=(",", ":")).encode("ascii")


def read_document(
    store: Store, home: str, name: str, parse: Callable[[Mapping[str, Any]], Parsed]
) -> Parsed | None:
    """Return what `parse` makes of a document in the directory `home`; None where there is none.

    Raises StorageError for one that this version of shardctl did not write.
    """
    return read_version(store, home, name, parse)[0]


def read_version(
    store: Store, home: str, name: str, parse: Callable[[Mapping[str, Any]], Parsed]
) -> tuple[Parsed | None, Version | None]:
    """Return as `read_document` does, and with it the version of what was read.

    The version is None where there is no file of that name; an empty one has a version, and no
    document.
    """
    path = store.join(home, name)
    if store.kind(path) != "file":
        return None, None
    with store.open(path) as reader:
        version = reader.version
        if version.size > MAX_JOURNAL_BYTES:
            raise not_ours(path, home)
        data = reader.read(0, version.size)
    if not data:
        return None, version
    try:
        document = document_of(data)
        if document["journal_version"] == JOURNAL_VERSION:
            return parse(document), version
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise not_ours(path, home)


def not_ours(path: str, home: str) -> StorageError:
    """Return the error for a document in `home` that this version of shardctl did not write."""
    return StorageError(
        f"'{path}' is not a journal that this version of shardctl wrote",
        hint=f"finish that run with the version that began it, or move '{home}' to another "
        "directory",
        file=path,
    )
