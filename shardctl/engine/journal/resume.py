"""The finished files of an interrupted run: which of them the next run goes on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shardctl.engine.journal.journal import Journal
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.journal.sample import sample
from shardctl.engine.sources import Sources
from shardctl.engine.task import ShardTask, compared, digest
from shardctl.stores.base import Store
from shardctl.streams.progress import no_tick


@dataclass(frozen=True, slots=True)
class Resumed:
    """What of an interrupted run goes on: the receipts of the files that are kept, by name.

    `outdated`: none is, since the sources were written again after the files were made of them.
    """

    kept: Mapping[str, Receipt]
    outdated: bool = False


def resume(
    tasks: Sequence[ShardTask],
    source: Store,
    target: Store,
    journal: Journal,
    *,
    compare: bool = False,
) -> Resumed:
    """Return which files can be kept; discard everything else.

    With `compare` every byte is compared with the sources, whatever the tasks ask for.
    Raises SourceChangedError, FormatError for damage that a comparison finds in a source, and
    StorageError.
    """
    wanted = {task.filename: task for task in tasks}
    kept = {
        name: receipt
        for name, receipt in journal.receipts().items()
        if name in wanted and _is_whole(receipt, wanted[name], source, target, compare=compare)
    }
    outdated = not all(
        is_of_sources(receipt, wanted[name], source) for name, receipt in kept.items()
    )
    if outdated:
        # Though their versions do not show it. A file whose own sample is the same may differ
        # elsewhere.
        kept = {}
    journal.keep(kept.keys())
    return Resumed(kept, outdated)


def still_holds(receipt: Receipt, task: ShardTask, source: Store, target: Store) -> bool:
    """Whether the receipt of a staged file is right: the file is whole, and of these sources.

    Raises as `resume` does.
    """
    return _is_whole(receipt, task, source, target, compare=False) and is_of_sources(
        receipt, task, source
    )


def _is_whole(
    receipt: Receipt, task: ShardTask, source: Store, target: Store, *, compare: bool
) -> bool:
    """Whether a staged file is what its receipt says, and what the task asks for.

    With `compare`, or where the task asks for it, every byte is compared with the sources.
    """
    if receipt.nbytes != task.layout.nbytes or (receipt.damaged and not task.accept_damage):
        return False
    if task.digest or receipt.sha256 is not None:
        found = digest(target, task.staged, no_tick)
        if found != receipt.sha256:
            return False
    with Sources(source, task.sources) as sources:
        wanted = compare or task.read_back
        return not wanted or compared(task, target, sources) is not None


def is_of_sources(receipt: Receipt, task: ShardTask, source: Store) -> bool:
    """Whether the sampled source blocks are still those that went into a file."""
    with Sources(source, task.sources) as sources:
        return sample(task.layout, sources) == receipt.sample
