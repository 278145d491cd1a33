"""The type of the weights in a model's `config.json`, which follows a conversion.

transformers 5 loads a model in the type that its configuration names (`dtype`, in older files
`torch_dtype`; `_get_dtype` in `modeling_utils.py`). Configurations within it have one as well
(`text_config`): `dict_dtype_to_str` of `configuration_utils.py` looks for `dtype` at any depth, and
its value may be an object with the types of those by their names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from shardctl.formats.torch.calls.types import TORCH_NAME_OF

#: The only configuration of a model that names the type of the weights beside it.
CONFIG = "config.json"
_KEYS = ("dtype", "torch_dtype")
#: What describes packed weights, which are never converted.
_OTHERS = ("quantization_config", "compression_config")
#: The types in which torch can make a model: those of 8 bits are for storage, and a model that is
#: loaded from them keeps the type that its configuration names.
_LOADABLE = ("F64", "F32", "F16", "BF16")
#: Types of weights as configurations name them, some with the module before.
_TYPE = re.compile(r"(?P<module>torch\.)?(?:float\d+\w*|bfloat16|half|float|double)")
_MARK = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\],:]')


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes of a file that are replaced: `length` bytes from `offset` become `data`."""

    offset: int
    length: int
    data: bytes


def dtype_edits(data: bytes, dtype: str) -> tuple[Edit, ...]:
    """Return what changes in a `config.json` for weights of a type, a name of `model.DTYPES`.

    Only the values that name another floating-point type are replaced. There are none where the
    file is not a JSON object in UTF-8, or where torch makes no models of that type.
    """
    if dtype not in _LOADABLE:
        return ()
    try:
        if not isinstance(json.loads(data.decode()), dict):
            return ()
    except (ValueError, RecursionError):
        return ()
    name = TORCH_NAME_OF[dtype]
    edits = []
    for offset, length, value in _values(data):
        named = _TYPE.fullmatch(value)
        new = f"{named['module'] or ''}{name}" if named else value
        if new != value:
            edits.append(Edit(offset, length, json.dumps(new).encode()))
    return tuple(edits)


def edited(data: bytes, edits: tuple[Edit, ...]) -> bytes:
    """Return the bytes of a file with its edits, which are in order and do not overlap."""
    parts, done = [], 0
    for edit in edits:
        parts += [data[done : edit.offset], edit.data]
        done = edit.offset + edit.length
    return b"".join((*parts, data[done:]))


def _values(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield the texts that stand for a type in a sound JSON text: offset, length and value."""
    path: list[str] = []  # the keys of the containers that are open, "" within a list
    opened: list[bytes] = []
    key, is_key = "", False
    for match in _MARK.finditer(data):
        mark = match[0]
        match mark[:1]:
            case b"{" | b"[":
                path.append(key)
                opened.append(mark)
                key, is_key = "", mark == b"{"
            case b"}" | b"]":
                key, is_key = path.pop(), False
                opened.pop()
            case b",":
                key, is_key = "", opened[-1] == b"{"
            case b":":
                is_key = False
            case _ if is_key:
                key = json.loads(mark)
            case _ if _is_type(path, key):
                yield match.start(), len(mark), json.loads(mark)


def _is_type(path: list[str], key: str) -> bool:
    named = key in _KEYS or path[-1] in _KEYS
    return named and not any(each in _OTHERS for each in path)
