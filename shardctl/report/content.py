"""What a report shows: files with their tensors, sums and findings.

A tensor has its place in one file once: names that are tied to it are counted, not drawn again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from shardctl.commands.inspect import Inspection, inspect_checkpoint
from shardctl.commands.pipeline import Inspected
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.preparing.work import Work
from shardctl.errors import InputError, UsageError
from shardctl.findings import Finding, ignore
from shardctl.sizes import format_size
from shardctl.source.locate import find_source
from shardctl.source.pipeline.components import find_pipeline
from shardctl.source.read import read_checkpoint
from shardctl.storages import tensors_by_path
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


def of_inspected(found: Inspected) -> Content:
    """Return what `inspect` shows, of a pipeline with the files of every component."""
    if found.pipeline is None:
        return of_inspection(found.parts[0][1])
    parts = [(name, of_inspection(part)) for name, part in found.parts]
    return _together("checkpoint", found.source, parts)


def of_inspection(found: Inspection) -> Content:
    """Return what `inspect` shows."""
    checkpoint = found.checkpoint
    held = tensors_by_path(checkpoint.tensors)
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


def of_work(work: Work) -> Content:
    """Return what a writing command shows, of a pipeline with the files of every component."""
    if work.pipeline is None:
        return of_plan(work.parts[0].prepared)
    parts = [(part.name, of_plan(part.prepared)) for part in work.weights]
    return _together("plan", work.source, parts, (("target", escape(work.target)),))


def _together(
    kind: str,
    source: str,
    parts: Sequence[tuple[str, Content]],
    facts: tuple[tuple[str, str], ...] = (),
) -> Content:
    """Return the contents of the components of a pipeline, by their names, as one."""
    files = tuple(_of_component(name, file) for name, content in parts for file in content.files)
    return Content(
        title=escape(source),
        kind=kind,
        facts=(
            *facts,
            ("components", ", ".join(escape(name) for name, _ in parts)),
            ("files", f"{len(files):,}"),
            ("tensors", f"{sum(len(file.rows) for file in files):,}"),
            ("size", format_size(sum(file.bar.nbytes for file in files))),
        ),
        files=files,
        dtypes=_dtypes(files),
        limit=parts[0][1].limit,
    )


def _of_component(name: str, file: FileContent) -> FileContent:
    """Return a file with the component's name before its own, and before those of its tensors.

    Two components often have tensors of one name, which are different tensors.
    """
    above = escape(name).replace("/", ".")
    return replace(
        file,
        bar=replace(file.bar, name=f"{escape(name)}/{file.bar.name}"),
        rows=tuple(_short(replace(row, name=f"{above}.{row.name}")) for row in file.rows),
    )


def of_verdict(source: str, found: Verdict, inspected: Inspected | None) -> Content:
    """Return what `verify` found, over what the checkpoint holds as far as it can be read."""
    read = Content("", "", ()) if inspected is None else of_inspected(inspected)
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
) -> Inspected | None:
    """Return the checkpoint as far as it can be read, without what is wrong with it.

    Of a pipeline those components that can be. None where nothing can be read, or where SOURCE has
    several meanings.
    """
    pipeline = find_pipeline(store, source)
    if pipeline is None:
        found = _look(store, source, key, variant)
        return None if found is None else Inspected(source, (("", found),))
    parts = [
        (
            each.name,
            _look(
                store,
                pipeline.path_of(store, each.name),
                key,
                each.variant_to_read(variant),
            ),
        )
        for each in pipeline.components
    ]
    held = tuple((name, part) for name, part in parts if part is not None)
    return Inspected(source, held, pipeline) if held else None


def _look(store: Store, source: str, key: str | None, variant: str | None) -> Inspection | None:
    try:
        located = find_source(store, source, whole_set=False, variant=variant)
        checkpoint = read_checkpoint(store, located, ignore, key, nested=True)
        return inspect_checkpoint(store, source, located, checkpoint, (), ())
    except (InputError, UsageError):
        return None
