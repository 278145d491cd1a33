"""The index of a sharded checkpoint: parsed strictly, and written as transformers writes it.

An index is a JSON object with `weight_map`, from tensor names to the names of shards, and
`metadata`, in which transformers needs `total_size` (bytes). Nothing here reads a file or opens a
shard.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from shardctl.findings import Finding, Severity, report_some
from shardctl.formats.limits import INDEX_PER_VALUE, MAX_INDEX_BYTES, MAX_JSON_DEPTH
from shardctl.formats.registry import all_suffixes, promised_by
from shardctl.formats.sniff import SNIFFED_BYTES, answer, impostor
from shardctl.formats.strict_json import (
    Density,
    InvalidJsonError,
    decode,
    duplicate_keys,
    finite_float,
    is_too_deep,
    parse_object,
    refuse_dense,
)
from shardctl.model import Index
from shardctl.naming import IndexName, check_shard_name, parse_index_name
from shardctl.text import escape

_REPAIR = "write the index again from the shards' headers with `reindex`"
_DENSITY = Density(INDEX_PER_VALUE, INDEX_PER_VALUE, INDEX_PER_VALUE)
#: Names that are made into text together, so that a million of them are in memory as text but once.
_NAMES_AT_A_TIME = 10_000

_Report = Callable[[Finding], None]


def parse_index(data: bytes, path: str, report: _Report) -> Index | None:
    """Parse an index; the name in `path` says which shards it may list.

    Everything wrong with it goes to `report`. Returns None where it has no usable weight map;
    shards with unsafe names are left out.
    """
    wrong = too_large(len(data), path) or impostor(data[:SNIFFED_BYTES], path, len(data))
    if wrong is not None:
        report(wrong)
        return None
    try:
        text = decode(data)
        refuse_dense(text, _DENSITY)
        # What is read is written again by `build_index`, which cannot write infinity.
        root = parse_object(text, parse_float=finite_float)
    except InvalidJsonError as error:
        place = f" ({error.place})" if error.place else ""
        report(_finding("index-invalid", f"the index {error.message}{place}", path))
        return None
    report_some(_duplicates(root, path), report)
    metadata = _metadata(root, path, report)
    weight_map = root.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        report(_without_weight_map(data, root, path))
        return None
    unsafe = _unsafe_names(weight_map, path)
    report_some(_wrong_entries(weight_map, unsafe, path), report)
    usable = _usable(weight_map, unsafe)
    unusable = tuple(name for name in weight_map if name not in usable) if unsafe else ()
    return Index(path, metadata, usable, unusable)


def _without_weight_map(data: bytes, root: Mapping[str, object], path: str) -> Finding:
    """Return the finding for a JSON document that lists no tensors: most are something else."""
    if "weight_map" in root:
        return _finding("index-invalid", "weight_map is not an object that lists tensors", path)
    said = answer(data[:SNIFFED_BYTES], len(data))
    if said is not None:
        return Finding("index-invalid", "error", *said, path)
    message = "the index has no weight_map"
    if ".index." in path.replace("\\", "/").rpartition("/")[2]:
        return _finding("index-invalid", message, path)
    hint = "name the directory, the weights, or an index that ends in .index.json"
    return Finding(
        "index-invalid", "error", f"the file is JSON, not weights: {message}", hint, path
    )


def too_large(size: int, path: str) -> Finding | None:
    """Return the finding for an index that is too large to read; None for a smaller one."""
    if size <= MAX_INDEX_BYTES:
        return None
    return _finding(
        "index-invalid",
        f"the index has {size:,} bytes; more than {MAX_INDEX_BYTES:,} are not read",
        path,
    )


def build_index(metadata: Mapping[str, object], weight_map: Mapping[str, str]) -> bytes:
    """Return the index file's bytes, equal to those of transformers, accelerate and diffusers.

    They are those of `json.dumps(…, indent=2, sort_keys=True)`, which takes seconds for a million
    names.
    """
    document = {"metadata": dict(metadata), "weight_map": {}}
    head = json.dumps(document, indent=2, sort_keys=True, allow_nan=False)
    if not weight_map:
        return f"{head}\n".encode()
    quote = json.encoder.encode_basestring_ascii
    shards = {shard: quote(shard) for shard in weight_map.values()}
    names = sorted(weight_map)
    parts = [head.removesuffix("}\n}").encode()]
    for begin in range(0, len(names), _NAMES_AT_A_TIME):
        lines = (
            f"    {quote(name)}: {shards[weight_map[name]]}"
            for name in names[begin : begin + _NAMES_AT_A_TIME]
        )
        parts.append((",\n" if begin else "\n").encode() + ",\n".join(lines).encode())
    return b"".join((*parts, b"\n  }\n}\n"))


def _duplicates(root: dict[str, object], path: str) -> Iterator[Finding]:
    places = (
        ("the index", root),
        ("metadata", root.get("metadata")),
        ("weight_map", root.get("weight_map")),
    )
    for place, members in places:
        for key in duplicate_keys(members):
            tensor = key if place == "weight_map" else None
            message = f"duplicate key '{escape(key)}' in {place}"
            yield _finding("index-duplicate-key", message, path, tensor=tensor)


def _metadata(root: dict[str, object], path: str, report: _Report) -> dict[str, object]:
    if "metadata" not in root:
        message = "the index has no metadata, and transformers fails on that with a KeyError"
        report(_finding("index-metadata-missing", message, path, severity="warning"))
        return {}
    metadata = root["metadata"]
    if not isinstance(metadata, dict):
        report(_finding("index-invalid", "metadata is not an object", path))
        return {}
    if is_too_deep(metadata):
        message = f"metadata is nested more than {MAX_JSON_DEPTH} levels deep"
        report(_finding("index-invalid", message, path))
        return {}
    return metadata


def _wrong_entries(
    weight_map: Mapping[str, object], unsafe: Mapping[str, str], path: str
) -> Iterator[Finding]:
    for name, shard in weight_map.items():
        if not isinstance(shard, str):
            message = f"'{escape(name)}' is not mapped to the name of a shard"
            yield _finding("index-invalid", message, path, tensor=name)
    for shard, reason in unsafe.items():
        hint = f"do not load this checkpoint unless you know where it comes from; {_REPAIR}"
        yield Finding(
            "shard-name-unsafe", "error", f"the index lists '{escape(shard)}': {reason}", hint, path
        )


def _usable(weight_map: Mapping[str, object], unsafe: Mapping[str, str]) -> dict[str, str]:
    # One string for each shard: a map of a million tensors has a few hundred of them.
    shards = {
        shard: shard
        for shard in weight_map.values()
        if isinstance(shard, str) and shard not in unsafe
    }
    return {
        name: shards[shard]
        for name, shard in weight_map.items()
        if isinstance(shard, str) and shard not in unsafe
    }


def _unsafe_names(weight_map: Mapping[str, object], path: str) -> dict[str, str]:
    """Return each unsafe name of a shard, once, with the reason."""
    index_name = parse_index_name(path.replace("\\", "/").rsplit("/", 1)[-1], all_suffixes())
    names = dict.fromkeys(shard for shard in weight_map.values() if isinstance(shard, str))
    reasons = {name: check_shard_name(name) or _check_format(name, index_name) for name in names}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _check_format(name: str, index: IndexName | None) -> str | None:
    """Return why an index of that name may not list a shard of this name; None where it may.

    The index of one format (safetensors) must never lead a loader to another (a pickle). An index
    whose name promises no format may list any.
    """
    expected = None if index is None else promised_by(index.suffix)
    if index is None or expected is None:
        return None
    found = promised_by(name)
    allowed = found is expected or (found is None and expected.lists_any_suffix)
    return None if allowed else f"it is not a {index.suffix} file"


def _finding(
    code: str, message: str, path: str, *, severity: Severity = "error", tensor: str | None = None
) -> Finding:
    return Finding(code, severity, message, _REPAIR, path, tensor)
