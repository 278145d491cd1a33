"""What the command line calls: prepare a plan, carry it out. Everything a command does stands here, without a terminal.

There is one writing operation. `split`, `merge` and `reshard` differ only in the options that they
begin with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from shardctl.checksums import CHECKSUMS
from shardctl.commands.companions import _companions, _to_copy
from shardctl.commands.replace import superseded
from shardctl.commands.target import Target, in_place, kept_checksums, resolve_target, sharing_of
from shardctl.engine.commit import check_not_half_replaced, recover
from shardctl.engine.guards import Surroundings
from shardctl.engine.journal import STAGING, Journal, RunIdentity, RunRecord
from shardctl.engine.receipts import Receipt
from shardctl.engine.run import Job, RunOptions, execute
from shardctl.engine.task import ShardTask
from shardctl.errors import TargetExistsError, UsageError
from shardctl.findings import noting
from shardctl.formats.registry import by_name, writer_of
from shardctl.layout import Layout, LayoutBuilder
from shardctl.model import Checkpoint, Extent, Version
from shardctl.naming import check_shard_name, default_stem
from shardctl.planning.plan import Plan, make_plan
from shardctl.planning.request import Limits, Measure, Request, WriteOptions, options_of
from shardctl.source.locate import Located, find_source
from shardctl.source.read import read_checkpoint
from shardctl.stores.base import Copied, Store
from shardctl.streams.pool import Threads, Workers
from shardctl.streams.progress import Observer
from shardctl.text import escape

#: Names of files that a note lists at most.
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to go. `receipts` are the last run's, where its record proves that its result is there.

    `companions` are the files of the source folder that belong beside the weights; `copies` are
    those that this run copies, by name with the path that each is read from. `job` lacks its tasks,
    which `tasks_of` lays out.
    """

    source: str
    target_text: str
    target: Target
    located: Located
    checkpoint: Checkpoint
    plan: Plan
    options: WriteOptions
    job: Job
    companions: tuple[str, ...]
    copies: Mapping[str, str]
    notes: tuple[str, ...]
    receipts: tuple[Receipt, ...] | None

    @property
    def up_to_date(self) -> bool:
        """Whether there is nothing to do."""
        return self.receipts is not None

    def path(self, store: Store) -> str:
        """What a loader takes: the index, or the single file; a file that the user named, as it was named."""
        named = self.target.filename is not None
        return (
            self.target_text if named else store.join(self.target.directory, self.plan.loads_from)
        )


def prepare(
    store: Store, source: str, target: str, options: WriteOptions, *, finish: bool
) -> Prepared:
    """Read headers, plan, and check the target. Writes nothing, but for a replacement that was cut short there.

    That is finished first where `finish` is set (SOURCE may be what it replaces), else a
    TargetExistsError. Raises UsageError, InputError and TargetError with what to do about it.
    """
    place = resolve_target(store, target, one_file=options.limits == Limits())
    finished = _finish_interrupted(store, place, finish=finish)
    notes = (
        [] if finished is None else ["finished what an interrupted run had begun to put in place"]
    )
    if finished is not None and store.kind(source) is None:
        # A file that was replaced by several lives on in them.
        located = find_source(
            store, store.join(place.directory, finished.loads_from), whole_set=True
        )
    else:
        located = find_source(store, source, whole_set=True)
    check_not_half_replaced(store, store.join(located.directory, STAGING))
    checkpoint = read_checkpoint(
        store, located, noting(notes), options.key, drop_non_tensors=options.drop_non_tensors
    )
    request = complete(options, place, located, checkpoint)
    sharing = sharing_of(store, checkpoint, place, options.layout)
    request = replace(request, block=sharing.planned)
    plan = make_plan(checkpoint, request, measure_of(request))
    beside = _companions(store, located, place, options)
    sources = _versions(store, checkpoint, beside)
    names = located.names(store)
    header = RunIdentity(
        plan_id=plan.id,
        options={**options_of(plan.request), "checksums": options.checksums},
        sources={
            names.get(path) or store.split(path)[1]: version for path, version in sources.items()
        },
    )
    receipts = _up_to_date(
        store, place, located, header, beside, finished or Journal(store, place.staging).record()
    )
    around = Surroundings.of(
        store, place.directory, {*_names(plan), *beside, CHECKSUMS}, weights=place.filename is None
    )
    job = Job(
        header, place.directory, place.staging, (), sources, around, shared_block=sharing.possible
    )
    copies: Mapping[str, str] = {}
    if receipts is None:
        copies = _to_copy(store, place, beside, options)
        giving_way = superseded(store, place, located, request, _names(plan), options.replace)
        sums = kept_checksums(store, place, {*giving_way, *_names(plan), *copies})
        job = replace(
            job, superseded=giving_way, checksums={} if sums is None and options.checksums else sums
        )
    return Prepared(
        source=source,
        target_text=target,
        target=place,
        located=located,
        checkpoint=checkpoint,
        plan=plan,
        options=options,
        job=job,
        companions=tuple(beside),
        copies=copies,
        notes=(*located.notes, *notes, *plan.notes, *_leaving(store, place, located, job)),
        receipts=receipts,
    )


def _leaving(store: Store, place: Target, located: Located, job: Job) -> Iterator[str]:
    """What becomes of the files that are there, for the user to know before the work."""
    if job.superseded:
        shown = ", ".join(map(escape, job.superseded[:_SHOWN])) + (
            ", …" if len(job.superseded) > _SHOWN else ""
        )
        yield f"replaces {len(job.superseded)} file{'' if len(job.superseded) == 1 else 's'} in the target: {shown}"
    deep = [name for name in located.names(store).values() if "/" in name]
    if deep and job.superseded and in_place(store, place, located):
        yield f"the old shards in sub-folders stay: {escape(deep[0])}{', …' if len(deep) > 1 else ''}"


def _finish_interrupted(store: Store, place: Target, *, finish: bool) -> RunRecord | None:
    if not finish:
        if Journal(store, place.staging).commit() is not None:
            raise TargetExistsError(
                f"'{place.directory}' holds a replacement that was cut short",
                hint="run the command without --dry-run or --check: it is finished first",
                code="half-done",
                file=place.staging,
            )
        return None
    return recover(store, place.directory, place.staging)


def write(
    store: Store,
    prepared: Prepared,
    run: RunOptions,
    observe: Observer,
    executor: Callable[[int], Workers] = Threads,
) -> tuple[Receipt, ...]:
    """Carry out what was prepared. Raises as `engine.run.execute` does."""
    return execute(
        replace(prepared.job, tasks=tasks_of(store, prepared)), store, store, run, executor, observe
    )


def _versions(
    store: Store, checkpoint: Checkpoint, followers: Mapping[str, str]
) -> dict[str, Version]:
    versions = {file.path: file.version for file in checkpoint.files}
    return versions | {path: store.version(path) for path in followers.values()}


def _names(plan: Plan) -> list[str]:
    names = [shard.filename for shard in plan.shards]
    return names if plan.index_filename is None else [*names, plan.index_filename]


def _up_to_date(
    store: Store,
    place: Target,
    located: Located,
    header: RunIdentity,
    beside: Mapping[str, str],
    record: RunRecord | None,
) -> tuple[Receipt, ...] | None:
    """The receipts of the run that made what is there, where its record proves that nothing is left to do."""
    if record is None or record.options != header.options:
        return None
    for name, version in record.written.items():
        path = store.join(place.directory, name)
        if store.kind(path) != "file" or store.version(path) != version:
            return None
    for name in beside:
        path = store.join(place.directory, name)
        if store.kind(path) != "file" or store.version(path).size != header.sources[name].size:
            return None
    # A set that was replaced in place is the source of the next run.
    replaced = in_place(store, place, located) and header.sources.items() <= record.written.items()
    if not replaced and (record.plan_id != header.plan_id or record.sources != header.sources):
        return None
    return tuple(
        Receipt(name, version.size, record.sha256.get(name), Copied())
        for name, version in record.written.items()
    )


def tasks_of(store: Store, prepared: Prepared) -> tuple[ShardTask, ...]:
    """Every file to write, the one that makes the set visible last."""
    plan, sources = prepared.plan, prepared.job.sources
    writer = writer_of(plan.request.format)
    journal = Journal(store, prepared.job.staging)

    def task(filename: str, layout: Layout, *, digest: bool) -> ShardTask:
        return ShardTask(
            filename, journal.staged(filename), layout, sources, digest, prepared.options.read_back
        )

    shards = [
        task(
            shard.filename,
            writer.lay_out(shard.tensors, plan.metadata, plan.request.block),
            digest=prepared.options.checksums,
        )
        for shard in plan.shards
    ]
    others = [
        task(name, _whole(path, sources[path].size), digest=False)
        for name, path in prepared.copies.items()
    ]
    if plan.index is None or plan.index_filename is None:
        return (*others, *shards)
    index = task(plan.index_filename, _known(plan.index), digest=prepared.options.checksums)
    return (*others, *shards, index)


def _known(data: bytes) -> Layout:
    builder = LayoutBuilder()
    builder.literal(data)
    return builder.build()


def _whole(path: str, size: int) -> Layout:
    builder = LayoutBuilder()
    builder.copy(Extent(path, 0, size))
    return builder.build()


def complete(
    options: WriteOptions, place: Target, located: Located, checkpoint: Checkpoint
) -> Request:
    """The request with every default filled in; what the target and the source say counts where nothing was asked for.

    Raises UsageError for options that contradict the target, or that no file can be named by.
    """
    named, suffix = options.format, place.format
    if named is not None and suffix is not None and named != suffix:
        raise UsageError(
            f"--to {named} contradicts the target's suffix",
            hint="leave out --to, or give the target the other suffix",
        )
    written = by_name(named or suffix or checkpoint.format)
    limits = (
        options.limits
        if options.limits is not None
        else Limits(num_shards=len(checkpoint.files), or_fewer=True)
    )
    _check_name_part("--name", options.stem)
    _check_name_part("--variant", options.variant)
    variant = located.variant if options.variant is None else options.variant
    return Request(
        limits=limits,
        format=written.name,
        suffix=written.suffix,
        stem=options.stem or default_stem(written.default_stem, located.stem),
        variant=variant or None,
        filename=place.filename,
        order=options.order,
        tied=options.tied,
    )


def _check_name_part(option: str, text: str | None) -> None:
    """Raise UsageError for what cannot be a part of a file's name."""
    reason = "it has a slash" if "/" in (text or "") else check_shard_name(text) if text else None
    if reason is not None:
        raise UsageError(
            f"{option} '{escape(text or '')}' cannot be part of a file's name: {reason}",
            hint="give a plain name; TARGET says which folder the files go to",
        )


def measure_of(request: Request) -> Measure:
    """The exact size of a file in the format that is asked for."""
    writer = writer_of(request.format)
    return lambda tensors, metadata: writer.measure(tensors, metadata, request.block)
