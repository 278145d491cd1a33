"""Carry out a plan by parts: what each process writes, and the commit when all have ended."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.preparing.recorded import refuse_damaged
from shardctl.commands.preparing.work import Work
from shardctl.commands.saved.planned import known_contents
from shardctl.commands.write import build_job, write
from shardctl.engine.entry import execute, shared_run, write_part
from shardctl.engine.journal.journal import RunIdentity
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.journal.records import NoRecords, Records
from shardctl.engine.run import Job, RunOptions
from shardctl.engine.shared.share import PartDone, shares
from shardctl.engine.workers.executors import Executor, Threads
from shardctl.errors import UsageError
from shardctl.planning.saved.plan_file import PlannedRun
from shardctl.stores.base import Store
from shardctl.streams.progress import Observer


@dataclass(frozen=True, slots=True)
class Share:
    """One part of a run: the `number`-th of `count`, from 1 on."""

    number: int
    count: int

    def names(self, prepared: Prepared) -> tuple[str, ...]:
        """Return the names of the shards in this part."""
        shards = prepared.plan.shards
        mine = shares([shard.size for shard in shards], self.count)[self.number - 1]
        return tuple(shards[number].filename for number in mine)


def refuse_pipeline(work: Work) -> None:
    """Raise UsageError where a plan of several runs is to be written by parts."""
    if work.pipeline is not None:
        raise UsageError(
            "a plan of a pipeline cannot be written by parts",
            hint="apply it whole, or make a plan for each component of the pipeline",
            file=work.source,
        )


def shared_job(target_store: Store, prepared: Prepared, planned: PlannedRun) -> Job:
    """Return the job of a run that is written by parts.

    Its sources are known by what the plan says of their contents: inodes and times are those of one
    machine.
    """
    sources = known_contents(planned)
    identity = RunIdentity(prepared.plan.id, prepared.identity.options, sources, shared=True)
    return replace(
        build_job(target_store, prepared),
        identity=identity,
        staged=frozenset(shard.filename for shard in prepared.plan.shards),
    )


def write_share(
    source_store: Store,
    target_store: Store,
    prepared: Prepared,
    share: Share,
    run: RunOptions,
    observe: Observer,
    executor: Executor = Threads,
    *,
    planned: PlannedRun,
) -> PartDone:
    """Write one part; raises as `engine.shared.run.write_part`."""
    job = shared_job(target_store, prepared, planned)
    mine = share.names(prepared)
    return write_part(job, mine, source_store, target_store, run, executor, observe)


def commit(
    source_store: Store,
    target_store: Store,
    prepared: Prepared,
    run: RunOptions,
    observe: Observer,
    executor: Executor = Threads,
    records: Records | None = None,
    *,
    planned: PlannedRun,
) -> tuple[Receipt, ...]:
    """Give the files of all parts their names, the index last, and write what lies beside them.

    Raises TargetError (`parts-missing`) where a shard is not finished, or is not what its receipt
    says, and otherwise as `engine.entry.execute`. A record of an earlier run is forgotten.
    """
    refuse_damaged(source_store, prepared.recorded, run.jobs)
    job = shared_job(target_store, prepared, planned)
    done = execute(job, source_store, target_store, run, executor, observe)
    (NoRecords() if records is None else records).forget(job.directory)
    return done.receipts


def write_whole(
    source_store: Store,
    target_store: Store,
    prepared: Prepared,
    run: RunOptions,
    observe: Observer,
    executor: Executor = Threads,
    records: Records | None = None,
    *,
    planned: PlannedRun,
) -> tuple[Receipt, ...]:
    """Write all of a plan: what its parts have left to do, where it was begun by parts."""
    ends = (source_store, target_store, prepared)
    job = shared_job(target_store, prepared, planned)
    if run.restart or shared_run(target_store, job.directory) != job.identity:
        return write(*ends, run, observe, executor, records)
    write_share(*ends, Share(1, 1), run, observe, executor, planned=planned)
    return commit(*ends, run, observe, executor, records, planned=planned)
