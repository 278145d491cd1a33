"""Sizes as people write and read them: a strict wrapper around humanfriendly, and the way back.

humanfriendly alone accepts too much (`5Gi` as 5e9, `1 GB/s`, `5 gigabits`), so here the
text must have one of the known forms before its units are looked up there. Multiplying is exact: no
size passes through a float.
"""

from __future__ import annotations

import re

from shardctl.errors import UsageError

# At most 18 digits on either side: no file is larger, and huge numbers cost time.
_SIZE = re.compile(
    r"(?P<number>[0-9]{1,18}(?:\.[0-9]{1,18})?) ?(?P<unit>B|[KMGT](?:i?B|i)?)?",
    re.IGNORECASE | re.ASCII,
)

_ACCEPTED = (
    "write a number and a unit, for example 500MB or 1.5 GB (decimal: KB MB GB TB), "
    "or 2GiB (binary: KiB MiB GiB TiB)"
)
_DECIMAL_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3))


def parse_size(text: str) -> int:
    """Return the bytes that a size such as `5GB`, `1.5 GiB` or `1048576` (bytes) means.

    Blanks around it are dropped, as the hub's library does, and so is a fraction of a byte. Raises
    UsageError for everything that is not clearly a size of at least one byte.
    """
    match = _SIZE.fullmatch(text.strip(" "))
    if match is None:
        raise _not_a_size(text)
    number, unit = match["number"], match["unit"]
    if unit is None and "." in number:
        raise UsageError(f"{text!a} has a fraction of a byte", hint=_ACCEPTED)
    whole, _, part = number.partition(".")
    nbytes: int = int(whole + part) * (1 if unit is None else _unit_bytes(unit)) // 10 ** len(part)
    if nbytes < 1:
        raise UsageError(f"{text!a} is less than one byte", hint=_ACCEPTED)
    return nbytes


def format_size(nbytes: int) -> str:
    """Return a size for people, in decimal units: `433.2 MB`. It is not to be parsed again.

    Rounded to the nearest tenth, but never up into the next unit: a byte less than 1 MB is `999.9
    KB`.
    """
    for unit, scale in _DECIMAL_UNITS:
        if nbytes >= scale:
            tenths = (nbytes * 10 + scale // 2) // scale
            if unit != "TB":
                tenths = min(tenths, 9999)
            return f"{tenths // 10:,}.{tenths % 10} {unit}"
    return f"{nbytes} B"


def _unit_bytes(unit: str) -> int:
    # It takes longer than the rest of a start.
    from humanfriendly import parse_size as parse_unit  # noqa: PLC0415 - most runs parse no size

    symbol = unit.upper()
    if symbol.endswith("I"):
        symbol += "B"  # Ki is KiB; humanfriendly reads it as KB
    return int(parse_unit(f"1 {symbol}"))


def _not_a_size(text: str) -> UsageError:
    lowered = text.lower()
    if "bit" in lowered or "/" in text or lowered.endswith("ps"):
        return UsageError(
            f"{text!a} is not a size in bytes", hint=f"bits and rates are not accepted; {_ACCEPTED}"
        )
    if text.lstrip().startswith("-"):
        return UsageError(f"{text!a} is negative", hint=_ACCEPTED)
    return UsageError(f"{text!a} is not a size", hint=_ACCEPTED)
