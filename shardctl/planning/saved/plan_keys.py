"""The keys of a plan file, and what each must hold: nothing else is a plan."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from shardctl.formats.strict_json import duplicate_keys
from shardctl.text import escape

#: How the bytes of a file can be recognised.
CONTENTS = SAMPLE, SERVER_VERSION = "sample", "version"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class WrongError(Exception):
    """What is wrong with the document, to complete a sentence that begins with its path."""


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def is_texts(value: object) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(map(_is_text, value))


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _is_false(value: object) -> bool:
    return value is False


def _or_null(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


def _lists_of_texts(least: int, most: int | None = None) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, list)
        and all(is_texts(each) and least <= len(each) <= (most or len(each)) for each in value)
    )


def _is_options(value: object) -> bool:
    return isinstance(value, dict) and all(
        each is None
        or isinstance(each, str | int)
        or (isinstance(each, list) and all(_is_text(one) or is_texts(one) for one in each))
        for each in value.values()
    )


#: By key, whether a value is one that it can have.
Checks = Mapping[str, Callable[[object], bool]]

_HEAD: Checks = {
    "command": _is_text,
    "done": _is_false,
    "up_to_date": _is_flag,
    "source": _is_text,
    "target": _is_text,
    "loads_from": _is_text,
    "total_size": _is_count,
    "companions": is_texts,
    "superseded": is_texts,
    "not_carried": _is_list,
    "room": _is_object,
}
RUN: Checks = {
    **_HEAD,
    "container": _is_text,
    "max_shard_size": _or_null(_is_count),
    "plan_id": _is_digest,
    "shards": _is_list,
    "oversize": is_texts,
    "copied": _is_object,
    "damaged": is_texts,
    "plan": _is_object,
}
PIPELINE: Checks = {**_HEAD, "components": _is_list, "plan": _is_object}
#: What a pipeline's plan has besides those of its components.
BESIDE: Checks = {"companions": _is_list}
COMPONENT: Checks = {"name": _is_text, "document": _is_object}
PLAN: Checks = {
    "layout_version": _is_count,
    "layout": lambda value: value in ("compact", "shareable"),
    "block_size": lambda value: _is_count(value) and value != 0,
    "options": _is_options,
    "settings": _is_object,
    "sources": _is_list,
    "companions": _is_list,
}
COMPANION: Checks = {
    "name": _is_text,
    "size": _is_count,
    "content": lambda value: (
        isinstance(value, list)
        and is_texts(value)
        and len(value) == len(CONTENTS)
        and value[0] in CONTENTS
    ),
}
#: What a data file of a distributed checkpoint holds, another file says: it has no header's digest.
SOURCE: Checks = {
    **COMPANION,
    "header_sha256": lambda value: value == "" or _is_digest(value),
}
#: The settings; which values those of a few have, `options_from` says.
SETTINGS: Checks = {
    **dict.fromkeys(("max_shard_size", "num_shards"), _or_null(_is_count)),
    **dict.fromkeys(
        ("format", "name", "variant", "key", "experts", "group_by", "dtype"), _or_null(_is_text)
    ),
    **dict.fromkeys(("order", "tied", "companions", "strip_prefix", "add_prefix"), _is_text),
    **dict.fromkeys(("include", "exclude", "keep_dtype"), is_texts),
    **dict.fromkeys(
        ("single", "strict_size", "drop_non_tensors", "read_back", "accept_damage", "checksums"),
        _is_flag,
    ),
    "rename": _lists_of_texts(2, 2),
    "experts_map": _or_null(_lists_of_texts(2)),
}


def checked(value: object, checks: Checks, where: str, optional: Checks | None = None) -> Any:
    """Return an object that has exactly these keys, `optional` ones perhaps, and fitting values."""
    allowed = {**checks, **(optional or {})}
    if not isinstance(value, dict):
        raise WrongError(f"has something else than an object{where}")
    if duplicate_keys(value):
        raise WrongError(f"has the key '{escape(duplicate_keys(value)[0])}' twice{where}")
    for key in value:
        if key not in allowed:
            raise WrongError(f"has an unknown key '{escape(key)}'{where}")
    for key in checks:
        if key not in value:
            raise WrongError(f"has no '{key}'{where}: it is of an earlier version, or not a plan")
    for key, check in allowed.items():
        if key in value and not check(value[key]):
            raise WrongError(f"has an invalid value for '{key}'{where}")
    return value
