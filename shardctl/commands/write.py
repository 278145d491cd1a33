"""Write what was prepared: build the job, and carry it out."""

from __future__ import annotations

from collections.abc import Callable

from shardctl.commands.prepare import Prepared
from shardctl.engine.journal import Journal
from shardctl.engine.receipts import Receipt
from shardctl.engine.run import Job, RunOptions, execute
from shardctl.engine.task import ShardTask
from shardctl.formats.registry import writer_of
from shardctl.layout import Layout, LayoutBuilder
from shardctl.model import Extent
from shardctl.stores.base import Store
from shardctl.streams.pool import Threads, Workers
from shardctl.streams.progress import Observer


def write(
    source_store: Store,
    target_store: Store,
    prepared: Prepared,
    run: RunOptions,
    observe: Observer,
    executor: Callable[[int], Workers] = Threads,
) -> tuple[Receipt, ...]:
    """Carry out what was prepared. Raises as `engine.run.execute` does."""
    job = build_job(target_store, prepared)
    return execute(job, source_store, target_store, run, executor, observe)


def build_job(target_store: Store, prepared: Prepared) -> Job:
    """Lay out every file, and return the job that writes them.

    For a million tensors the layouts take more memory than the plan; a dry run needs none.
    """
    return Job(
        prepared.identity,
        prepared.target.directory,
        prepared.target.staging,
        _tasks(target_store, prepared),
        prepared.sources,
        prepared.surroundings,
        superseded=prepared.changes.superseded,
        checksums=prepared.changes.checksums,
        shared_block=prepared.shared_block,
    )


def _tasks(target_store: Store, prepared: Prepared) -> tuple[ShardTask, ...]:
    """Return a task for every file, the one that makes the set visible last."""
    plan, sources, options = prepared.plan, prepared.sources, prepared.options
    writer = writer_of(plan.request.format)
    journal = Journal(target_store, prepared.target.staging)

    def task(filename: str, layout: Layout, *, digest: bool) -> ShardTask:
        staged = journal.staged(filename)
        return ShardTask(filename, staged, layout, sources, digest, options.read_back)

    companions = [
        task(name, _whole(path, sources[path].size), digest=False)
        for name, path in prepared.changes.copies.items()
    ]
    shards = [
        task(
            shard.filename,
            writer.lay_out(shard.tensors, plan.metadata, plan.request.block),
            digest=options.checksums,
        )
        for shard in plan.shards
    ]
    if plan.index is None or plan.index_filename is None:
        return (*companions, *shards)
    index = task(plan.index_filename, _known(plan.index), digest=options.checksums)
    return (*companions, *shards, index)


def _known(data: bytes) -> Layout:
    builder = LayoutBuilder()
    builder.literal(data)
    return builder.build()


def _whole(path: str, size: int) -> Layout:
    builder = LayoutBuilder()
    builder.copy(Extent(path, 0, size))
    return builder.build()
