"""The usual safetensors header, sound in every way, read in one pass.

What upstream and Python's `json` write is read here in half the time of the strict reader, without
its values in memory. It reports nothing: for any other form it gives None, and the strict reader
(`check`) reports what is wrong. Whatever is accepted here, that one reads alike.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from shardctl.formats.limits import FEW_JSON_VALUES, MAX_DIMS
from shardctl.formats.safetensors.check import KNOWN_DTYPES, METADATA_KEY, bits_of
from shardctl.formats.strict_json import DECODER
from shardctl.model import Dtype, Extent, Storage, Tensor, Tree

# Numbers that fit 63 bits by their length alone, and names without escapes.
_NUMBER = "(?:0|[1-9][0-9]{0,17})"
_SHAPE = rf"\[(?:{_NUMBER}(?:, ?{_NUMBER}){{0,{MAX_DIMS - 1}}})?\]"
_FORM = rf'"dtype": ?"[A-Z0-9_]+", ?"shape": ?{_SHAPE}'
_ENTRY = re.compile(
    rf'"([^"\\\x00-\x1f]*)": ?\{{({_FORM}), ?"data_offsets": ?\[({_NUMBER}), ?({_NUMBER})\]\}}'
    r'(?:, ?(?=")|(?=\}))'
)
# Pairs of strings, and not many of them: no more memory than what they say. An escape of four
# digits may be a lone surrogate.
_TEXT = r'"[^"\\\x00-\x1f]*+(?:\\["\\/bfnrt][^"\\\x00-\x1f]*+)*+"'
_PAIR = rf"{_TEXT}: ?{_TEXT}"
_METADATA = re.compile(
    rf'\{{"{METADATA_KEY}": ?(\{{(?:{_PAIR}(?:, ?{_PAIR}){{0,{FEW_JSON_VALUES}}})?\}}), ?(?=")'
)
_END = re.compile(r"\}[ \t\r\n]*")


class _Form(NamedTuple):
    """What many tensors have in common; `nbytes` is the length of the data of each."""

    dtype: Dtype
    shape: tuple[int, ...]
    nbytes: int


def scan(header: str, path: str, data_offset: int, size: int) -> tuple[Tree, dict[str, str]] | None:
    """Return the tensors and the metadata of a header without a fault; None for any other.

    `path` and `size` (bytes) are the file's; `data_offset` is where its tensor bytes begin.
    """
    head = _metadata(header) if header.startswith("{") else None
    if head is None:
        return None
    metadata, at = head
    tree: Tree = {}
    forms: dict[str, _Form] = {}
    begin, expected, count = data_offset, "0", 0
    for match in _ENTRY.finditer(header, at):
        name, text, first, last = match.groups()
        form = forms.get(text) or _form(text)
        if match.start() != at or first != expected or form is None:
            return None
        forms[text] = form
        tree[name] = Tensor(
            name, form.dtype, form.shape, Storage(Extent(path, begin, form.nbytes), name)
        )
        begin += form.nbytes
        if begin - data_offset != int(last):
            return None
        expected = last
        at = match.end()
        count += 1
    sound = (
        begin == size
        and len(tree) == count
        and METADATA_KEY not in tree
        and _END.fullmatch(header, at)
    )
    return (tree, metadata) if sound else None


def _metadata(header: str) -> tuple[dict[str, str], int] | None:
    """Return the pairs of the metadata, and where the first tensor's entry begins."""
    found = _METADATA.match(header)
    if found is None:
        # None at all, or of another form: then the first entry is none that is read here.
        return {}, 1
    pairs = DECODER.decode(found[1])
    # A plain dict: one with duplicate keys is of another class.
    return (pairs, found.end()) if type(pairs) is dict else None


def _form(text: str) -> _Form | None:
    """Return the form in a header's text; None for one whose tensors do not have whole bytes."""
    fields = json.loads(f"{{{text}}}")
    dtype, shape = KNOWN_DTYPES.get(fields["dtype"]), tuple(fields["shape"])
    bits = None if dtype is None else bits_of(dtype, shape)
    return None if dtype is None or bits is None or bits % 8 else _Form(dtype, shape, bits // 8)
