"""The JSON documents of the commands. Keys are stable, sizes are integers in bytes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shardctl.planning.plan import LAYOUT_VERSION
from shardctl.planning.request import options_of
from shardctl.stores.base import Copied

if TYPE_CHECKING:
    from shardctl.commands.index import Reindexed
    from shardctl.commands.inspect import Inspection
    from shardctl.commands.prepare import Prepared
    from shardctl.engine.receipts import Receipt
    from shardctl.model import Tensor
    from shardctl.stores.base import Store
    from shardctl.verify.run import Verdict

SCHEMA_VERSION = 1
#: Data begins at a multiple of this many bytes in the compact layout of safetensors.
COMPACT_BLOCK = 8
#: Values of a long list that are made into text together.
_VALUES_AT_A_TIME = 1000


def dump(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a document as one line, in pieces: an iterator becomes a list, never held whole."""
    before = "{"
    for key, value in document.items():
        yield f"{before}{json.dumps(key)}: "
        if isinstance(value, Iterator):
            yield from _listed(value)
        else:
            yield json.dumps(value)
        before = ", "
    yield "}\n"


def _listed(values: Iterator[Any]) -> Iterator[str]:
    before = "["
    while some := list(itertools.islice(values, _VALUES_AT_A_TIME)):
        yield before + json.dumps(some)[1:-1]
        before = ", "
    yield "]" if before == ", " else "[]"


def inspection(found: Inspection) -> dict[str, Any]:
    """Return what `inspect --json` prints; `tensors` is an iterator, for `dump`."""
    checkpoint = found.checkpoint
    return {
        "schema_version": SCHEMA_VERSION,
        "command": "inspect",
        "source": found.source,
        "container": checkpoint.format,
        "index": found.index_name,
        "total_size": found.total_size,
        "total_parameters": found.total_parameters,
        "metadata": dict(checkpoint.metadata),
        "files": [
            {
                "name": file.name,
                "size": file.size,
                "tensors": file.tensors,
                "data_size": file.data_size,
            }
            for file in found.files
        ],
        "tensors": (_tensor(tensor, found) for tensor in found.tensors),
    }


def _tensor(tensor: Tensor, found: Inspection) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype.name,
        "shape": list(tensor.shape),
        "nbytes": tensor.nbytes,
        "file": found.file_names[tensor.storage.extent.path],
        "offset": tensor.span.offset,
        "tied_to": found.tied_to.get(tensor.name),
    }


def writing(
    command: str, prepared: Prepared, target_store: Store, receipts: Sequence[Receipt] | None
) -> dict[str, Any]:
    """Return what `split`, `merge` and `reshard` print with `--json`.

    `receipts` is None where nothing was written.
    """
    plan = prepared.plan
    digests = {receipt.filename: receipt.sha256 for receipt in receipts or ()}
    copied = sum((receipt.copied for receipt in receipts or ()), Copied())
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "done": receipts is not None,
        "source": prepared.source,
        "target": prepared.target_text,
        "loads_from": prepared.path(target_store),
        "container": plan.request.format,
        "total_size": plan.total_size,
        "max_shard_size": plan.request.limits.max_shard_bytes,
        "plan_id": plan.id,
        "shards": [
            {
                "name": shard.filename,
                "size": shard.size,
                "data_size": shard.data_size,
                "tensors": [tensor.name for tensor in shard.tensors],
                "sha256": digests.get(shard.filename),
            }
            for shard in plan.shards
        ],
        "oversize": list(plan.oversize),
        "copied": {"kernel": copied.kernel, "shared": copied.shared, "buffered": copied.buffered},
        "companions": list(prepared.companions),
        "superseded": list(prepared.changes.superseded),
        "damaged": [place for receipt in receipts or () for place in receipt.damaged],
    }
    if prepared.more_sources:
        document["more_sources"] = list(prepared.more_sources)
    return document


def plan_file(
    command: str, prepared: Prepared, source_store: Store, target_store: Store
) -> dict[str, Any]:
    """Return the plan file, which a writer prints with `--dry-run --json`."""
    options = options_of(prepared.plan.request)
    return {
        **writing(command, prepared, target_store, None),
        "plan": {
            "layout_version": LAYOUT_VERSION,
            "layout": options["layout"],
            "block_size": prepared.plan.request.block or COMPACT_BLOCK,
            "options": options,
            "sources": _sources(prepared, source_store),
        },
    }


def _sources(prepared: Prepared, source_store: Store) -> list[dict[str, Any]]:
    names = prepared.located.names(source_store)
    return [
        {"name": names[file.path], "size": file.version.size, "header_sha256": file.header_sha256}
        for file in prepared.checkpoint.files
    ]


def indexing(source: str, made: Reindexed, *, check: bool) -> dict[str, Any]:
    """Return what `index --json` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "command": "index",
        "done": bool(made.changes) and not check,
        "source": source,
        "index": made.path,
        "changes": list(made.changes),
    }


def verdict(source: str, found: Verdict) -> dict[str, Any]:
    """Return what `verify --json` prints; digests are those of tensors that were found equal."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "command": "verify",
        "source": source,
        "ok": found.ok,
        "depth": found.depth,
        "checked": {"files": found.files, "tensors": found.tensors, "bytes": found.bytes},
        "counts": found.counts,
        "findings": [
            {
                "code": finding.code,
                "severity": finding.severity,
                "file": finding.file,
                "tensor": finding.tensor,
                "offset": finding.offset,
                "message": finding.message,
                "hint": finding.hint,
            }
            for finding in found.findings
        ],
        "unchecked": [
            {"what": each.what, "reason": each.reason} for each in found.coverage.unchecked
        ],
    }
    return {**document, "digests": dict(found.digests)} if found.digests else document
