"""The JSON documents of the readers. Keys are stable, sizes are integers in bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from shardctl.columns import Form, rows_of
from shardctl.commands.documents import SCHEMA_VERSION, Texts

if TYPE_CHECKING:
    from shardctl.commands.diff import Difference
    from shardctl.commands.index import Reindexed
    from shardctl.commands.inspect import Inspection
    from shardctl.commands.pipeline import Inspected
    from shardctl.model import Tensor
    from shardctl.streams.statistics import Statistics
    from shardctl.verify.run import Verdict


def inspection(found: Inspected, *, top: int | None = None) -> dict[str, Any]:
    """Return what `inspect --json` prints: every tensor, or the `top` largest of each component.

    `tensors` are texts, for `dump`.
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
        "tensors": Texts(_tensors(tensors, found)),
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


def _tensors(tensors: Iterable[Tensor], found: Inspection) -> Iterator[str]:
    """Yield the JSON text of each tensor; what many have in common is made into text once."""
    quote = json.encoder.encode_basestring_ascii
    forms: dict[tuple[str, tuple[int, ...], str], str] = {}
    for name, form, path, begin in rows_of(tensors):
        kind = form.dtype.name, form.shape, path
        common = forms.get(kind)
        if common is None:
            common = forms[kind] = json.dumps(_form(form, found.file_names[path]))[1:-1]
        tied_to = found.tied_to.get(name)
        text = (
            f'"name": {quote(name)}, {common}, "offset": {begin}, '
            f'"tied_to": {"null" if tied_to is None else quote(tied_to)}'
        )
        if found.statistics is not None:
            statistics = json.dumps(_statistics(found.statistics[name]))
            text = f'{text}, "statistics": {statistics}'
        yield f"{{{text}}}"


def _form(form: Form, file: str) -> dict[str, Any]:
    return {
        "dtype": form.dtype.name,
        "shape": list(form.shape),
        "nbytes": form.nbytes,
        "file": file,
    }


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
