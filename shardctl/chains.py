"""Numbered chains in dotted names: parts of a model side by side, told apart by a number.

In `model.layers.0.mlp.experts.3.weight` there are two: the layers, and the experts of layer 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

#: A number of more digits than this is a name: no model has so many layers.
_MOST_DIGITS = 9
#: Numbers of one name that are looked at: a name can have millions of parts.
_MOST_NUMBERS = 8
_NUMBERS = re.compile(rf"(?:\A|(?<=\.))\d{{1,{_MOST_DIGITS}}}(?=\.|\Z)")


def is_number(part: str) -> bool:
    """Whether a part of a name is a number in a chain."""
    return part.isdecimal() and len(part) <= _MOST_DIGITS


def numbers(name: str) -> Iterator[tuple[int, int]]:
    """Yield where the first numbers of a name begin and end."""
    for found in islice(_NUMBERS.finditer(name), _MOST_NUMBERS):
        yield found.span()
