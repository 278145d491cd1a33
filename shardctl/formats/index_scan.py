"""The usual index, read in pieces.

An index whose weight map comes last is read here without a copy of a shard's name for each tensor,
in two thirds of the time. It reports nothing: for any other form it gives None, and the strict
parser (`strict_json`) says what is wrong. Whatever is accepted here, that one reads alike.
"""

from __future__ import annotations

import re

from shardctl.formats.strict_json import DECODER, InvalidJsonError, finite_float, parse_object
from shardctl.weight_map import WeightMap

# A quote after a backslash ends no key of that name.
_BEGIN = re.compile(r'(?<!\\)"weight_map"[ \t\r\n]*:[ \t\r\n]*\{')
# Characters that are parsed together.
_AT_A_TIME = 65_536


def scan_index(text: str) -> dict[str, object] | None:
    """Return the object that an index is; None for one of another form.

    Its weight map is a `WeightMap`; equal names of shards are one string.
    """
    begin = _BEGIN.search(text)
    end = text.rfind("}", 0, max(text.rfind("}"), 0))
    if begin is None or end < begin.end():
        return None
    try:
        # With nothing in the weight map, which closes last but one: so it is the root's.
        root = parse_object(text[: begin.end()] + text[end:], parse_float=finite_float)
        weight_map = _members(text, begin.end(), end)
    except (InvalidJsonError, ValueError, RecursionError):
        return None
    if weight_map is None or type(root) is not dict:  # one with duplicate keys is of another class
        return None
    root["weight_map"] = weight_map
    return root


def _members(text: str, begin: int, end: int) -> WeightMap | None:
    """Return the members that a part of a text is, if their values are strings; else None.

    Raises ValueError and RecursionError for what is not JSON.
    """
    names: list[str] = []
    shards: list[str] = []
    one_each: dict[str, str] = {}
    while begin < end:
        # Pieces that are members of an object, each by itself, are so together.
        cut = text.find('",', begin + _AT_A_TIME, end) + 1 or end
        members = DECODER.decode(f"{{{text[begin:cut]}}}")
        if type(members) is not dict or set(map(type, members.values())) != {str}:
            return None
        some = members.values()
        one_each.update((value, value) for value in set(some).difference(one_each))
        names += members
        shards += map(one_each.__getitem__, some)
        begin = cut + 1
    return WeightMap(names, shards) if len(set(names)) == len(names) else None
