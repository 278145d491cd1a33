"""Prepare a run: find the source, read its headers, plan, and have the target checked.

Nothing is written, but a replacement that an interrupted run had started is completed first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial

from shardctl.commands.preparing.defaults import complete, measure_of
from shardctl.commands.preparing.prepared import Drawn, Prepared, Read, checked
from shardctl.commands.target.companions import beside
from shardctl.commands.target.resolve import (
    Route,
    Target,
    reflink_of,
    refuse_read_back,
    resolve_target,
)
from shardctl.engine.entry import Recovered, recover
from shardctl.engine.found import find_checkpoint
from shardctl.engine.journal.interrupted import (
    check_not_half_replaced,
    half_replaced,
    is_half_replaced,
)
from shardctl.engine.journal.journal import RunIdentity
from shardctl.engine.journal.records import NoRecords, Records
from shardctl.errors import TargetExistsError
from shardctl.findings import accepting, noting
from shardctl.model import Checkpoint
from shardctl.planning.plan import make_plan
from shardctl.planning.request import WriteOptions
from shardctl.source.joined import join_files
from shardctl.source.locate import Located
from shardctl.source.misnamed import misnamed_notes
from shardctl.source.read import read_checkpoint
from shardctl.stores.base import Store

#: Called with what was read, and with the run whose interrupted replacement of the target was
#: completed just before; raises where something else was expected.
Expect = Callable[[Located, Checkpoint, RunIdentity | None], None]


def anything(_: Located, __: Checkpoint, ___: RunIdentity | None) -> None:
    """Expect nothing."""


def prepare(
    source_store: Store,
    source: str,
    target_store: Store,
    target: str,
    options: WriteOptions,
    *,
    finish: bool,
    compare: bool = True,
    records: Records | None = None,
    hold: Callable[[], AbstractContextManager[object]] = nullcontext,
    more_sources: Sequence[str] = (),
    apart: Collection[str] = (),
    expect: Expect = anything,
) -> Prepared:
    """Read headers, plan, and check the target.

    `more_sources` are files that are joined with `source`. What lies in the directories `apart` of
    the source directory is not looked at. `expect` is called before the plan is made. A replacement
    that was interrupted in the target is completed first where `finish` is set (the source may be
    what it replaces), else it is a TargetExistsError. `records` has the record of the last run;
    without one, or where `options` ask for a comparison, files of the planned names and sizes are
    compared with the source, if `compare` allows it. `hold` is entered while a replacement is
    completed: signals wait until it is left. Raises UsageError, InputError and TargetError with
    what to do about it.
    """
    records = NoRecords() if records is None else records
    with hold():
        place, completed = resolve(target_store, target, options, records, finish=finish)
    if more_sources:
        located = join_files(source_store, (source, *more_sources))
    else:
        located = _locate(source_store, source, target_store, place, completed, options.variant)
    for directory in located.directories or (located.directory,):
        check_not_half_replaced(source_store, directory)
    notes: list[str] = []
    accepted: list[str] = []
    checkpoint = read_checkpoint(
        source_store,
        located,
        accepting(notes, accepted) if options.accept_damage else noting(notes),
        options.key,
        drop_non_tensors=options.drop_non_tensors,
    )
    located = located.completed(checkpoint)
    earlier = None if completed is None else completed.identity
    expect(located, checkpoint, earlier)
    notes.extend(f"accepted damage: {what}" for what in accepted)
    notes.extend(misnamed_notes(checkpoint.files))
    route = Route(source_store, located, target_store, place)
    read = Read(
        source,
        route,
        checkpoint,
        (*located.notes, *_completed(completed), *notes),
        accepted=tuple(accepted),
        more_sources=tuple(more_sources),
        apart=frozenset(apart),
    )
    prepared = _planned(read, target, options, records, compare=compare)
    return replace(prepared, completed=earlier)


def prepare_held(
    source_store: Store,
    located: Located,
    checkpoint: Checkpoint,
    target_store: Store,
    target: str,
    options: WriteOptions,
    *,
    finish: bool,
    compare: bool = True,
) -> Prepared:
    """Plan, and check the target, for a checkpoint that a program holds and did not read.

    Its versions do not say whether it has changed, so no record proves anything about it, and files
    that an interrupted run has finished are compared with it before they are kept. Otherwise as
    `prepare`.
    """
    records = NoRecords()
    place, completed = resolve(target_store, target, options, records, finish=finish)
    route = Route(source_store, located, target_store, place)
    notes = (*located.notes, *_completed(completed))
    read = Read(located.root, route, checkpoint, notes, compare_kept=True)
    return _planned(read, target, options, records, compare=compare)


def _planned(
    read: Read, target: str, options: WriteOptions, records: Records, *, compare: bool
) -> Prepared:
    """Plan for what was read, and check the target for it."""
    route, checkpoint = read.route, read.checkpoint
    located, place = route.located, route.target
    reflink = reflink_of(route, checkpoint, options)
    request = complete(options, located, checkpoint, place, reflink.planned)
    plan = make_plan(checkpoint, request, measure_of(request))
    around = beside(route, plan, options, {file.path for file in checkpoint.files}, read.apart)
    return checked(
        read, Drawn(plan, around, reflink.possible), target, options, records, compare=compare
    )


def resolve(
    store: Store, target: str, options: WriteOptions, records: Records, *, finish: bool
) -> tuple[Target, Recovered | None]:
    """Return what TARGET means, and the interrupted replacement that was completed there.

    Raises as `resolve_target` does, and TargetExistsError for a replacement that is not completed
    because `finish` is not set.
    """
    one_file = options.limits is not None and options.limits.one_file
    place = resolve_target(store, target, one_file=one_file)
    if options.read_back:
        refuse_read_back(store, target)
    return place, _complete_interrupted(store, place, records, finish=finish)


def _completed(commit: Recovered | None) -> tuple[str, ...]:
    """Return the note on a replacement that was completed."""
    if commit is None:
        return ()
    return ("completed the replacement that an interrupted run had started",)


def _complete_interrupted(
    store: Store, target: Target, records: Records, *, finish: bool
) -> Recovered | None:
    """Complete a replacement that was interrupted; return what it was, None where there is none."""
    if finish:
        return recover(store, target.directory, partial(records.keep, target.directory))
    if is_half_replaced(store, target.directory):
        raise half_replaced(
            TargetExistsError,
            target.directory,
            hint="run the command without `plan`: it completes the replacement first",
        )
    return None


def _locate(
    source_store: Store,
    source: str,
    target_store: Store,
    target: Target,
    completed: Recovered | None,
    variant: str | None,
) -> Located:
    if completed is not None and source_store == target_store and source_store.kind(source) is None:
        directory, name = source_store.split(source)
        if name in completed.replaced_source and source_store.same(directory, target.directory):
            # The replacement that was just completed removed it: what it held is in the new files.
            source = target_store.join(target.directory, completed.loads_from)
    # The variant to write is the one to read, where the source has it.
    return find_checkpoint(source_store, source, variant=variant, or_any=True)
