"""The JSON of a safetensors header, parsed strictly: what it says, without yet asking whether it makes sense.

Stricter than upstream where that is lenient: a key that stands twice has no one meaning, so it is
kept in mind here and refused by the checks, wherever it stands.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

_MAYBE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class HeaderError(Exception):
    """The header is no JSON object; `position` is the byte of the header where that shows, if known."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


class Repeated(dict[str, object]):
    """A JSON object in which keys (`twice`) stand more than once. The last value counts, as upstream has it."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]


def as_text(header: bytes) -> str:
    """The header's characters; raises HeaderError where it is no UTF-8."""
    try:
        return header.decode()
    except UnicodeDecodeError as error:
        raise HeaderError(f"the header is not UTF-8: {error.reason}", error.start) from None


def parse(header: str) -> dict[str, object]:
    """The header's root object; raises HeaderError where it has none."""
    root = _decode(header)
    if not isinstance(root, dict):
        raise HeaderError(f"the header is {kind(root)}, not an object")
    if _MAYBE_SURROGATE.search(header):
        _refuse_half_surrogates(root)
    return root


def _decode(text: str) -> object:
    # Python reads -0 as the integer 0; the slower hook is only needed where it can occur.
    decoder = _SLOWER_DECODER if "-0" in text else DECODER
    try:
        return decoder.decode(text)
    except json.JSONDecodeError as error:
        position = len(text[: error.pos].encode())
        raise HeaderError(
            f"the header is not valid JSON: {_explain(text, error)}", position
        ) from None
    except RecursionError:
        raise HeaderError("the header is nested too deeply") from None
    except ValueError as error:
        raise HeaderError(f"the header is not valid JSON: {error}") from None


def _make_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else Repeated(pairs)


def _make_integer(digits: str) -> int:
    if digits == "-0":
        raise ValueError("-0 is not an integer")
    return int(digits)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


#: Reads JSON strictly, but for -0; an object in which a key stands twice is a `Repeated`.
DECODER = json.JSONDecoder(object_pairs_hook=_make_object, parse_constant=_refuse_constant)
_SLOWER_DECODER = json.JSONDecoder(
    object_pairs_hook=_make_object, parse_constant=_refuse_constant, parse_int=_make_integer
)


def _explain(text: str, error: json.JSONDecodeError) -> str:
    if text.startswith("\ufeff"):
        return "it begins with a byte order mark"
    if text[error.pos : error.pos + 1] == "\0":
        return "it is padded with NUL bytes; only spaces are padding"
    if error.msg == "Extra data":
        return "something follows the end of the object"
    return error.msg


def _refuse_half_surrogates(root: object) -> None:
    for value in walk(root):
        if isinstance(value, str) and not is_text(value):
            raise HeaderError(
                f"the header has a string with half a surrogate pair, which is no text: {value[:60]!a}"
            )


def is_text(value: str) -> bool:
    """Whether a string has a UTF-8 form: one with half a surrogate pair has none."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def walk(value: object) -> Iterator[object]:
    """Every value and key within a JSON value, in no particular order; not recursive, so that depth is no matter."""
    stack = [value]
    while stack:
        value = stack.pop()
        yield value
        if isinstance(value, dict):
            stack.extend(value)
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def kind(value: object) -> str:
    """What a JSON value is, for messages."""
    if value is None:
        return "null"
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return next(name for type_, name in names.items() if isinstance(value, type_))
