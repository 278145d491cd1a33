"""Prepare a run: find the source, read its headers, plan, and check the target.

Nothing is written, but a replacement that an interrupted run had started is completed first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from shardctl.checksums import CHECKSUMS
from shardctl.commands.companions import companions_of, companions_to_copy
from shardctl.commands.defaults import complete, measure_of
from shardctl.commands.finished import Finished
from shardctl.commands.replace import superseded
from shardctl.commands.target import Route, Target, kept_checksums, reflink_of, resolve_target
from shardctl.engine.commit import check_not_half_replaced, is_half_replaced, recover
from shardctl.engine.guards import Surroundings
from shardctl.engine.journal import Commit, RunIdentity
from shardctl.engine.receipts import Receipt
from shardctl.engine.records import NoRecords, Records
from shardctl.errors import TargetExistsError
from shardctl.findings import noting
from shardctl.model import Checkpoint, Version
from shardctl.planning.plan import Plan, make_plan
from shardctl.planning.request import WriteOptions, options_of
from shardctl.source.locate import Located, find_source
from shardctl.source.misnamed import misnamed_notes
from shardctl.source.read import read_checkpoint
from shardctl.stores.base import Store
from shardctl.text import escape, plural


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run changes in the target beside the planned files.

    `copies` are companions, by name with the path that each is read from. `superseded` are the
    names that the new files replace or remove. `checksums` is what stays of
    `SHA256SUMS`; None leaves that file alone, as `foreign_sums` does, because it is signed or of
    another form. `kept` are companions that differ in the target, and stay.
    """

    copies: Mapping[str, str] = field(default_factory=dict)
    superseded: tuple[str, ...] = ()
    checksums: bytes | None = None
    kept: tuple[str, ...] = ()
    foreign_sums: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to go.

    `identity` says which run this is; `sources` gives the versions of the files to be read, by
    path; `surroundings` is what was in the target. `shared_block` is the block, in bytes, that the
    target can share with the source. `companions` are the files of the source directory that belong
    beside the weights. `replaced_source` are the names in the target that are read and replaced.
    `receipts` are the last run's, where its record proves that its result is
    there. `compare_kept`: files of an interrupted run are compared with the source before they are
    kept.
    """

    source: str
    target_text: str
    target: Target
    located: Located
    checkpoint: Checkpoint
    plan: Plan
    options: WriteOptions
    identity: RunIdentity
    sources: Mapping[str, Version]
    surroundings: Surroundings
    shared_block: int | None
    companions: tuple[str, ...]
    changes: Changes
    replaced_source: tuple[str, ...]
    notes: tuple[str, ...]
    receipts: tuple[Receipt, ...] | None
    compare_kept: bool = False

    @property
    def up_to_date(self) -> bool:
        """Whether there is nothing to do."""
        return self.receipts is not None

    def path(self, target_store: Store) -> str:
        """Return what a loader takes: the index or the single file.

        A file that the user named is returned as it was named.
        """
        if self.target.filename is not None:
            return self.target_text
        return target_store.join(self.target.directory, self.plan.loads_from)


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
) -> Prepared:
    """Read headers, plan, and check the target.

    A replacement that was interrupted in the target is completed first where `finish` is set (the
    source may be what it replaces), else it is a TargetExistsError. `records` has the record of the
    last run; without one, files of the planned names and sizes are compared with the source, where
    `compare` allows it. Raises UsageError, InputError and TargetError with what to do about it.
    """
    records = NoRecords() if records is None else records
    place, completed = _resolve(target_store, target, options, records, finish=finish)
    located = _locate(source_store, source, target_store, place, completed)
    notes: list[str] = []
    checkpoint = read_checkpoint(
        source_store,
        located,
        noting(notes),
        options.key,
        drop_non_tensors=options.drop_non_tensors,
    )
    notes.extend(misnamed_notes(checkpoint.files))
    route = Route(source_store, located, target_store, place)
    read = _Read(source, route, checkpoint, (*located.notes, *_completed(completed), *notes))
    return _planned(read, target, options, records, compare=compare)


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
    place, completed = _resolve(target_store, target, options, records, finish=finish)
    route = Route(source_store, located, target_store, place)
    notes = (*located.notes, *_completed(completed))
    read = _Read(located.root, route, checkpoint, notes, compare_kept=True)
    return _planned(read, target, options, records, compare=compare)


@dataclass(frozen=True, slots=True)
class _Read:
    """A source that was read, as it was named, and what was noted on the way."""

    source: str
    route: Route
    checkpoint: Checkpoint
    notes: tuple[str, ...]
    compare_kept: bool = False


def _planned(
    read: _Read, target: str, options: WriteOptions, records: Records, *, compare: bool
) -> Prepared:
    """Plan for what was read, and check the target."""
    route, checkpoint = read.route, read.checkpoint
    located, place = route.located, route.target
    # Plan.
    reflink = reflink_of(route, checkpoint, options.layout)
    request = complete(options, located, checkpoint, place, reflink.planned)
    plan = make_plan(checkpoint, request, measure_of(request))
    companions = companions_of(route, options)
    sources = _versions(route.source_store, checkpoint, companions)
    identity = _identity(route.source_store, located, plan, options, sources)
    # Check the target.
    found = Finished(route, plan, identity, companions, sources, options)
    receipts = found.by_record(records.find(place.directory))
    notes = list(read.notes)
    if receipts is None and compare:
        receipts = found.by_contents()
        if receipts is not None:
            notes.append("the target was compared with the source: it is complete and equal")
    surroundings = Surroundings.of(
        route.target_store,
        place.directory,
        {*plan.filenames, *companions, CHECKSUMS},
        weights=place.filename is None,
    )
    changes = Changes() if receipts is not None else _changes(route, companions, plan, options)
    names_read = route.names_read()
    return Prepared(
        source=read.source,
        target_text=target,
        target=place,
        located=located,
        checkpoint=checkpoint,
        plan=plan,
        options=options,
        identity=identity,
        sources=sources,
        surroundings=surroundings,
        shared_block=reflink.possible,
        companions=tuple(companions),
        changes=changes,
        replaced_source=tuple(name for name in changes.superseded if name in names_read),
        notes=(*notes, *plan.notes, *_replaced(route, changes)),
        receipts=receipts,
        compare_kept=read.compare_kept,
    )


def _resolve(
    store: Store, target: str, options: WriteOptions, records: Records, *, finish: bool
) -> tuple[Target, Commit | None]:
    """Return what TARGET means, and the interrupted replacement that was completed there."""
    one_file = options.limits is not None and options.limits.one_file
    place = resolve_target(store, target, one_file=one_file)
    return place, _complete_interrupted(store, place, records, finish=finish)


def _completed(commit: Commit | None) -> tuple[str, ...]:
    """Return the note on a replacement that was completed."""
    if commit is None:
        return ()
    return ("completed the replacement that an interrupted run had started",)


def _complete_interrupted(
    store: Store, target: Target, records: Records, *, finish: bool
) -> Commit | None:
    """Complete a replacement that was interrupted; return what it was, None where there is none."""
    if finish:
        recovered = recover(store, target.directory, partial(records.keep, target.directory))
        return None if recovered is None else recovered[0]
    if is_half_replaced(store, target.directory):
        raise TargetExistsError(
            f"'{target.directory}' is half replaced: an interrupted run was renaming its files",
            hint="run the command without `plan`: it completes the replacement first",
            code="half-done",
            file=target.directory,
        )
    return None


def _locate(
    source_store: Store,
    source: str,
    target_store: Store,
    target: Target,
    completed: Commit | None,
) -> Located:
    if completed is not None and source_store == target_store and source_store.kind(source) is None:
        directory, name = source_store.split(source)
        if name in completed.replaced_source and source_store.same(directory, target.directory):
            # The replacement that was just completed removed it: what it held is in the new files.
            source = target_store.join(target.directory, completed.loads_from)
    located = find_source(source_store, source, whole_set=True)
    check_not_half_replaced(source_store, located.directory)
    return located


def _versions(
    source_store: Store, checkpoint: Checkpoint, companions: Mapping[str, str]
) -> dict[str, Version]:
    versions = {file.path: file.version for file in checkpoint.files}
    return versions | {path: source_store.version(path) for path in companions.values()}


def _identity(
    source_store: Store,
    located: Located,
    plan: Plan,
    options: WriteOptions,
    sources: Mapping[str, Version],
) -> RunIdentity:
    names = located.names(source_store)
    return RunIdentity(
        plan_id=plan.id,
        options={**options_of(plan.request), "checksums": options.checksums},
        sources={
            names.get(path) or source_store.split(path)[1]: version
            for path, version in sources.items()
        },
    )


def _changes(
    route: Route, companions: Mapping[str, str], plan: Plan, options: WriteOptions
) -> Changes:
    """Return what changes in the target; raise TargetExistsError for what must stay as it is."""
    beside = companions_to_copy(route, companions, options)
    replaced = (
        *superseded(route, plan.request, plan.filenames, options.replace),
        *beside.replaced,
    )
    gone = {*replaced, *plan.filenames, *beside.copies}
    sums = kept_checksums(route.target_store, route.target, gone, wanted=options.checksums)
    return Changes(beside.copies, replaced, sums.data, beside.kept, foreign_sums=sums.foreign)


def _replaced(route: Route, changes: Changes) -> Iterator[str]:
    """Yield notes on what happens to the old files, for the user to know before the work."""
    if changes.kept:
        names = ", ".join(map(escape, changes.kept))
        yield f"kept in the target, though the source's differ: {names} (see `replace_companions`)"
    if changes.foreign_sums:
        yield f"{CHECKSUMS} in the target is signed or of another form, and is left as it is"
    if not changes.superseded:
        return
    names = ", ".join(map(escape, changes.superseded))
    yield f"replaces {plural(len(changes.superseded), 'file')} in the target: {names}"
    deep = [name for name in route.located.names(route.source_store).values() if "/" in name]
    if deep and route.in_place:
        more = ", …" if len(deep) > 1 else ""
        yield f"the old shards in subdirectories stay: {escape(deep[0])}{more}"
