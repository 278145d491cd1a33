"""Prepare a run: find the source, read its headers, plan, and check the target.

Nothing is written, but a replacement that an interrupted run had started is completed first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from shardctl.checksums import CHECKSUMS
from shardctl.commands.changes import Changes, changes_of, refuse_lost, replaced_notes
from shardctl.commands.companion import Companion
from shardctl.commands.companions import Beside, beside
from shardctl.commands.defaults import complete, measure_of
from shardctl.commands.finished import Finished
from shardctl.commands.target import (
    Route,
    Target,
    reflink_of,
    resolve_target,
    unlocked_notes,
)
from shardctl.engine.commit import recover
from shardctl.engine.guards import Surroundings
from shardctl.engine.interrupted import (
    check_not_half_replaced,
    half_replaced,
    is_half_replaced,
)
from shardctl.engine.journal import Commit, RunIdentity
from shardctl.engine.receipts import Receipt
from shardctl.engine.records import NoRecords, Records
from shardctl.engine.space import Room, room
from shardctl.errors import TargetExistsError
from shardctl.findings import accepting, noting
from shardctl.model import Checkpoint, Version
from shardctl.planning.carried import NotCarried, notes_on
from shardctl.planning.plan import Plan, make_plan
from shardctl.planning.request import WriteOptions, options_of
from shardctl.source.clients import one_file_client
from shardctl.source.joined import join_files
from shardctl.source.locate import Located, find_source
from shardctl.source.misnamed import misnamed_notes
from shardctl.source.read import read_checkpoint
from shardctl.stores.base import Store


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to go.

    `identity` says which run this is; `sources` gives the versions of the files to be read, by
    path; `surroundings` is what was in the target. `shared_block` is the block, in bytes, that the
    target can share with the source. `companions` are the files of the source directory that belong
    beside the weights. `replaced_source` are the names in the target that are read and replaced.
    `not_carried` is what of the source the target will lack; `room` is what the new files need
    and there is. `receipts` are the last run's, where its record proves that its result is there.
    `accepted` is what is wrong with files of the source whose tensors are whole. `more_sources`
    were joined with `source`. `compare_kept`: files of an interrupted run are compared with the
    source before they are kept.
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
    not_carried: tuple[NotCarried, ...]
    room: Room
    receipts: tuple[Receipt, ...] | None
    accepted: tuple[str, ...] = ()
    more_sources: tuple[str, ...] = ()
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
    hold: Callable[[], AbstractContextManager[object]] = nullcontext,
    more_sources: Sequence[str] = (),
    apart: Collection[str] = (),
) -> Prepared:
    """Read headers, plan, and check the target.

    `more_sources` are files that are joined with `source`. What lies in the directories `apart` of
    the source directory is not looked at. A replacement that was interrupted in the target is
    completed first where `finish` is set (the source may be what it replaces), else it is a
    TargetExistsError. `records` has the record of the last run; without one, or where
    `options` ask for a comparison, files of the planned names and sizes are compared with the
    source, if `compare` allows it. `hold` is entered while a replacement is completed: signals wait
    until it is left. Raises UsageError, InputError and TargetError with what to do about it.
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
    place, completed = resolve(target_store, target, options, records, finish=finish)
    route = Route(source_store, located, target_store, place)
    notes = (*located.notes, *_completed(completed))
    read = Read(located.root, route, checkpoint, notes, compare_kept=True)
    return _planned(read, target, options, records, compare=compare)


@dataclass(frozen=True, slots=True)
class Read:
    """A source that was read, as it was named, and what was noted on the way."""

    source: str
    route: Route
    checkpoint: Checkpoint
    notes: tuple[str, ...]
    compare_kept: bool = False
    accepted: tuple[str, ...] = ()
    more_sources: tuple[str, ...] = ()
    apart: frozenset[str] = frozenset()


def _planned(
    read: Read, target: str, options: WriteOptions, records: Records, *, compare: bool
) -> Prepared:
    """Plan for what was read, and check the target for it."""
    route, checkpoint = read.route, read.checkpoint
    located, place = route.located, route.target
    reflink = reflink_of(route, checkpoint, options.layout)
    request = complete(options, located, checkpoint, place, reflink.planned)
    plan = make_plan(checkpoint, request, measure_of(request))
    around = beside(route, plan, options, {file.path for file in checkpoint.files}, read.apart)
    return checked(
        read, Drawn(plan, around, reflink.possible), target, options, records, compare=compare
    )


@dataclass(frozen=True, slots=True)
class Drawn:
    """A plan for what was read, what lies beside it, and the block that the target can share."""

    plan: Plan
    around: Beside
    shared_block: int | None = None


def checked(
    read: Read,
    drawn: Drawn,
    target: str,
    options: WriteOptions,
    records: Records,
    *,
    compare: bool,
) -> Prepared:
    """Check the target for what was planned. Raises TargetExistsError and UsageError."""
    route, checkpoint, place = read.route, read.checkpoint, read.route.target
    plan, around = drawn.plan, drawn.around
    companions = around.companions
    left = (*around.left, *plan.left)
    sources = _versions(route.source_store, checkpoint, companions)
    identity = _identity(route, plan, options, sources, companions)
    found = Finished(route, plan, identity, companions, sources, options)
    receipts = found.by_record(records.find(place.directory))
    notes = list(read.notes)
    # What was replaced in place is gone, and its result is all that there is to compare.
    proved = receipts is not None and (route.in_place or not options.read_back)
    if compare and not proved:
        receipts = found.by_contents()
        if receipts is not None:
            notes.append("the target was compared with the source: it is complete and equal")
    surroundings = Surroundings.of(
        route.target_store,
        place.directory,
        {*plan.filenames, *companions, CHECKSUMS},
        weights=place.filename is None,
    )
    if receipts is None:
        notes.extend(unlocked_notes(route.target_store))
    changes = Changes() if receipts is not None else changes_of(route, around, plan, options)
    names_read = route.names_read()
    replaced_source = tuple(name for name in changes.superseded if name in names_read)
    refuse_lost(place, checkpoint, plan, options, replaced_source)
    return Prepared(
        source=read.source,
        more_sources=read.more_sources,
        target_text=target,
        target=place,
        located=route.located,
        checkpoint=checkpoint,
        plan=plan,
        options=options,
        identity=identity,
        sources=sources,
        surroundings=surroundings,
        shared_block=drawn.shared_block,
        companions=tuple(companions),
        changes=changes,
        replaced_source=replaced_source,
        notes=(
            *notes,
            *plan.notes,
            *around.notes,
            *_read_in_part(route, plan),
            *notes_on(left),
            *replaced_notes(route, changes),
        ),
        not_carried=left,
        room=_room(route.target_store, place, plan, changes, sources),
        receipts=receipts,
        accepted=read.accepted,
        compare_kept=read.compare_kept,
    )


def resolve(
    store: Store, target: str, options: WriteOptions, records: Records, *, finish: bool
) -> tuple[Target, Commit | None]:
    """Return what TARGET means, and the interrupted replacement that was completed there.

    Raises as `resolve_target` does, and TargetExistsError for a replacement that is not completed
    because `finish` is not set.
    """
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
    completed: Commit | None,
    variant: str | None,
) -> Located:
    if completed is not None and source_store == target_store and source_store.kind(source) is None:
        directory, name = source_store.split(source)
        if name in completed.replaced_source and source_store.same(directory, target.directory):
            # The replacement that was just completed removed it: what it held is in the new files.
            source = target_store.join(target.directory, completed.loads_from)
    check_not_half_replaced(source_store, source)
    # The variant to write is the one to read, where the source has it.
    return find_source(source_store, source, variant=variant, or_any=True)


def _versions(
    source_store: Store, checkpoint: Checkpoint, companions: Mapping[str, Companion]
) -> dict[str, Version]:
    versions = {file.path: file.version for file in checkpoint.files}
    return versions | {
        each.path: each.version or source_store.version(each.path) for each in companions.values()
    }


def _identity(
    route: Route,
    plan: Plan,
    options: WriteOptions,
    sources: Mapping[str, Version],
    companions: Mapping[str, Companion],
) -> RunIdentity:
    source_store = route.source_store
    names = {each.path: name for name, each in companions.items()} | route.located.names(
        source_store
    )
    return RunIdentity(
        plan_id=plan.id,
        options={**options_of(plan.request), "checksums": options.checksums},
        sources={
            names.get(path) or source_store.split(path)[1]: version
            for path, version in sources.items()
        },
    )


def _read_in_part(route: Route, plan: Plan) -> Iterator[str]:
    """Yield a note where the directory is that of a client which reads one weights file only."""
    if plan.index is None:
        return
    stem = plan.request.stem
    client = one_file_client(route.source_store, route.located.directory, stem) or one_file_client(
        route.target_store, route.target.directory, stem
    )
    if client is not None:
        yield f"{client.about(len(plan.shards))}; `write(single=True)` writes one file"


def _room(
    store: Store, target: Target, plan: Plan, changes: Changes, sources: Mapping[str, Version]
) -> Room:
    """Return the room for all new files, as if no block of theirs were shared with the source."""
    shards = sum(shard.size for shard in plan.shards)
    copies = sum(each.nbytes(sources[each.path].size) for each in changes.copies.values())
    return room(store, target.directory, shards + len(plan.index or b"") + copies)
