"""Numbers and strings that protocol 0 spells as text.

Only spellings that all unpicklers read alike are accepted. CPython's C unpickler takes `010` for
octal and skips blanks, the Python one does neither; picklers write none of that. Source:
`load_int`, `load_long`, `load_float`, `load_string` of `_pickle.c`.
"""

from __future__ import annotations

import codecs
import math
import re

from shardctl.formats.limits import MAX_INTEGER_BYTES

_INTEGER = re.compile(rb"-?(?:0|[1-9][0-9]{0,153})")
_FLOAT = re.compile(rb"-?(?:[0-9]+\.?[0-9]*(?:e[+-]?[0-9]+)?|inf|nan)", re.IGNORECASE)
_PLACE = re.compile(rb"[0-9]{1,19}")
_MAX_DIGITS = 3 * MAX_INTEGER_BYTES


def integer(text: bytes) -> int:
    """The argument of INT, where `00` and `01` are booleans. Raises ValueError."""
    if text in (b"00", b"01"):
        return text == b"01"
    return _whole(text)


def long(text: bytes) -> int:
    """The argument of LONG, which may end in `L`. Raises ValueError."""
    return _whole(text.removesuffix(b"L"))


def _whole(text: bytes) -> int:
    if len(text) > _MAX_DIGITS or not _INTEGER.fullmatch(text):
        raise ValueError("an integer of too many digits, or in an unusual form")
    return int(text)


def real(text: bytes) -> float:
    """The argument of FLOAT. Raises ValueError."""
    if len(text) > _MAX_DIGITS or not _FLOAT.fullmatch(text):
        raise ValueError("a float in an unusual form")
    value = float(text)
    if math.isinf(value) and b"inf" not in text.lower():
        raise ValueError("a float that is too large")
    return value


def place(text: bytes) -> int:
    """The memo index of GET and PUT. Raises ValueError."""
    if not _PLACE.fullmatch(text):
        raise ValueError("a memo index in an unusual form")
    return int(text)


def quoted(text: bytes) -> str:
    """The argument of STRING: the text of Python 2, which torch reads as UTF-8.

    Raises ValueError.
    """
    if len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1:] != text[:1]:
        raise ValueError("a string without quotes")
    return codecs.escape_decode(text[1:-1])[0].decode("utf-8")
