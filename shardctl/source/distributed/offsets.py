"""Slices in safetensors files that torch saved from several processes, a file or more for each.

The metadata of such a file says where its slices begin in their tensors, and not how large these
are. So what begins elsewhere than at 0 is a slice, and what begins at 0 is one as well where files
of other processes lie beside it (`shard-00002-model-00001-of-00001.safetensors`). Source:
`HuggingFaceStorageWriter` and `_hf_utils.py` of torch 2.13.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from shardctl.findings import Finding
from shardctl.formats.strict_json import InvalidJsonError, parse_object
from shardctl.model import Tensor
from shardctl.stores.base import Store

_KEY, _OFFSETS = "DCP_SHARDING_INFO", "saved_offsets"
_OF_PROCESS = re.compile(r"shard-([0-9]+)-.+", re.DOTALL)


def slices(
    store: Store, of_tensors: Mapping[str, Mapping[str, str]], tensors: Mapping[str, Tensor]
) -> Iterator[Finding]:
    """Yield an error for each tensor that is one slice of a larger one.

    `of_tensors` are the values that the metadata has for each tensor, as JSON texts by key.
    """
    sliced: dict[str, bool] = {}
    for name, text in of_tensors.get(_KEY, {}).items():
        tensor = tensors.get(name)
        if tensor is None:
            continue
        begin = _offsets(text)
        path = tensor.storage.extent.path
        if path not in sliced:
            sliced[path] = _has_other_processes(store, path)
        if any(begin) or (begin and sliced[path]):
            yield Finding(
                "tensor-slices",
                "error",
                f"it is the slice of one process, which begins at {begin} of the whole tensor",
                "join the files of all processes first, with `consolidate_safetensors_files` of "
                "torch",
                path,
                name,
            )


def _offsets(text: str) -> list[int]:
    """Return where a slice begins, in elements along each dimension; empty where it is not said."""
    try:
        found = parse_object(text).get(_OFFSETS)
    except InvalidJsonError:
        return []
    if not isinstance(found, list) or not all(type(each) is int for each in found):
        return []
    return found


def _has_other_processes(store: Store, path: str) -> bool:
    directory, name = store.split(path)
    own = _OF_PROCESS.fullmatch(name)
    if own is None:
        return False
    found = (_OF_PROCESS.fullmatch(entry.name) for entry in store.list(directory))
    return any(each is not None and int(each[1]) != int(own[1]) for each in found)
