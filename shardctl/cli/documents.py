"""The JSON documents of the commands. Keys are stable, sizes are integers in bytes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shardctl.planning.plan import LAYOUT_VERSION
from shardctl.planning.request import options_of
from shardctl.stores.base import Copied
from shardctl.stores.uploads import has_uploads

if TYPE_CHECKING:
    from shardctl.commands.diff import Difference
    from shardctl.commands.index import Reindexed
    from shardctl.commands.inspect import Inspection
    from shardctl.commands.pipeline import Inspected
    from shardctl.commands.prepared import Prepared
    from shardctl.commands.tree import Part
    from shardctl.commands.work import Work
    from shardctl.engine.receipts import Receipt
    from shardctl.engine.space import Room
    from shardctl.model import Tensor
    from shardctl.planning.carried import NotCarried
    from shardctl.stores.base import Store
    from shardctl.streams.statistics import Statistics
    from shardctl.verify.run import Verdict

SCHEMA_VERSION = 1
#: Data begins at a multiple of this many bytes in the compact layout of safetensors.
COMPACT_BLOCK = 8
#: Values of a long list that are made into text together.
_VALUES_AT_A_TIME = 1000


def dump(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a document as one line, in pieces: an iterator becomes a list, never held whole.

    Documents within it, in objects and in tuples, are made in the same way.
    """
    yield from _pieces(document)
    yield "\n"


def _pieces(value: object) -> Iterator[str]:
    match value:
        case Mapping():
            before = "{"
            for key, inner in value.items():
                yield f"{before}{json.dumps(key)}: "
                yield from _pieces(inner)
                before = ", "
            yield "}" if before == ", " else "{}"
        case tuple():
            before = "["
            for inner in value:
                yield before
                yield from _pieces(inner)
                before = ", "
            yield "]" if before == ", " else "[]"
        case Iterator():
            yield from _listed(value)
        case _:
            yield json.dumps(value)


def _listed(values: Iterator[Any]) -> Iterator[str]:
    before = "["
    while some := list(itertools.islice(values, _VALUES_AT_A_TIME)):
        yield before + json.dumps(some)[1:-1]
        before = ", "
    yield "]" if before == ", " else "[]"


def inspection(found: Inspected, *, top: int | None = None) -> dict[str, Any]:
    """Return what `inspect --json` prints: every tensor, or the `top` largest of each component.

    `tensors` is an iterator, for `dump`.
    """
    if found.pipeline is None:
        return _inspection(found.parts[0][1], top)
    return {
        "schema_version": SCHEMA_VERSION,
        "command": "inspect",
        "source": found.source,
        "total_size": found.total_size,
        "total_parameters": found.total_parameters,
        "components": tuple(
            {"name": name, "document": _inspection(part, top)} for name, part in found.parts
        ),
    }


def _inspection(found: Inspection, top: int | None) -> dict[str, Any]:
    tensors: Iterable[Tensor] = found.tensors
    if top:
        from shardctl.view.tensors import largest  # noqa: PLC0415 - only where it is asked for

        tensors = largest(tensors, top)
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
        "tensors": (_tensor(tensor, found) for tensor in tensors),
        "non_tensors": [
            {
                "name": value.name,
                "kind": value.kind,
                "unread": value.unread,
                "storages": value.storages,
                "nbytes": value.nbytes,
            }
            for value in found.non_tensors
        ],
        "warnings": list(found.warnings),
    }


def _tensor(tensor: Tensor, found: Inspection) -> dict[str, Any]:
    document = {
        "name": tensor.name,
        "dtype": tensor.dtype.name,
        "shape": list(tensor.shape),
        "nbytes": tensor.nbytes,
        "file": found.file_names[tensor.storage.extent.path],
        "offset": tensor.span.offset,
        "tied_to": found.tied_to.get(tensor.name),
    }
    if found.statistics is None:
        return document
    return {**document, "statistics": _statistics(found.statistics[tensor.name])}


def _statistics(numbers: Statistics | None) -> dict[str, Any] | None:
    if numbers is None:
        return None
    return {
        "min": numbers.least,
        "max": numbers.largest,
        "mean": numbers.mean,
        "nan": numbers.nan,
        "inf": numbers.infinite,
        "zeros": numbers.zeros,
    }


def writing(
    command: str, work: Work, target_store: Store, written: Mapping[str, Sequence[Receipt]] | None
) -> dict[str, Any]:
    """Return what `split`, `merge` and `reshard` print with `--json`.

    `written` has the receipts of each part, by its name; it is None where nothing was written.
    """

    def receipts(part: Part) -> Sequence[Receipt] | None:
        return None if written is None else written[part.name]

    if work.pipeline is None:
        return _writing(command, work.parts[0].prepared, target_store, receipts(work.parts[0]))
    documents = tuple(
        {
            "name": part.name,
            "document": _writing(command, part.prepared, target_store, receipts(part)),
        }
        for part in work.weights
    )
    rest = [part.prepared for part in work.parts if not part.has_weights]
    left = [*work.left, *(each for prepared in rest for each in prepared.not_carried)]
    return {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "done": written is not None,
        "up_to_date": work.up_to_date,
        "source": work.source,
        "target": work.target,
        "loads_from": work.path(target_store),
        "total_size": sum(part.prepared.plan.total_size for part in work.weights),
        "components": documents,
        "companions": [name for prepared in rest for name in prepared.companions],
        "superseded": [name for prepared in rest for name in prepared.changes.superseded],
        "not_carried": _not_carried(left),
    }


def _writing(
    command: str, prepared: Prepared, target_store: Store, receipts: Sequence[Receipt] | None
) -> dict[str, Any]:
    """Return the document of one run. `receipts` is None where nothing was written."""
    plan = prepared.plan
    digests = {receipt.filename: receipt.sha256 for receipt in receipts or ()}
    copied = sum((receipt.copied for receipt in receipts or ()), Copied())
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "done": receipts is not None,
        "up_to_date": prepared.up_to_date,
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
        "copied": {
            "kernel": copied.kernel,
            "shared": copied.shared,
            "buffered": copied.buffered,
            **({"server": copied.server} if has_uploads(target_store) else {}),
        },
        "companions": list(prepared.companions),
        "superseded": list(prepared.changes.superseded),
        "not_carried": _not_carried(prepared.not_carried),
        "damaged": [
            *prepared.accepted,
            *(place for receipt in receipts or () for place in receipt.damaged),
        ],
    }
    if prepared.more_sources:
        document["more_sources"] = list(prepared.more_sources)
    return document


def _not_carried(left: Iterable[NotCarried]) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "kind": each.kind, "reason": each.reason, "size": each.size}
        for each in left
    ]


def plan_file(command: str, work: Work, source_store: Store, target_store: Store) -> dict[str, Any]:
    """Return the plan file, which a writer prints with `--dry-run --json`."""
    document = writing(command, work, target_store, None)
    if work.pipeline is None:
        prepared = work.parts[0].prepared
        return {**document, "plan": _plan(prepared, source_store), "room": _room(work.room)}
    for part, component in zip(work.weights, document["components"], strict=True):
        component["document"]["plan"] = _plan(part.prepared, source_store)
        component["document"]["room"] = _room(part.prepared.room)
    return {**document, "room": _room(work.room)}


def _plan(prepared: Prepared, source_store: Store) -> dict[str, Any]:
    options = options_of(prepared.plan.request)
    return {
        "layout_version": LAYOUT_VERSION,
        "layout": options["layout"],
        "block_size": prepared.plan.request.block or COMPACT_BLOCK,
        "options": options,
        "sources": _sources(prepared, source_store),
    }


def _room(room: Room) -> dict[str, Any]:
    return {"needed": room.needed, "free": room.free}


def _sources(prepared: Prepared, source_store: Store) -> list[dict[str, Any]]:
    names = prepared.located.names(source_store)
    return [
        {"name": names[file.path], "size": file.version.size, "header_sha256": file.header_sha256}
        for file in prepared.checkpoint.files
    ]


def indexing(source: str, made: Reindexed, *, check: bool) -> dict[str, Any]:
    """Return what `index --json` prints; `done` and `up_to_date` are as in writers."""
    return {
        "schema_version": SCHEMA_VERSION,
        "command": "index",
        "done": not (check and made.changes),
        "up_to_date": not made.changes,
        "source": source,
        "index": made.path,
        "changes": list(made.changes),
    }


def difference(found: Difference) -> dict[str, Any]:
    """Return what `diff --json` prints; `changes` is an iterator, for `dump`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "command": "diff",
        "a": found.a,
        "b": found.b,
        "same": found.same,
        "equal": found.equal,
        "left_out": found.left_out,
        "incomplete": list(found.incomplete),
        "changes": (
            {
                "name": change.name,
                "change": change.what,
                "a": _typed(change.a),
                "b": _typed(change.b),
                "distance": None
                if change.distance is None
                else {
                    "changed": change.distance.changed,
                    "largest": change.distance.largest,
                    "mean": change.distance.mean,
                },
            }
            for change in found.changes
        ),
    }


def _typed(tensor: Tensor | None) -> dict[str, Any] | None:
    if tensor is None:
        return None
    return {"dtype": tensor.dtype.name, "shape": list(tensor.shape), "nbytes": tensor.nbytes}


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
    if found.components:
        document["components"] = [
            {
                "name": name,
                "ok": each.ok,
                **({"digests": dict(each.digests)} if each.digests else {}),
            }
            for name, each in found.components
        ]
    return {**document, "digests": dict(found.digests)} if found.digests else document
