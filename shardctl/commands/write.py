"""Write what was prepared: build the job, and carry it out."""

from __future__ import annotations

from functools import partial

from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.preparing.recorded import refuse_damaged
from shardctl.commands.preparing.tasks import tasks_of
from shardctl.engine.entry import execute, staged_in
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.journal.records import Records
from shardctl.engine.run import Job, RunOptions
from shardctl.engine.workers.executors import Executor, Threads
from shardctl.stores.base import Store
from shardctl.stores.paths import below
from shardctl.streams.progress import Observer


def write(
    source_store: Store,
    target_store: Store,
    prepared: Prepared,
    run: RunOptions,
    observe: Observer,
    executor: Executor = Threads,
    records: Records | None = None,
) -> tuple[Receipt, ...]:
    """Carry out what was prepared, and keep its record.

    Raises as `engine.entry.execute` does, and FormatError for a file of the source that does not
    have the digest recorded for it, where that is compared.
    """
    refuse_damaged(source_store, prepared.recorded, run.jobs)
    job = build_job(target_store, prepared)
    keep = None if records is None else partial(records.keep, job.directory)
    return execute(job, source_store, target_store, run, executor, observe, keep).receipts


def build_job(target_store: Store, prepared: Prepared) -> Job:
    """Lay out every file, and return the job that writes them.

    For a million tensors the layouts take more memory than the plan; a dry run needs none.
    """
    staged = staged_in(target_store, prepared.target.directory)
    return Job(
        prepared.identity,
        prepared.target.directory,
        tasks_of(
            prepared.plan,
            prepared.changes.copies,
            prepared.sources,
            lambda name: below(target_store, staged, name),
            digest=prepared.options.checksums,
            read_back=prepared.options.read_back,
            accept_damage=prepared.options.accept_damage,
        ),
        prepared.sources,
        prepared.surroundings,
        superseded=prepared.changes.superseded,
        replaced_source=prepared.replaced_source,
        checksums=prepared.changes.sums,
        shared_block=prepared.shared_block,
        directories=prepared.changes.directories,
        compare_kept=prepared.compare_kept,
    )
