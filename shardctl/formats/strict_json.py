"""JSON, parsed strictly: what readers take differently is refused or kept in view.

Python's own parser accepts NaN and infinity, forgets all but the last of duplicate keys, and keeps
lone surrogates. Which of this a format forbids, its reader says by the functions that it calls.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from typing import NamedTuple

from shardctl.formats.limits import FEW_JSON_VALUES, MAX_JSON_DEPTH

# Characters of a text that are taken apart at once.
_AT_A_TIME = 65_536
_MAYBE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SHOWN = 60
_KEY = re.compile(r'\s*("(?:[^"\\]|\\.)*+")\s*:')
_MARK = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\],"]')


class InvalidJsonError(Exception):
    """The text is not the JSON that it should be.

    `message` completes a sentence that begins with what the text is ("the header …"). `position` is
    the byte where the error shows, `place` the same for people; 0 and "" where it is not known.
    """

    def __init__(self, message: str, position: int = 0, place: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.place = place


class Density(NamedTuple):
    """How many characters a JSON text must have for each of what it holds.

    For each list or object, for each member of an object, and for each value.
    """

    container: int
    member: int
    value: int


class DuplicateKeys(dict[str, object]):
    """A JSON object with duplicate keys, which `duplicates` names. The last value counts."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        counted = Counter(key for key, _ in pairs)
        self.duplicates = [key for key, count in counted.items() if count > 1]


def duplicate_keys(value: object) -> list[str]:
    """Return the duplicate keys of a JSON object, each once; none for any other value."""
    return value.duplicates if isinstance(value, DuplicateKeys) else []


def decode(data: bytes) -> str:
    """Return the characters of a JSON text. Raises InvalidJsonError where it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        message, at = f"is not UTF-8: {error.reason}", error.start
        raise InvalidJsonError(message, at, f"byte {at:,}") from None


def refuse_dense(text: str, density: Density) -> None:
    """Raise InvalidJsonError for a text whose values take many times its length in memory.

    Nothing is made of the text: this comes before it is parsed.
    """
    most = tuple(FEW_JSON_VALUES + len(text) // each for each in density)
    if not _exceeds(_values(text), most):
        return
    # Some of them may stand in strings, so these are left out now: without escapes, every other
    # piece between quotes is one.
    plain = text.replace("\\\\", "").replace('\\"', "")
    seen, within = (0, 0, 0), False
    for begin in range(0, len(plain), _AT_A_TIME):
        pieces = plain[begin : begin + _AT_A_TIME].split('"')
        values = _values("".join(pieces[within::2]))
        seen = (seen[0] + values[0], seen[1] + values[1], seen[2] + values[2])
        within ^= len(pieces) % 2 == 0
        if _exceeds(seen, most):
            raise InvalidJsonError(
                f"is not read: its {len(text):,} characters hold more lists, objects or values "
                "than those of any checkpoint"
            )


def _values(text: str) -> tuple[int, int, int]:
    """The lists and objects, members and values that a text has at most, by their marks."""
    return text.count("{") + text.count("["), text.count(":"), text.count(",")


def _exceeds(counts: tuple[int, int, int], most: tuple[int, ...]) -> bool:
    return any(count > limit for count, limit in zip(counts, most, strict=True))


class NumberError(ValueError):
    """What is written as a number and is none that is wanted; the message says why."""


def parse_object(
    text: str,
    *,
    parse_int: Callable[[str], float] = int,
    parse_float: Callable[[str], float] = float,
) -> dict[str, object]:
    """Return the object that a JSON text is; those with duplicate keys are `DuplicateKeys`.

    Raises InvalidJsonError for everything else; the two functions may raise NumberError for a
    number that is not wanted.
    """
    if text.startswith("\ufeff"):
        raise InvalidJsonError("begins with a byte order mark")
    try:
        root = _decoder(parse_int, parse_float).decode(text)
    except json.JSONDecodeError as error:
        position = len(text[: error.pos].encode())
        place = f"line {error.lineno}, column {error.colno}"
        message = f"is not valid JSON: {_explain(text, error)}"
        raise InvalidJsonError(message, position, place) from None
    except RecursionError:
        raise InvalidJsonError("is nested too deeply") from None
    except NumberError as error:
        raise InvalidJsonError(f"is not valid JSON: {error}") from None
    except ValueError:  # Python's own, of an integer that would take it too long
        raise InvalidJsonError("is not valid JSON: a number has too many digits") from None
    if not isinstance(root, dict):
        raise InvalidJsonError(f"is {kind(root)}, not an object")
    return root


def _decoder(
    parse_int: Callable[[str], float], parse_float: Callable[[str], float]
) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=_make_object,
        parse_constant=_refuse_constant,
        parse_int=parse_int,
        parse_float=parse_float,
    )


def _make_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else DuplicateKeys(pairs)


def _refuse_constant(name: str) -> object:
    raise NumberError(f"{name} is not a JSON number")


#: Decodes a value within a text, for readers that find its beginning and end themselves.
DECODER = _decoder(int, float)


def _explain(text: str, error: json.JSONDecodeError) -> str:
    if text[error.pos : error.pos + 1] == "\0":
        return "it is padded with NUL bytes; only spaces are padding"
    return "trailing data after the object" if error.msg == "Extra data" else error.msg


def finite_float(text: str) -> float:
    """Parse a float; refuse what becomes infinite (1e999), which JSON cannot hold."""
    number = float(text)
    if not math.isfinite(number):
        raise NumberError(f"the number {text[:_SHOWN]} is too large")
    return number


def integer(text: str) -> float:
    """Parse an integer; -0 is a float, as for every parser that has one type for it."""
    return -0.0 if text == "-0" else int(text)


def refuse_lone_surrogates(text: str, root: object) -> None:
    """Raise InvalidJsonError where a string in `root`, parsed from `text`, is not valid Unicode."""
    if not _MAYBE_SURROGATE.search(text):
        return
    for value in walk(root):
        if isinstance(value, str) and not is_unicode(value):
            shown = f"{value[:_SHOWN]!a}"
            raise InvalidJsonError(f"has a lone surrogate, not valid Unicode, in {shown}")


def is_too_deep(value: object) -> bool:
    """Whether a JSON value is nested more deeply than parsers in other languages follow."""
    level, depth = [value], 0
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        if depth > MAX_JSON_DEPTH:
            return True
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return False


def is_f64(value: object) -> bool:
    """Whether a JSON value is one that a parser with 64-bit floats takes, as serde_json is."""
    try:
        return not isinstance(value, int | float) or math.isfinite(float(value))
    except OverflowError:
        return False


def is_unicode(value: str) -> bool:
    """Whether a string has a UTF-8 form: one with a lone surrogate has none."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def walk(value: object) -> Iterator[object]:
    """Yield every value and key within a JSON value, at any depth, in no particular order."""
    stack = [value]
    while stack:
        value = stack.pop()
        yield value
        if isinstance(value, dict):
            stack.extend(value)
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def texts_of_object(text: str, names: Container[str]) -> dict[str, str] | None:
    """Return the JSON text of each member of an object whose keys are all among `names`.

    None for everything else, an object with duplicate keys included. Where a value ends is found by
    its strings and brackets; it is not parsed, so it takes no more memory than its text.
    """
    text = text.strip()
    if text[:1] != "{" or text[-1:] != "}":
        return None
    texts: dict[str, str] = {}
    at, end = 1, len(text) - 1
    if text[1:end].isspace() or end == 1:
        return texts
    while at <= end:
        key = _KEY.match(text, at, end)
        name = None if key is None else _string(key[1])
        if key is None or name is None or name in texts or name not in names:
            return None
        stop = _end_of_value(text, key.end(), end)
        value = text[key.end() : stop].strip()
        if not value:
            return None
        texts[name] = value
        at = stop + 1
    return texts


def object_of_texts(texts: Mapping[str, str]) -> str:
    """Return the object with these members, as Python's `json` spaces them."""
    return "{" + ", ".join(f"{json.dumps(key)}: {text}" for key, text in texts.items()) + "}"


def _string(text: str) -> str | None:
    try:
        return str(json.loads(text))
    except ValueError:
        return None


def _end_of_value(text: str, begin: int, end: int) -> int:
    """Where the comma after a value is, or `end`; `begin` where brackets or quotes do not match."""
    depth = 0
    for token in _MARK.finditer(text, begin, end):
        mark = token[0]
        if mark in ("{", "["):
            depth += 1
        elif mark in ("}", "]"):
            depth -= 1
        elif mark == "," and depth == 0:
            return token.start()
        if depth < 0 or mark == '"':  # a string that does not end
            return begin
    return end if depth == 0 else begin


def kind(value: object) -> str:
    """Return what a JSON value is, for messages."""
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
