"""The uploads of an interrupted run, or of other processes: which of them can be completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shardctl.engine.journal.resume import is_of_sources
from shardctl.engine.task import ShardTask
from shardctl.engine.uploads.send import Sent
from shardctl.errors import MissingError
from shardctl.stores.base import Store
from shardctl.stores.optional import at_once
from shardctl.stores.uploads import UploadStore
from shardctl.streams.pool import in_order


@dataclass(frozen=True, slots=True)
class Resumed:
    """The uploads that can be completed, by the names of their files.

    `outdated`: none can, since the sources were written again after they were sent.
    """

    kept: Mapping[str, Sent]
    outdated: bool = False


def resume(
    tasks: Sequence[ShardTask], found: Mapping[str, Sent], source: Store, target: UploadStore
) -> Resumed:
    """Return which of the uploads `found`, by file name, are whole, and of the tasks' sources.

    Raises SourceChangedError and StorageError.
    """

    def looked_at(task: ShardTask) -> tuple[str, bool, bool]:
        sent = found[task.filename]
        whole = _is_whole(task, sent, target)
        return task.filename, whole, whole and is_of_sources(sent.receipt, task, source)

    todo = [task for task in tasks if task.filename in found]
    seen = list(in_order(at_once(target), looked_at, todo))
    whole = {name: found[name] for name, is_whole, _ in seen if is_whole}
    if not all(of_sources for _, is_whole, of_sources in seen if is_whole):
        # Though their versions do not show it. A file whose own sample is the same may differ
        # elsewhere.
        return Resumed({}, outdated=True)
    return Resumed(whole)


def holds(task: ShardTask, sent: Sent, source: Store, target: UploadStore) -> bool:
    """Whether an upload can be completed: it is whole, and of the task's sources.

    Raises as `resume`.
    """
    return _is_whole(task, sent, target) and is_of_sources(sent.receipt, task, source)


def _is_whole(task: ShardTask, sent: Sent, target: UploadStore) -> bool:
    """Whether an upload has all the parts that were noted, and is what the task asks for."""
    receipt = sent.receipt
    if receipt.nbytes != task.layout.nbytes or (receipt.damaged and not task.accept_damage):
        return False
    if task.digest and receipt.sha256 is None:
        return False
    try:
        parts = target.sent_parts(sent.upload)
    except MissingError:
        return False
    return parts == sent.parts and sum(part.nbytes for part in parts) == receipt.nbytes
