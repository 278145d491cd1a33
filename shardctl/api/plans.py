"""Carry out a saved plan: `apply`, and `apply_part`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from shardctl.api.settings import Location, run_options
from shardctl.api.writing import Written, noted
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.preparing.records import records as records_of_user
from shardctl.commands.saved import sharing
from shardctl.commands.saved.planned import prepare_planned, read_plan_file
from shardctl.engine.shared.share import PartDone
from shardctl.errors import UsageError
from shardctl.planning.request import Replace
from shardctl.planning.saved.plan_file import PlannedRun
from shardctl.stores.base import Store
from shardctl.stores.registry import open_store, open_together
from shardctl.streams.progress import Observer, Silent


def apply(
    plan: Location,
    *,
    source: Location | None = None,
    target: Location | None = None,
    commit: bool = False,
    replace: Replace = "nothing",
    replace_companions: bool = False,
    restart: bool = False,
    record: bool = True,
    jobs: int | None = None,
    observer: Observer | None = None,
) -> Written:
    """Write what a saved plan says, from its source into its target, or from and into others.

    The files are those that `write` would have written. What `apply_part` has done is gone on with;
    with `commit` nothing else is written, and a shard that is missing is a TargetError. What may be
    replaced is not in a plan. Raises FormatError for what is not a plan, SourceChangedError for
    another source than the plan's, UsageError for the plan of a pipeline, and as `write` does.
    """
    run = run_options(jobs, restart=restart)
    found = _Planned.of(
        plan, source, target, replace, replace_companions=replace_companions, record=record
    )
    prepared = found.prepared
    receipts = prepared.receipts
    if receipts is None:
        how = sharing.commit if commit else sharing.write_whole
        receipts = how(
            found.source_store,
            found.target_store,
            prepared,
            run,
            observer or Silent(),
            records=records_of_user(keep=record),
            planned=found.run,
        )
    return Written(
        prepared.path(found.target_store), noted(prepared), receipts, prepared.up_to_date
    )


def apply_part(
    plan: Location,
    number: int,
    count: int,
    *,
    source: Location | None = None,
    target: Location | None = None,
    replace: Replace = "nothing",
    replace_companions: bool = False,
    restart: bool = False,
    jobs: int | None = None,
    observer: Observer | None = None,
) -> PartDone:
    """Write the `number`-th of `count` parts of the shards of a saved plan, from 1 on.

    Parts can run at once, on several machines, and be repeated; `apply` finishes the run. The
    result's `missing` names the shards that no part has done yet. `restart` discards an unfinished
    run of another plan. Raises as `apply` does.
    """
    if not 1 <= number <= count:
        raise UsageError(
            f"there is no part {number:,} of {count:,}", hint="give a number from 1 to the count"
        )
    run = run_options(jobs, restart=restart)
    found = _Planned.of(
        plan, source, target, replace, replace_companions=replace_companions, record=True
    )
    if found.prepared.receipts is not None:
        return PartDone((), found.prepared.receipts, ())
    return sharing.write_share(
        found.source_store,
        found.target_store,
        found.prepared,
        sharing.Share(number, count),
        run,
        observer or Silent(),
        planned=found.run,
    )


@dataclass(frozen=True, slots=True)
class _Planned:
    """A saved plan, ready to be carried out."""

    source_store: Store
    target_store: Store
    prepared: Prepared
    run: PlannedRun

    @classmethod
    def of(
        cls,
        plan: Location,
        source: Location | None,
        target: Location | None,
        replace: Replace,
        *,
        replace_companions: bool,
        record: bool,
    ) -> _Planned:
        """Read a plan, and prepare what it says."""
        saved = read_plan_file(*open_store(os.fspath(plan)))
        if saved.is_pipeline:
            raise UsageError(
                "the plan is one of a pipeline, and only a command applies it",
                hint="plan each component of the pipeline",
                file=os.fspath(plan),
            )
        given = saved.sources if source is None else (os.fspath(source),)
        source_store, sources = open_together(given)
        target_store, directory = open_store(saved.target if target is None else os.fspath(target))
        work = prepare_planned(
            saved,
            source_store,
            sources,
            target_store,
            directory,
            saved.options_for(replace, replace_companions=replace_companions),
            records=records_of_user(keep=record),
        )
        return cls(source_store, target_store, work.parts[0].prepared, saved.runs[""])
