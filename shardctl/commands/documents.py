"""The JSON documents of the writers, and how a document is printed.

Keys are stable, sizes are integers in bytes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shardctl.columns import names_of
from shardctl.stores.base import Copied
from shardctl.stores.uploads import has_uploads

if TYPE_CHECKING:
    from shardctl.commands.preparing.prepared import Prepared
    from shardctl.commands.preparing.tree import Part
    from shardctl.commands.preparing.work import Work
    from shardctl.commands.saved.sharing import Share
    from shardctl.engine.journal.receipts import Receipt
    from shardctl.engine.shared.share import PartDone
    from shardctl.planning.carried import NotCarried
    from shardctl.stores.base import Store

SCHEMA_VERSION = 1
#: Values of a long list that are made into text together.
_VALUES_AT_A_TIME = 1000


@dataclass(frozen=True, slots=True)
class Texts:
    """A list whose values are JSON texts already, where there may be a million of them."""

    values: Iterator[str]


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
            yield from _listed(value, lambda some: json.dumps(some)[1:-1])
        case Texts():
            yield from _listed(value.values, ", ".join)
        case _:
            yield json.dumps(value)


def _listed(values: Iterator[Any], text_of: Callable[[list[Any]], str]) -> Iterator[str]:
    before = "["
    while some := list(itertools.islice(values, _VALUES_AT_A_TIME)):
        yield before + text_of(some)
        before = ", "
    yield "]" if before == ", " else "[]"


def writing(
    command: str, work: Work, target_store: Store, written: Mapping[str, Sequence[Receipt]] | None
) -> dict[str, Any]:
    """Return what `split`, `merge` and `reshard` print as JSON.

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
                "tensors": names_of(shard.tensors),
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


def part_document(share: Share, prepared: Prepared, done: PartDone) -> dict[str, Any]:
    """Return what `apply` prints for one part of a run."""
    shards = prepared.plan.shards
    states = done.states(shard.filename for shard in shards)
    digests = {receipt.filename: receipt.sha256 for receipt in (*done.written, *done.kept)}
    copied = sum((receipt.copied for receipt in done.written), Copied())
    return {
        "schema_version": SCHEMA_VERSION,
        "command": "apply",
        "done": False,
        "source": prepared.source,
        "target": prepared.target_text,
        "plan_id": prepared.plan.id,
        "part": {"number": share.number, "of": share.count},
        "complete": not done.missing,
        "shards": [
            {
                "name": shard.filename,
                "size": shard.size,
                "state": states[shard.filename],
                "sha256": digests.get(shard.filename),
            }
            for shard in shards
        ],
        "copied": {"kernel": copied.kernel, "shared": copied.shared, "buffered": copied.buffered},
        "damaged": [place for receipt in done.written for place in receipt.damaged],
    }
