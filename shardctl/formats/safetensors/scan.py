"""The usual safetensors header, sound in every way, read in one pass.

What upstream and Python's `json` write is read here in a third of the time of the strict reader,
without its values in memory. It reports nothing: for any other form it gives None, and the strict
reader (`check`) reports what is wrong. Whatever is accepted here, that one reads alike.
"""

from __future__ import annotations

import itertools
import json
import re
from array import array

from shardctl.columns import Columns, Form, OneLevel, Tensors
from shardctl.formats.limits import FEW_JSON_VALUES, MAX_DIMS
from shardctl.formats.safetensors.check import KNOWN_DTYPES, METADATA_KEY, bits_of
from shardctl.formats.strict_json import DECODER

_NUMBER = "(?:0|[1-9][0-9]{0,17})"  # fits 63 bits by its length alone
_FORM = re.compile(
    r'"dtype": ?"[A-Z0-9_]+", ?"shape": ?'
    rf"\[(?:{_NUMBER}(?:, ?{_NUMBER}){{0,{MAX_DIMS - 1}}})?\]"
)
# A comma, and name (without escapes), form, begin and end of a tensor. Of these the form is checked
# once for all that have it, and the numbers are compared with those that are due.
_ENTRY = re.compile(
    r', ?"([^"\\\x00-\x1f]*+)": ?\{("dtype": ?"[A-Z0-9_]++", ?"shape": ?\[[0-9, ]*+\]), ?'
    r'"data_offsets": ?\[([0-9]++), ?([0-9]++)\]\}'
)
# Characters of a header that are taken apart together: what is made of them is not in memory for
# all at once.
_AT_A_TIME = 65_536
# Pairs of strings, and not many of them: no more memory than what they say. An escape of four
# digits may be a lone surrogate.
_TEXT = r'"[^"\\\x00-\x1f]*+(?:\\["\\/bfnrt][^"\\\x00-\x1f]*+)*+"'
_PAIR = rf"{_TEXT}: ?{_TEXT}"
_METADATA = re.compile(
    rf'\{{"{METADATA_KEY}": ?(\{{(?:{_PAIR}(?:, ?{_PAIR}){{0,{FEW_JSON_VALUES}}})?\}}), ?(?=")'
)
_END = re.compile(r"\}[ \t\r\n]*")


def scan(
    header: str, path: str, data_offset: int, size: int
) -> tuple[OneLevel, dict[str, str]] | None:
    """Return the tensors and the metadata of a header without a fault; None for any other.

    `path` and `size` (bytes) are the file's; `data_offset` is where its tensor bytes begin.
    """
    head = _metadata(header) if header.startswith("{") else None
    if head is None:
        return None
    metadata, at = head
    names: list[str] = []
    held: list[Form] = []
    offsets = array("q")
    forms: dict[str, Form | None] = {}
    begin = 0
    rest = ""
    while not rest and at < len(header):
        cut = header.find("},", at + _AT_A_TIME) + 1 or len(header)
        # Nothing, then the four fields of an entry, nothing, the fields of the next one, and so on.
        *pieces, rest = _ENTRY.split(f",{header[at:cut]}")
        texts = pieces[2::5]
        forms.update((text, _form(text)) for text in set(texts).difference(forms))
        found = [form for form in map(forms.get, texts) if form is not None]
        bounds = list(itertools.accumulate([form.nbytes for form in found], initial=begin))
        marks = list(map(str, bounds))
        if any(pieces[::5]) or pieces[3::5] != marks[:-1] or pieces[4::5] != marks[1:]:
            return None
        begin = bounds.pop()
        if data_offset + begin > size:
            return None
        names += pieces[1::5]
        held += found
        offsets.extend([data_offset + bound for bound in bounds])
        at = cut + 1
    sound = (
        at > len(header)
        and data_offset + begin == size
        and _END.fullmatch(rest)
        and len(distinct := set(names)) == len(names)
        and METADATA_KEY not in distinct
    )
    return (OneLevel(Tensors([Columns(path, names, held, offsets)])), metadata) if sound else None


def _metadata(header: str) -> tuple[dict[str, str], int] | None:
    """Return the pairs of the metadata, and where the first tensor's entry begins."""
    found = _METADATA.match(header)
    if found is None:
        # None at all, or of another form: then the first entry is none that is read here.
        return {}, 1
    pairs = DECODER.decode(found[1])
    # A plain dict: one with duplicate keys is of another class.
    return (pairs, found.end()) if type(pairs) is dict else None


def _form(text: str) -> Form | None:
    """Return the form in a header's text; None for one whose tensors do not have whole bytes."""
    if not _FORM.fullmatch(text):
        return None
    fields = json.loads(f"{{{text}}}")
    dtype, shape = KNOWN_DTYPES.get(fields["dtype"]), tuple(fields["shape"])
    bits = None if dtype is None else bits_of(dtype, shape)
    return None if dtype is None or bits is None or bits % 8 else Form(dtype, shape, bits // 8)
