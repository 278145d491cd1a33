"""Which places of a pickle's memo its opcodes may recall.

Picklers fill some eight places for each tensor, and recall few of them. What no opcode recalls need
not be kept, which is half of what the values of a large pickle would take.
"""

from __future__ import annotations

import re
from collections.abc import Container

from shardctl.formats.pickle.cursor import U32

#: LONG_BINGET with a place in four bytes, and GET with one in digits. Where opcodes begin is only
#: known once they are carried out: every byte that could be one of these counts.
_LONG_BINGET = re.compile(rb"j(?=(.{4}))", re.DOTALL)
_GET = re.compile(rb"g(?=([0-9]{1,19})\n)")
#: The places that BINGET has, in one byte.
_NEAR = range(256)
#: Every place that there could be.
_ALL = range(10**19)
#: Bytes of a pickle for each recall, at least, for the places to be listed.
_BYTES_PER_RECALL = 32


def recalled_places(data: bytes, start: int) -> Container[int]:
    """Return the places that a pickle may recall; all, where it recalls very much."""
    places = set(_NEAR)
    left = max(len(data) // _BYTES_PER_RECALL, len(_NEAR))
    for pattern, number in ((_LONG_BINGET, _in_bytes), (_GET, int)):
        for found in pattern.finditer(data, start):
            left -= 1
            if not left:
                return _ALL
            places.add(number(found[1]))
    return places


def _in_bytes(place: bytes) -> int:
    number: int = U32.unpack(place)[0]
    return number
