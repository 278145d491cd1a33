"""What a report shows: files with their tensors, sums and findings.

A tensor has its place in one file once: names that are tied to it are counted, not drawn again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from shardctl.commands.inspect import Inspection, inspect_checkpoint
from shardctl.commands.prepare import Prepared
from shardctl.errors import InputError, UsageError
from shardctl.findings import Finding, ignore
from shardctl.model import Tensor
from shardctl.sizes import format_size
from shardctl.source.locate import find_source
from shardctl.source.read import read_checkpoint
from shardctl.storages import by_file
from shardctl.stores.base import Store
from shardctl.text import MOST_COLUMNS, elide, escape
from shardctl.verify.run import Verdict
from shardctl.view.files import Bars, FileBar, Stretch, before_and_after
from shardctl.view.findings import counted, shown
from shardctl.view.kinds import kind_of
from shardctl.view.shares import Share, group_shares
from shardctl.view.tensors import TensorRow, bytes_once


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file as a bar, which its tensors fill, and a row for each of them, in order."""

    bar: FileBar
    rows: tuple[TensorRow, ...]

    @classmethod
    def of(cls, name: str, size: int, rows: Iterable[TensorRow]) -> FileContent:
        """Return the content of a file of `size` bytes; its name is not escaped yet."""
        held = tuple(map(_short, rows))
        nbytes = sum(row.nbytes for row in held)
        return cls(FileBar(escape(name), nbytes, size, len(held)), held)


@dataclass(frozen=True, slots=True)
class Content:
    """A whole report. `limit` is that of a plan, in bytes of tensors in a file.

    `findings` is None where nothing was checked, and `stretches` is empty for what is not a plan.
    """

    title: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    files: tuple[FileContent, ...] = ()
    dtypes: tuple[Share, ...] = ()
    limit: int | None = None
    findings: tuple[Finding, ...] | None = None
    stretches: tuple[Stretch, ...] = ()

    @property
    def rows(self) -> Iterator[TensorRow]:
        """The tensors of all files, file after file."""
        return _rows(self.files)

    @property
    def kinds(self) -> tuple[Share, ...]:
        """The shares of the kinds of tensors, largest first."""
        return group_shares((kind_of(row.name), row.nbytes) for row in self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(file.bar.nbytes for file in self.files)

    @property
    def bars(self) -> Bars:
        """The files on one scale."""
        return Bars(tuple(file.bar for file in self.files), self.limit)


def of_inspection(found: Inspection) -> Content:
    """Return what `inspect` shows."""
    checkpoint = found.checkpoint
    held: dict[str, Sequence[Tensor]] = {
        tensors[0].storage.extent.path: tensors for tensors in by_file(checkpoint.tensors)
    }
    files = tuple(
        FileContent.of(
            found.file_names[file.path],
            file.version.size,
            sorted(
                bytes_once(held.get(file.path, ()), written=True), key=lambda row: row.offset or 0
            ),
        )
        for file in checkpoint.files
    )
    return Content(
        title=escape(found.source),
        kind="checkpoint",
        facts=(
            ("format", checkpoint.format),
            ("files", f"{len(found.files):,}"),
            ("tensors", f"{len(found.tensors):,}"),
            ("parameters", f"{found.total_parameters:,}"),
            ("size", format_size(found.total_size)),
        ),
        files=files,
        dtypes=_dtypes(files),
    )


def of_plan(prepared: Prepared) -> Content:
    """Return what a writing command shows: the planned shards, in the order of packing."""
    plan, source = prepared.plan, prepared.checkpoint
    files = tuple(
        FileContent.of(shard.filename, shard.size, bytes_once(shard.tensors, written=False))
        for shard in plan.shards
    )
    limit = plan.request.limits.max_shard_bytes
    return Content(
        title=escape(prepared.source),
        kind="plan",
        facts=(
            ("target", escape(prepared.target_text)),
            ("format", plan.request.format),
            ("files", f"{len(source.files):,} → {len(files):,}"),
            ("tensors", f"{sum(len(shard.tensors) for shard in plan.shards):,}"),
            ("size", format_size(plan.total_size)),
            *((("limit", format_size(limit)),) if limit else ()),
        ),
        files=files,
        dtypes=_dtypes(files),
        limit=limit,
        stretches=before_and_after(source, plan),
    )


def of_verdict(source: str, found: Verdict, inspection: Inspection | None) -> Content:
    """Return what `verify` found, over what the checkpoint holds as far as it can be read."""
    read = Content("", "", ()) if inspection is None else of_inspection(inspection)
    read_facts = read.facts or (("files", f"{found.files:,}"), ("tensors", f"{found.tensors:,}"))
    return replace(
        read,
        title=escape(source),
        kind="verdict",
        facts=(
            ("verdict", "ok" if found.ok else "not ok"),
            ("found", counted(found.counts) or "nothing"),
            *read_facts,
        ),
        findings=tuple(map(shown, found.findings)),
    )


def _short(row: TensorRow) -> TensorRow:
    """A row whose name can be drawn: a page has it in many places."""
    return (
        row if len(row.name) <= MOST_COLUMNS else replace(row, name=elide(row.name, MOST_COLUMNS))
    )


def _rows(files: Iterable[FileContent]) -> Iterator[TensorRow]:
    return (row for file in files for row in file.rows)


def _dtypes(files: Iterable[FileContent]) -> tuple[Share, ...]:
    return group_shares((row.dtype, row.nbytes) for row in _rows(files))


def look(
    store: Store, source: str, key: str | None, variant: str | None = None
) -> Inspection | None:
    """Return the checkpoint as far as it can be read, without what is wrong with it.

    None where nothing of it can be read, or where SOURCE has several meanings.
    """
    try:
        located = find_source(store, source, whole_set=False, variant=variant)
        checkpoint = read_checkpoint(store, located, ignore, key, nested=True)
        return inspect_checkpoint(store, source, located, checkpoint, (), ())
    except (InputError, UsageError):
        return None
