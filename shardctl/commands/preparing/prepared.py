"""What is ready to go: a source that was read, a plan for it, and a target that was checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from shardctl.commands.preparing.finished import Finished
from shardctl.commands.preparing.recorded import Recorded, note_on, recorded_for
from shardctl.commands.target.changes import Changes, changes_of, refuse_lost, replaced_notes
from shardctl.commands.target.companion import Companion
from shardctl.commands.target.companions import Beside
from shardctl.commands.target.resolve import Route, Target, unlocked_notes
from shardctl.commands.target.sums import stale_notes, sums_above
from shardctl.engine.commit.guards import Surroundings
from shardctl.engine.journal.journal import RunIdentity
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.journal.records import Records
from shardctl.engine.space import Room, room
from shardctl.model import Checkpoint, Version
from shardctl.planning.carried import NotCarried, notes_on
from shardctl.planning.plan import Plan
from shardctl.planning.request import WriteOptions, options_of
from shardctl.source.directory.clients import one_file_client
from shardctl.source.locate import Located
from shardctl.source.recorded.checksum_file import sums_around
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
    source before they are kept. `recorded` are digests of files of the source that are
    compared first. `completed` is the run whose interrupted replacement of the target was
    completed before.
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
    recorded: Recorded = field(default_factory=dict)
    completed: RunIdentity | None = None

    @property
    def up_to_date(self) -> bool:
        """Whether there is nothing to do."""
        return self.receipts is not None

    def path(self, target_store: Store) -> str:
        """Return what a loader takes: the index, the single file, or the directory.

        What the user named is returned as it was named.
        """
        if self.target.filename is not None or not self.plan.loads_from:
            return self.target_text
        return target_store.join(self.target.directory, self.plan.loads_from)


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
    names = (*plan.filenames, *companions)
    surroundings = Surroundings.of(
        route.target_store,
        place.directory,
        {*names, *sums_above(names)},
        weights=place.filename is None,
    )
    if receipts is None:
        notes.extend(unlocked_notes(route.target_store))
    changes = Changes() if receipts is not None else changes_of(route, around, plan, options)
    recorded = {} if receipts is not None else recorded_for(route, checkpoint, options)
    names_read = route.names_read()
    replaced_source = tuple(name for name in changes.superseded if name in names_read)
    # What a pipeline has above its components is seen to with all of them.
    above = () if read.apart else sums_around(route.target_store, place.directory)
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
            *stale_notes(above, changes.gone),
            *note_on(recorded),
        ),
        not_carried=left,
        room=_room(route.target_store, place, plan, changes, sources),
        receipts=receipts,
        accepted=read.accepted,
        compare_kept=read.compare_kept,
        recorded=recorded,
    )


def _versions(
    source_store: Store, checkpoint: Checkpoint, companions: Mapping[str, Companion]
) -> dict[str, Version]:
    return checkpoint.versions | {
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
    if plan.index is None or not plan.loads_from:
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
