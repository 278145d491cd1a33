"""The files of a plan as tasks: what is laid out, and where it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shardctl.commands.target.companion import Companion
from shardctl.engine.task import ShardTask
from shardctl.formats.registry import writer_of
from shardctl.layout import Layout, LayoutBuilder
from shardctl.model import Version
from shardctl.planning.plan import Plan


def tasks_of(
    plan: Plan,
    copies: Mapping[str, Companion],
    sources: Mapping[str, Version],
    path_of: Callable[[str], str],
    *,
    digest: bool = False,
    read_back: bool = False,
    accept_damage: bool = False,
) -> tuple[ShardTask, ...]:
    """Return a task for every file, the one that makes the set visible last.

    `copies` are companions, by name; `path_of` gives the path of a file by its name; `digest`,
    `read_back` and `accept_damage` are those of the tasks.
    """
    writer = writer_of(plan.request.format)

    def task(filename: str, layout: Layout, *, digest: bool) -> ShardTask:
        return ShardTask(
            filename, path_of(filename), layout, sources, digest, read_back, accept_damage
        )

    companions = [
        task(name, companion.layout(sources[companion.path].size), digest=False)
        for name, companion in copies.items()
    ]
    shards = [
        task(
            shard.filename,
            writer.lay_out(shard.tensors, shard.metadata, plan.request.block),
            digest=digest,
        )
        for shard in plan.shards
    ]
    if plan.index is None or plan.index_filename is None:
        return (*companions, *shards)
    return (*companions, *shards, task(plan.index_filename, _known(plan.index), digest=digest))


def _known(data: bytes) -> Layout:
    builder = LayoutBuilder()
    builder.literal(data)
    return builder.build()
