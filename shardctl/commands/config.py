"""The type that a configuration gives for the weights, which follows their conversion.

transformers makes a model in the type that `config.json` says (`dtype`, or `torch_dtype` before
version 5), also those of the parts of a larger model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from shardctl.model import Cast
from shardctl.planning.plan import Plan
from shardctl.stores.base import Store

CONFIG = "config.json"
#: What a configuration calls a type; those of 8 bits are of no use there, since no model runs in
#: them without scales.
_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_DTYPE = re.compile(
    rf'(?P<key>"(?:torch_)?dtype"\s*:\s*)"(?P<type>(?:torch\.)?(?:{"|".join(_NAMES.values())}))"'
)
#: A configuration of more bytes is left as it is: it is none of a model.
_MOST_BYTES = 4 * 1024 * 1024


def edited(store: Store, companions: Mapping[str, str], plan: Plan) -> dict[str, bytes]:
    """Return the contents of companions that change, by name.

    Only the type is changed, and only where tensors were converted to one that a model can have;
    everything else of the file stays as it is. `companions` are the paths in the store, by name.
    """
    path, conversion = companions.get(CONFIG), plan.request.conversion
    if path is None or conversion is None or not _converts(plan):
        return {}
    name = _NAMES.get(conversion.dtype)
    if name is None or store.version(path).size > _MOST_BYTES:
        return {}
    with store.open(path) as reader:
        data = bytes(reader.read(0, reader.version.size))
    try:
        text = data.decode()
        json.loads(text)
    except (ValueError, RecursionError):
        return {}  # which a loader has to say
    # A quote within a text is escaped, so that this finds members alone.
    changed = _DTYPE.sub(lambda found: f'{found["key"]}"{name}"', text).encode()
    return {} if changed == data else {CONFIG: changed}


def _converts(plan: Plan) -> bool:
    return any(
        isinstance(tensor.storage.made, Cast) for shard in plan.shards for tensor in shard.tensors
    )


def edited_notes(plan: Plan, contents: Mapping[str, bytes]) -> Iterator[str]:
    """Yield a note on the configuration that changes; `contents` are those of `edited`."""
    conversion = plan.request.conversion
    if contents and conversion is not None:
        yield f"'{CONFIG}' goes along with the type {_NAMES[conversion.dtype]}"
