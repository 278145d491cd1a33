"""The JSON documents of a run's journal. They may come from anybody, with a directory."""

from __future__ import annotations

from typing import Any

from shardctl.formats.strict_json import (
    Density,
    InvalidJsonError,
    decode,
    parse_object,
    refuse_dense,
)

#: Characters for each list or object, each member and each value: a run writes more for each.
_DENSITY = Density(container=16, member=12, value=10)


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
