"""Write checkpoints: `plan`, `write` and `reindex`."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from typing import Unpack

from shardctl.api.settings import Location, run_options
from shardctl.commands import index as indexing
from shardctl.commands import write as writing
from shardctl.commands.documents import dump
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.preparing.records import records as records_of_user
from shardctl.commands.preparing.tree import Part
from shardctl.commands.preparing.work import Work, prepare_all, refuse_unfinished
from shardctl.commands.saved.plan_document import plan_document
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.run import RunOptions
from shardctl.engine.workers.executors import Executor
from shardctl.engine.workers.schedulers import executor_of
from shardctl.errors import UsageError
from shardctl.planning.keywords import WriteKeywords, options_from
from shardctl.planning.plan import Plan
from shardctl.planning.request import WriteOptions
from shardctl.stores.atomic import put_beside
from shardctl.stores.base import Store
from shardctl.stores.registry import absolute, open_store
from shardctl.streams.progress import Observer, Silent


@dataclass(frozen=True, slots=True)
class Written:
    """What `write` did.

    `path` is what a loader takes: the index, or the one file. `files` has a receipt for each file,
    with its size in bytes; `up_to_date` says that they were there already, and nothing was written.
    `components` has what was written for each component of a pipeline by its name; this one is then
    for all of it: `path` is its directory, and names of files have the component before them.
    """

    path: str
    plan: Plan
    files: tuple[Receipt, ...]
    up_to_date: bool
    components: tuple[tuple[str, Written], ...] = ()


def plan(
    source: Location,
    target: Location,
    request: WriteOptions | None = None,
    *,
    save: Location | None = None,
    **options: Unpack[WriteKeywords],
) -> Plan:
    """Return what `write` would write with the same arguments; write nothing.

    The plan's `notes` are what the user should know before. `save` is a file to write the plan to,
    for `apply`; one that is there is replaced. Raises UsageError, InputError, TargetError where the
    target could not be written, and StorageError where the plan could not.
    """
    ends = _Ends.of(source, target)
    work = _prepare(ends, _asked("plan", request, options), record=True, dry=True)
    if save is not None:
        # What `write` does is what `reshard` does.
        document = plan_document("reshard", work, ends.source_store, ends.target_store)
        store, path = open_store(os.fspath(save))
        put_beside(store, *store.split(path), "".join(dump(document)).encode("ascii"))
    return _plan_of(work)


def write(
    source: Location,
    target: Location,
    request: WriteOptions | None = None,
    *,
    restart: bool = False,
    record: bool = True,
    jobs: int | None = None,
    observer: Observer | None = None,
    scheduler: str | None = None,
    **options: Unpack[WriteKeywords],
) -> Written:
    """Write a checkpoint with other shards, in another format, or both.

    What to write is said by keyword arguments, the `options` (see `WriteKeywords`), or all at once
    by a `request`. Without a limit the result has as many shards as the source. A run that was
    interrupted is resumed by the same call; `restart` discards an unfinished run instead. `record`
    keeps a record in the user's state directory, by which the next call finds out at once that the
    target is up to date. `jobs` files are written in parallel, and `observer` gets the progress, on
    the calling thread. `scheduler` is the URL of a Dask cluster whose workers write them, and see
    source and target at the same paths. The components of a pipeline are written one after another,
    each with its start for the observer, into directories of the same names, and the other files of
    its tree after them.

    Raises UsageError, InputError, TargetError and StorageError. Then no final name has changed,
    unless files were being renamed into place, which the next call completes, or components of a
    pipeline were complete.
    """
    asked = _asked("write", request, options)
    run = run_options(jobs, restart=restart)
    executor = executor_of(scheduler, jobs)
    ends = _Ends.of(source, target, everywhere=scheduler is not None)
    work = _prepare(ends, asked, record=record, dry=False)
    refuse_unfinished(ends.target_store, work, restart=restart)
    written = [
        _carry_out(ends, part, run, executor, observer, record=record) for part in work.parts
    ]
    if work.pipeline is None:
        return written[0]
    files = tuple(
        replace(receipt, filename=part.named(receipt.filename))
        for part, each in zip(work.parts, written, strict=True)
        for receipt in each.files
    )
    by_name = tuple(
        (part.name, each)
        for part, each in zip(work.parts, written, strict=True)
        if part.has_weights
    )
    path = work.path(ends.target_store)
    return Written(path, _plan_of(work), files, work.up_to_date, by_name)


def reindex(
    source: Location, *, check: bool = False, variant: str | None = None
) -> indexing.Reindexed:
    """Write or repair the index of a sharded checkpoint, from the shards' headers.

    The result's `changes` say how it differs from the index that was there; with `check` nothing is
    written. `variant` chooses one of several sets in a directory. Raises UsageError for a
    checkpoint of one file, InputError where shards are missing or contradict each other, and
    TargetError where the directory cannot be written.
    """
    store, path = open_store(os.fspath(source))
    return indexing.reindex(store, path, check=check, variant=variant)


def noted(prepared: Prepared) -> Plan:
    """Return the plan with all that the user should know, about source and target too."""
    return replace(prepared.plan, notes=prepared.notes)


@dataclass(frozen=True, slots=True)
class _Ends:
    """Source and target: their stores, and the paths there."""

    source_store: Store
    source: str
    target_store: Store
    target: str

    @classmethod
    def of(cls, source: Location, target: Location, *, everywhere: bool = False) -> _Ends:
        """Open both. `everywhere`: their paths are to be the same in every working directory."""
        place = absolute if everywhere else str
        return cls(
            *open_store(place(os.fspath(source))),
            *open_store(place(os.fspath(target))),
        )


def _asked(function: str, request: WriteOptions | None, options: WriteKeywords) -> WriteOptions:
    """Return what to write.

    Raises UsageError where it is said twice and as `options_from`, and TypeError for an argument
    that does not exist.
    """
    unknown = options.keys() - WriteKeywords.__optional_keys__
    if unknown:
        raise TypeError(f"{function}() got an unexpected keyword argument '{min(unknown)}'")
    if request is None:
        return options_from(options)
    if options:
        raise UsageError(
            f"`request` and `{min(options)}` cannot be used together",
            hint="say all of it in one of the two ways",
        )
    if not isinstance(request, WriteOptions):
        raise TypeError(f"the third argument of {function}() is a WriteOptions")
    return request


def _prepare(ends: _Ends, options: WriteOptions, *, record: bool, dry: bool) -> Work:
    return prepare_all(
        ends.source_store,
        ends.source,
        ends.target_store,
        ends.target,
        options,
        finish=not dry,
        compare=not dry,
        records=records_of_user(keep=record),
    )


def _plan_of(work: Work) -> Plan:
    """Return the plan; of a pipeline the shards of all components as one."""
    first = work.weights[0].prepared
    if work.pipeline is None:
        return noted(first)
    plans = [(part, part.prepared.plan) for part in work.weights]
    return replace(
        first.plan,
        id=hashlib.sha256("".join(each.id for _, each in plans).encode()).hexdigest(),
        shards=tuple(
            replace(shard, filename=part.named(shard.filename))
            for part, each in plans
            for shard in each.shards
        ),
        index_filename=None,
        index=None,
        oversize=tuple(name for _, each in plans for name in each.oversize),
        left_out=tuple(tensor for _, each in plans for tensor in each.left_out),
        notes=work.notes,
        left=(*(one for _, each in plans for one in each.left), *work.left),
    )


def _carry_out(
    ends: _Ends,
    part: Part,
    run: RunOptions,
    executor: Executor,
    observer: Observer | None,
    *,
    record: bool,
) -> Written:
    """Do one run, where there is anything to do."""
    prepared, store = part.prepared, ends.target_store
    receipts = prepared.receipts
    if receipts is None:
        receipts = writing.write(
            ends.source_store,
            store,
            prepared,
            run,
            observer or Silent(),
            executor,
            records_of_user(keep=record),
        )
    path = prepared.path(store) if part.has_weights else prepared.target.directory
    return Written(path, noted(prepared), receipts, prepared.up_to_date)
