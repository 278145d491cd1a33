"""The functions of the package, for programs: each does what the command of its name does.

Paths are strings or path objects, or URLs of a registered store. Settings have the names by which
messages and hints call them. Errors are those of `shardctl.errors`; nothing is printed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TypeAlias, Unpack

from shardctl.commands import diff as comparison
from shardctl.commands import index as indexing
from shardctl.commands import inspect as inspection
from shardctl.commands import write as writing
from shardctl.commands.documents import dump
from shardctl.commands.numbers import with_statistics
from shardctl.commands.plan_document import plan_document
from shardctl.commands.prepare import prepare
from shardctl.commands.prepared import Prepared
from shardctl.commands.records import records as records_of_user
from shardctl.commands.work import Part, Work
from shardctl.engine.receipts import Receipt
from shardctl.engine.run import RunOptions
from shardctl.errors import UsageError
from shardctl.planning.keywords import (
    SelectionKeywords,
    WriteKeywords,
    options_from,
    selection_from,
)
from shardctl.planning.plan import Plan
from shardctl.planning.request import WriteOptions
from shardctl.stores.atomic import put_beside
from shardctl.stores.base import Store
from shardctl.stores.registry import open_store
from shardctl.streams.pool import default_jobs
from shardctl.streams.progress import Observer, Silent
from shardctl.verify import run as verifying

#: A path of this machine, or a URL.
Location: TypeAlias = "str | os.PathLike[str]"


@dataclass(frozen=True, slots=True)
class Written:
    """What `write` did.

    `path` is what a loader takes: the index, or the one file. `files` has a receipt for each file,
    with its size in bytes; `up_to_date` says that they were there already, and nothing was written.
    """

    path: str
    plan: Plan
    files: tuple[Receipt, ...]
    up_to_date: bool


def inspect(
    source: Location,
    *,
    key: str | None = None,
    pattern: str | None = None,
    stats: bool = False,
    jobs: int | None = None,
    observer: Observer | None = None,
) -> inspection.Inspection:
    """Return what a checkpoint holds, from its headers.

    `key` chooses a nested state dict; without it everything nested has dotted names. `pattern`,
    such as `*.bias`, keeps the tensors whose whole names match. `stats` also reads these tensors,
    `jobs` at once, for the result's `statistics`; `observer` gets the bytes. Raises InputError for
    what cannot be read, MissingError where nothing matches, UsageError where a directory has
    several checkpoints, or where `stats` needs what is not installed.
    """
    store, path = open_store(os.fspath(source))
    globs = () if pattern is None else (pattern,)
    found = inspection.inspect(store, path, key=key, globs=globs)
    if not stats:
        return found
    return with_statistics(found, store, found.tensors, jobs=_jobs(jobs), observe=observer)


def diff(
    a: Location,
    b: Location,
    *,
    key: str | None = None,
    stats: bool = False,
    jobs: int | None = None,
    observer: Observer | None = None,
    **selection: Unpack[SelectionKeywords],
) -> comparison.Difference:
    """Compare all names, types, shapes and bytes of two checkpoints, whatever their formats.

    The result's `changes` are the tensors that differ; `same` says that there are none. `stats`
    also says how far apart their numbers are. The `selection` takes a part of B and renames it, as
    in `write`. `jobs` tensors are compared in parallel, and `observer` gets the bytes. Raises
    MissingError where there is no checkpoint, InputError for what cannot be read, and UsageError
    where a directory has several checkpoints, for a selection that cannot be, or where `stats`
    needs what is not installed.
    """
    unknown = selection.keys() - SelectionKeywords.__annotations__.keys()
    if unknown:
        raise TypeError(f"diff() got an unexpected keyword argument '{min(unknown)}'")
    return comparison.diff(
        comparison.Side(*open_store(os.fspath(a))),
        comparison.Side(*open_store(os.fspath(b))),
        key=key,
        selection=selection_from(selection),
        stats=stats,
        jobs=_jobs(jobs),
        observe=observer,
    )


def verify(
    source: Location,
    *,
    deep: bool = False,
    load: bool = False,
    against: Location | None = None,
    strict: bool = False,
    key: str | None = None,
    jobs: int | None = None,
    observer: Observer | None = None,
) -> verifying.Verdict:
    """Find everything that is wrong with a checkpoint; the verdict's `ok` says whether it is sound.

    Headers and the index are always checked. `deep` reads all bytes and compares checksums, `load`
    also loads every tensor with torch and safetensors, `against` compares with another checkpoint,
    `strict` lets warnings count as errors. `jobs` files are read in parallel, and `observer` gets
    the bytes. Raises MissingError where there is no checkpoint, and UsageError for a key with two
    meanings or settings that cannot be.
    """
    store, path = open_store(os.fspath(source))
    other_store, other = (None, None) if against is None else open_store(os.fspath(against))
    how = verifying.Thoroughness(
        deep=deep,
        load=load,
        against=other,
        strict=strict,
        key=key,
        jobs=_jobs(jobs),
        digests=deep and against is not None,
    )
    return verifying.verify(store, path, how, observer, other_store)


def plan(
    source: Location,
    target: Location,
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
    prepared = _prepare(ends, options_from(options), record=True, dry=True)
    if save is not None:
        work = Work(ends.source, ends.target, (Part("", prepared),))
        # What `write` does is what `reshard` does.
        document = plan_document("reshard", work, ends.source_store, ends.target_store)
        store, path = open_store(os.fspath(save))
        put_beside(store, *store.split(path), "".join(dump(document)).encode("ascii"))
    return noted(prepared)


def write(
    source: Location,
    target: Location,
    *,
    restart: bool = False,
    record: bool = True,
    jobs: int | None = None,
    observer: Observer | None = None,
    **options: Unpack[WriteKeywords],
) -> Written:
    """Write a checkpoint with other shards, in another format, or both.

    Without a limit among the `options` (see `WriteKeywords`) the result has as many shards as the
    source. A run that was interrupted is resumed by the same call; `restart` discards an unfinished
    run instead. `record` keeps a record in the user's state directory, by which the next call
    finds out at once that the target is up to date. `jobs` files are written in parallel, and
    `observer` gets the progress, on the calling thread.

    Raises UsageError, InputError, TargetError and StorageError. Then no final name has changed,
    unless files were being renamed into place, which the next call completes.
    """
    run = run_options(jobs, restart=restart)
    ends = _Ends.of(source, target)
    prepared = _prepare(ends, options_from(options), record=record, dry=False)
    receipts = prepared.receipts
    if receipts is None:
        receipts = writing.write(
            ends.source_store,
            ends.target_store,
            prepared,
            run,
            observer or Silent(),
            records=records_of_user(keep=record),
        )
    return Written(prepared.path(ends.target_store), noted(prepared), receipts, prepared.up_to_date)


def reindex(source: Location, *, check: bool = False) -> indexing.Reindexed:
    """Write or repair the index of a sharded checkpoint, from the shards' headers.

    The result's `changes` say how it differs from the index that was there; with `check` nothing is
    written. Raises UsageError for a checkpoint of one file, InputError where shards are missing or
    contradict each other, and TargetError where the directory cannot be written.
    """
    store, path = open_store(os.fspath(source))
    return indexing.reindex(store, path, check=check)


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
    def of(cls, source: Location, target: Location) -> _Ends:
        return cls(*open_store(os.fspath(source)), *open_store(os.fspath(target)))


def _prepare(ends: _Ends, options: WriteOptions, *, record: bool, dry: bool) -> Prepared:
    return prepare(
        ends.source_store,
        ends.source,
        ends.target_store,
        ends.target,
        options,
        finish=not dry,
        compare=not dry,
        records=records_of_user(keep=record),
    )


def run_options(jobs: int | None, *, restart: bool) -> RunOptions:
    """Return how to run; raises UsageError for less than one job."""
    return RunOptions(_jobs(jobs), restart=restart)


def _jobs(jobs: int | None) -> int:
    if jobs is not None and jobs < 1:
        raise UsageError("`jobs` is less than one", hint="give how many files to handle at once")
    return jobs or default_jobs()
