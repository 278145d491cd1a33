"""What a report shows, as values: shards with their tensors, sums, findings. Every name in it is escaped already.

A tensor has its place in one shard once: names that are tied to it are counted, not drawn again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from shardctl.commands.inspect import Inspection, inspect_checkpoint
from shardctl.commands.write import Prepared
from shardctl.errors import InputError, UsageError
from shardctl.findings import Finding
from shardctl.model import Tensor
from shardctl.sizes import format_size
from shardctl.source.locate import find_source
from shardctl.source.read import read_checkpoint
from shardctl.storages import storage_units
from shardctl.stores.base import Store
from shardctl.text import escape, printable
from shardctl.verify.run import Verdict


@dataclass(frozen=True, slots=True)
class Item:
    """A tensor in a shard: the bytes that it takes there, and its offset in the file, None where it has none yet.

    `others` is the number of further names for the same bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    offset: int | None = None
    others: int = 0


@dataclass(frozen=True, slots=True)
class ShardView:
    """A file: `size` is the whole file's, in bytes; its tensors in order."""

    name: str
    size: int
    items: tuple[Item, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(item.nbytes for item in self.items)


@dataclass(frozen=True, slots=True)
class Content:
    """A whole report. `limit` in bytes of tensors, for a plan that has one; `findings` None: nobody looked for any."""

    title: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    shards: tuple[ShardView, ...]
    limit: int | None = None
    findings: tuple[Finding, ...] | None = None
    before: tuple[tuple[str, int], ...] = ()

    @property
    def items(self) -> Iterator[Item]:
        """All tensors, shard after shard."""
        return (item for shard in self.shards for item in shard.items)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(shard.nbytes for shard in self.shards)

    def dtypes(self) -> list[tuple[str, int, int]]:
        """For each dtype, the one with most bytes first: its name, the number of tensors, and their bytes."""
        counts: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for item in self.items:
            counts[item.dtype] += 1
            sizes[item.dtype] += item.nbytes
        return [
            (name, counts[name], size)
            for name, size in sorted(sizes.items(), key=lambda both: -both[1])
        ]


def of_inspection(found: Inspection) -> Content:
    """What `inspect` shows."""
    checkpoint = found.checkpoint
    by_path: dict[str, list[Tensor]] = {file.path: [] for file in checkpoint.files}
    for tensor in checkpoint.tensors:
        by_path[tensor.storage.extent.path].append(tensor)
    shards = tuple(
        ShardView(
            escape(found.file_names[file.path]),
            file.version.size,
            tuple(sorted(_items(by_path[file.path]), key=lambda item: item.offset or 0)),
        )
        for file in checkpoint.files
    )
    return Content(
        title=escape(found.source),
        kind="checkpoint",
        facts=(
            ("container", checkpoint.format),
            ("files", f"{len(found.files):,}"),
            ("tensors", f"{len(found.tensors):,}"),
            ("parameters", f"{found.total_parameters:,}"),
            ("size", format_size(found.total_size)),
        ),
        shards=shards,
    )


def of_plan(prepared: Prepared) -> Content:
    """What a writer's `--dry-run` shows: the shards that shall be, in the order of packing."""
    plan = prepared.plan
    shards = tuple(
        ShardView(
            escape(s.filename),
            s.size,
            tuple(replace(item, offset=None) for item in _items(s.tensors)),
        )
        for s in plan.shards
    )
    limit = plan.request.limits.max_shard_bytes
    names = prepared.checkpoint.files
    return Content(
        title=escape(prepared.source),
        kind="plan",
        facts=(
            ("target", escape(prepared.target_text)),
            ("container", plan.request.format),
            ("files", f"{len(names):,} → {len(shards):,}"),
            ("tensors", f"{sum(len(s.tensors) for s in plan.shards):,}"),
            ("size", format_size(plan.total_size)),
            *((("limit", format_size(limit)),) if limit else ()),
        ),
        shards=shards,
        limit=limit,
        before=tuple(
            (escape(file.path.replace("\\", "/").rsplit("/", 1)[-1]), file.version.size)
            for file in names
        ),
    )


def of_verdict(source: str, found: Verdict, inspection: Inspection | None) -> Content:
    """What `verify` found, over what the checkpoint holds as far as its headers can be read."""
    read = Content("", "", (), ()) if inspection is None else of_inspection(inspection)
    read_facts = read.facts or (("files", f"{found.files:,}"), ("tensors", f"{found.tensors:,}"))
    counted = ", ".join(
        f"{count:,} {name}{'' if count == 1 else 's'}"
        for name, count in found.counts.items()
        if count
    )
    return replace(
        read,
        title=escape(source),
        kind="verdict",
        facts=(
            ("verdict", "ok" if found.ok else "not ok"),
            ("found", counted or "nothing"),
            *read_facts,
        ),
        findings=tuple(map(_safe, found.findings)),
    )


def _safe(finding: Finding) -> Finding:
    return replace(
        finding,
        message=printable(finding.message),
        hint=printable(finding.hint),
        file=None if finding.file is None else escape(finding.file),
        tensor=None if finding.tensor is None else escape(finding.tensor),
    )


def _items(tensors: Sequence[Tensor]) -> Iterator[Item]:
    """The tensors of one file, so that their bytes add up to those that are there."""
    for unit in storage_units(tensors):
        distinct: dict[object, list[Tensor]] = {}
        for tensor in unit.tensors:
            distinct.setdefault(tensor.identity or tensor.name, []).append(tensor)
        groups = list(distinct.values())
        if sum(group[0].nbytes for group in groups) <= unit.nbytes:
            yield from (_item(group[0], group[0].nbytes, len(group) - 1) for group in groups)
        else:  # views that overlap: the storage is drawn once, under its first name
            yield _item(unit.tensors[0], unit.nbytes, len(unit.tensors) - 1)


def _item(tensor: Tensor, nbytes: int, others: int) -> Item:
    return Item(
        escape(tensor.name), tensor.dtype.name, tensor.shape, nbytes, tensor.span.offset, others
    )


def shape_text(shape: Iterable[int]) -> str:
    """The dimensions with signs between them, or `scalar`."""
    return " × ".join(map(str, shape)) or "scalar"  # noqa: RUF001 - how shapes are written


def look(store: Store, source: str, key: str | None) -> Inspection | None:
    """The checkpoint without what is wrong with it; None where nothing of it can be read, or it is not clear which."""
    try:
        located = find_source(store, source, whole_set=False)
        checkpoint = read_checkpoint(
            store, located, _pass_over, key, drop_non_tensors=True, nested=True
        )
        return inspect_checkpoint(store, source, located, checkpoint, None, ())
    except (InputError, UsageError):
        return None


def _pass_over(_: Finding) -> None:
    """Whoever draws knows the findings already."""
