"""The index of a sharded checkpoint: parsed strictly, and written as transformers writes it.

An index is a JSON object with `weight_map`, from tensor names to the names of shards, and
`metadata`, in which transformers needs `total_size` (bytes). Nothing here reads a file or opens a
shard.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from shardctl.findings import Finding, Severity, report_some
from shardctl.formats.base import Format
from shardctl.formats.index_scan import scan_index
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
from shardctl.naming import PLAIN_INDEX, check_shard_name, parse_index_name, plain_shard_name
from shardctl.text import escape
from shardctl.weight_map import WeightMap, shards_of

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
        root = scan_index(text) or parse_object(text, parse_float=finite_float)
    except InvalidJsonError as error:
        place = f" ({error.place})" if error.place else ""
        report(_finding("index-invalid", f"the index {error.message}{place}", path))
        return None
    report_some(_duplicates(root, path), report)
    metadata = _metadata(root, path, report)
    weight_map = root if _is_flat(root) else root.get("weight_map")
    if not isinstance(weight_map, dict | WeightMap) or not weight_map:
        report(_without_weight_map(data, root, path))
        return None
    others: list[str] = []
    listed: Mapping[str, str] = weight_map
    if isinstance(weight_map, dict):
        others = [name for name, shard in weight_map.items() if not isinstance(shard, str)]
    if others:
        listed = {name: shard for name, shard in weight_map.items() if isinstance(shard, str)}
    # Of a million tensors there are a few hundred shards: what follows looks at each once.
    plain = {shard: plain_shard_name(shard) for shard in shards_of(listed)}
    shards = dict.fromkeys(plain.values())
    report_some(_written_on_windows(plain, path), report)
    unsafe = _unsafe_names(shards, path)
    report_some(_wrong_entries(others, unsafe, path), report)
    report_some(_of_another_format(shards, unsafe, path), report)
    usable = listed
    if unsafe or list(shards) != list(plain):
        safe = {shard: name for shard, name in plain.items() if name not in unsafe}
        usable = {tensor: safe[shard] for tensor, shard in listed.items() if shard in safe}
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


def build_index(metadata: Mapping[str, object], shards: Mapping[str, Sequence[str]]) -> bytes:
    """Return the index file's bytes, equal to those of transformers, accelerate and diffusers.

    `shards` has the names of the tensors in each shard; no name is in two. The bytes are those of
    `json.dumps(…, indent=2, sort_keys=True)`, which takes seconds for a million names.
    """
    document = {"metadata": dict(metadata), "weight_map": {}}
    head = json.dumps(document, indent=2, sort_keys=True, allow_nan=False)
    names = list(itertools.chain.from_iterable(shards.values()))
    if not names:
        return f"{head}\n".encode()
    quote = json.encoder.encode_basestring_ascii
    # What follows each name.
    ends = list(
        itertools.chain.from_iterable(
            itertools.repeat(f": {quote(shard)}", len(held)) for shard, held in shards.items()
        )
    )
    order = sorted(range(len(names)), key=names.__getitem__)
    data = bytearray(head.removesuffix("}\n}").encode())
    for begin in range(0, len(order), _NAMES_AT_A_TIME):
        some = order[begin : begin + _NAMES_AT_A_TIME]
        # Names that follow one another are mostly in one shard.
        lines = ",\n    ".join(
            f"{end},\n    ".join(map(quote, map(names.__getitem__, held))) + end
            for end, held in itertools.groupby(some, ends.__getitem__)
        )
        data += f"{',' if begin else ''}\n    {lines}".encode()
    del names, ends, order  # before there is all of the text once more
    data += b"\n  }\n}\n"
    return bytes(data)


def _is_flat(root: Mapping[str, object]) -> bool:
    """Whether an index is a weight map and nothing else, which accelerate takes too."""
    suffixes = all_suffixes()
    return bool(root) and all(
        isinstance(shard, str) and shard.endswith(suffixes) for shard in root.values()
    )


def _written_on_windows(shards: Iterable[str], path: str) -> Iterator[Finding]:
    first = next(
        (
            shard
            for shard in shards
            if "\\" in shard and not check_shard_name(plain_shard_name(shard))
        ),
        None,
    )
    if first is not None:
        message = (
            f"the index lists '{escape(first)}' with a backslash, which loaders take for the name "
            "of a directory on Windows only"
        )
        yield _finding("index-invalid", message, path, severity="warning")


def _of_another_format(
    shards: Iterable[str], unsafe: Mapping[str, str], path: str
) -> Iterator[Finding]:
    """Yield a warning for files of a format that the index's name does not promise."""
    expected = _expected(path)
    if expected is None or expected.lists_any_suffix:
        return
    for shard in shards:
        found = promised_by(shard)
        if shard not in unsafe and found is not expected and found is not None:
            message = (
                f"the index promises {expected.suffix} files, and lists '{escape(shard)}': loaders "
                f"read it as {found.name}"
            )
            yield _finding("shard-name-unsafe", message, path, severity="warning")
            return


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
        # transformers does not look for the plain name, and accelerate needs no metadata.
        plain = path.replace("\\", "/").rpartition("/")[2] == PLAIN_INDEX
        message = (
            "the index has no metadata, which accelerate does not need"
            if plain
            else "the index has no metadata, and transformers fails on that with a KeyError"
        )
        severity: Severity = "note" if plain else "warning"
        report(_finding("index-metadata-missing", message, path, severity=severity))
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
    others: Iterable[str], unsafe: Mapping[str, str], path: str
) -> Iterator[Finding]:
    for name in others:
        message = f"'{escape(name)}' is not mapped to the name of a shard"
        yield _finding("index-invalid", message, path, tensor=name)
    for shard, reason in unsafe.items():
        hint = f"do not load this checkpoint unless you know where it comes from; {_REPAIR}"
        yield Finding(
            "shard-name-unsafe", "error", f"the index lists '{escape(shard)}': {reason}", hint, path
        )


def _unsafe_names(shards: Iterable[str], path: str) -> dict[str, str]:
    """Return each unsafe name of a shard, with the reason."""
    expected = _expected(path)
    other = _other_format(expected, shards)
    reasons = {
        name: check_shard_name(name) or _check_format(name, expected, other) for name in shards
    }
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _expected(path: str) -> Format | None:
    """Return the format that an index's name promises; None where it promises none."""
    name = parse_index_name(path.replace("\\", "/").rsplit("/", 1)[-1], all_suffixes())
    return None if name is None else promised_by(name.suffix)


def _other_format(expected: Format | None, names: Iterable[str]) -> Format | None:
    """Return the format of all the files, where the index's name promises another.

    transformers loads such a set (`.pt` files under the index of a safetensors one). The usual
    suffix of the other format has an index of another name, and is a mistake or an attack.
    """
    found = [promised_by(name) for name in names]
    only = found[0] if found else None
    if expected is None or only is None or only is expected:
        return None
    alike = all(each is only for each in found)
    return only if alike and not any(name.endswith(only.suffix) for name in names) else None


def _check_format(name: str, expected: Format | None, other: Format | None) -> str | None:
    """Return why an index of a format may not list a shard of this name; None where it may.

    The index of one format (safetensors) must never lead a loader to a file of another (a pickle)
    among its own. An index whose name promises no format may list any but pieces, which mean
    nothing by themselves.
    """
    found = promised_by(name)
    if found is not None and found.is_in_pieces:
        return "it holds pieces of tensors, whose places no index says"
    if expected is None:
        return None
    allowed = found in (expected, other) if found else expected.lists_any_suffix
    return None if allowed else f"it is not a {expected.suffix} file"


def _finding(
    code: str, message: str, path: str, *, severity: Severity = "error", tensor: str | None = None
) -> Finding:
    return Finding(code, severity, message, _REPAIR, path, tensor)
