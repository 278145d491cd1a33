"""Prepare a run: find the source, read its headers, plan, and check the target.

The steps of `prepare` are those that a reader would take. Nothing is written by them, save that a
replacement that an interrupted run had started is completed first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from shardctl.checksums import CHECKSUMS
from shardctl.commands.companions import companions_of, companions_to_copy
from shardctl.commands.defaults import complete, measure_of
from shardctl.commands.replace import superseded
from shardctl.commands.target import Route, Target, kept_checksums, reflink_of, resolve_target
from shardctl.engine.commit import check_not_half_replaced, recover
from shardctl.engine.guards import Surroundings
from shardctl.engine.journal import STAGING, Journal, RunIdentity, RunRecord
from shardctl.engine.receipts import Receipt
from shardctl.errors import TargetExistsError
from shardctl.findings import noting
from shardctl.model import Checkpoint, Version
from shardctl.planning.plan import Plan, make_plan
from shardctl.planning.request import WriteOptions, options_of
from shardctl.source.locate import Located, find_source
from shardctl.source.misnamed import misnamed_notes
from shardctl.source.read import read_checkpoint
from shardctl.stores.base import Copied, Store
from shardctl.text import escape

#: Names of files that a note lists at most.
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run changes in the target beside the planned files.

    `copies` are companions, by name with the path that each is read from. `superseded` are the
    names that the new files replace. `checksums` are the lines of `SHA256SUMS` that stay; None
    leaves that file alone.
    """

    copies: Mapping[str, str] = field(default_factory=dict)
    superseded: tuple[str, ...] = ()
    checksums: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to go.

    `identity` says which run this is; `sources` gives the versions of the files to be read, by
    path; `surroundings` is what was in the target. `shared_block` is the block, in bytes, that the
    target can share with the source. `companions` are the files of the source directory that belong
    beside the weights. `receipts` are the last run's, where its record proves that its result is
    there.
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
    notes: tuple[str, ...]
    receipts: tuple[Receipt, ...] | None

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
) -> Prepared:
    """Read headers, plan, and check the target.

    A replacement that was interrupted in the target is completed first where `finish` is set (the
    source may be what it replaces), else it is a TargetExistsError. Raises UsageError, InputError
    and TargetError with what to do about it.
    """
    notes: list[str] = []
    # Resolve.
    one_file = options.limits is not None and options.limits.one_file
    place = resolve_target(target_store, target, one_file=one_file)
    completed = _complete_interrupted(target_store, place, finish=finish)
    if completed is not None:
        notes.append("completed the replacement that an interrupted run had started")
    located = _locate(source_store, source, target_store, place, completed)
    route = Route(source_store, located, target_store, place)
    # Read.
    checkpoint = read_checkpoint(
        source_store,
        located,
        noting(notes),
        options.key,
        drop_non_tensors=options.drop_non_tensors,
    )
    notes.extend(misnamed_notes(checkpoint.files))
    # Plan.
    reflink = reflink_of(route, checkpoint, options.layout)
    request = complete(options, located, checkpoint, place, reflink.planned)
    plan = make_plan(checkpoint, request, measure_of(request))
    companions = companions_of(route, options)
    sources = _versions(source_store, checkpoint, companions)
    identity = _identity(source_store, located, plan, options, sources)
    # Check the target.
    record = completed or Journal(target_store, place.staging).record()
    receipts = _up_to_date(route, identity, companions, record)
    surroundings = Surroundings.of(
        target_store,
        place.directory,
        {*plan.filenames, *companions, CHECKSUMS},
        weights=place.filename is None,
    )
    changes = Changes() if receipts is not None else _changes(route, companions, plan, options)
    return Prepared(
        source=source,
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
        notes=(*located.notes, *notes, *plan.notes, *_replaced(route, changes)),
        receipts=receipts,
    )


def _complete_interrupted(store: Store, target: Target, *, finish: bool) -> RunRecord | None:
    """Complete a replacement that was interrupted; return its record, None where there is none."""
    if finish:
        return recover(store, target.directory, target.staging)
    if Journal(store, target.staging).commit() is not None:
        raise TargetExistsError(
            f"'{target.directory}' holds a replacement that was interrupted",
            hint="run the command without `plan`: it completes the replacement first",
            code="half-done",
            file=target.staging,
        )
    return None


def _locate(
    source_store: Store,
    source: str,
    target_store: Store,
    target: Target,
    completed: RunRecord | None,
) -> Located:
    if completed is not None and source_store == target_store and source_store.kind(source) is None:
        # The source was one file, and the replacement that was just completed removed it: what it
        # held is in the files that replaced it.
        source = target_store.join(target.directory, completed.loads_from)
    located = find_source(source_store, source, whole_set=True)
    check_not_half_replaced(source_store, source_store.join(located.directory, STAGING))
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


def _up_to_date(
    route: Route,
    identity: RunIdentity,
    companions: Mapping[str, str],
    record: RunRecord | None,
) -> tuple[Receipt, ...] | None:
    """Return the receipts of the last run, where its record proves that nothing is left to do."""
    if record is None or record.options != identity.options:
        return None
    store, directory = route.target_store, route.target.directory
    for name, version in record.written.items():
        path = store.join(directory, name)
        if store.kind(path) != "file" or store.version(path) != version:
            return None
    for name in companions:
        path = store.join(directory, name)
        if store.kind(path) != "file" or store.version(path).size != identity.sources[name].size:
            return None
    # A set that was replaced in place is the source of the next run.
    replaced = route.in_place and identity.sources.items() <= record.written.items()
    same = record.plan_id == identity.plan_id and record.sources == identity.sources
    if not replaced and not same:
        return None
    return tuple(
        Receipt(name, version.size, record.sha256.get(name), Copied())
        for name, version in record.written.items()
    )


def _changes(
    route: Route, companions: Mapping[str, str], plan: Plan, options: WriteOptions
) -> Changes:
    """Return what changes in the target; raise TargetExistsError for what must stay as it is."""
    copies = companions_to_copy(route, companions, options)
    replaced = superseded(route, plan.request, plan.filenames, options.replace)
    gone = {*replaced, *plan.filenames, *copies}
    checksums = kept_checksums(route.target_store, route.target, gone)
    if checksums is None and options.checksums:
        checksums = {}
    return Changes(copies, replaced, checksums)


def _replaced(route: Route, changes: Changes) -> Iterator[str]:
    """Yield notes on what happens to the old files, for the user to know before the work."""
    if not changes.superseded:
        return
    count = len(changes.superseded)
    shown = ", ".join(map(escape, changes.superseded[:_SHOWN])) + (", …" if count > _SHOWN else "")
    yield f"replaces {count} file{'' if count == 1 else 's'} in the target: {shown}"
    deep = [name for name in route.located.names(route.source_store).values() if "/" in name]
    if deep and route.in_place:
        more = ", …" if len(deep) > 1 else ""
        yield f"the old shards in subdirectories stay: {escape(deep[0])}{more}"
