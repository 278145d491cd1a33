"""Carry out a job: lock, check, stage, copy, commit, the index last.

Until the commit nothing has a final name. From the commit on the run goes only forward, and whoever
comes next finishes it (`commit`). See `journal` for what is on disk in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from shardctl.checksums import CHECKSUMS, format_checksums
from shardctl.engine import journal as journals
from shardctl.engine.commit import finish, leave_nothing
from shardctl.engine.guards import Surroundings, refuse_changed, refuse_foreign, refuse_links
from shardctl.engine.journal import Commit, Journal, RunIdentity
from shardctl.engine.parts import PART_BYTES
from shardctl.engine.sources import source_changed
from shardctl.engine.task import Receipt, ShardTask, digest, write
from shardctl.errors import ShardctlError, Stopped, StorageError
from shardctl.model import Version
from shardctl.sizes import format_size
from shardctl.stores.atomic import make_durably, put
from shardctl.stores.base import Store
from shardctl.streams.progress import TICK_SECONDS, Ticks

#: Room to leave beside the files themselves, in bytes: journal and folder entries.
SLACK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Job:
    """All that a run needs to know. `tasks` in order, the file that makes the set visible last.

    `sources` gives the versions of the files that are read, by path. `surroundings` is what lay in
    the target folder when this was planned. `superseded` are names there that give way once the new
    set is durable. `checksums` are the lines of `SHA256SUMS` that stay beside those of the files
    that tasks took digests of; None leaves that file alone. `shared_block` is the block, in bytes,
    in which the target can share what stands alike in the sources.
    """

    header: RunIdentity
    directory: str
    staging: str
    tasks: tuple[ShardTask, ...]
    sources: Mapping[str, Version]
    surroundings: Surroundings
    superseded: tuple[str, ...] = ()
    checksums: Mapping[str, str] | None = None
    shared_block: int | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run: files at once, throw a half-done run away first, leave a record."""

    jobs: int
    restart: bool = False
    record: bool = True


class Observer(Protocol):
    """Who is told of the progress, on the thread that called `execute`. Bytes are those of the files written."""

    def start(self, nbytes: int, files: Mapping[str, int]) -> None: ...
    def advance(self, filename: str, nbytes: int) -> None: ...
    def finished(self, receipt: Receipt, *, kept: bool) -> None: ...
    def committing(self) -> None: ...


def execute(
    job: Job,
    store: Store,
    options: RunOptions,
    executor: Callable[[int], Executor],
    observe: Observer,
) -> tuple[Receipt, ...]:
    """Write the files of a job and put them in place; returns their receipts, in the order of the tasks.

    Raises LockedError, TargetExistsError (a half-done run of another plan, a target that changed, a
    link in the way), StorageError, SourceChangedError or FormatError; then no final name has
    changed, unless the commit had begun, which the next run finishes.
    """
    refuse_links(store, job.directory, job.staging)
    made = make_durably(store, job.staging)
    with store.lock(store.join(job.staging, journals.LOCK)):
        journal = Journal(store, job.staging)
        refuse_foreign(job.directory, job.header, journal, restart=options.restart)
        try:
            # Another run may have ended here since the plan was made, and other programs may write
            # at any time.
            refuse_changed(store, job.directory, job.surroundings)
            receipts = _stage(job, store, options, executor, observe, journal)
            refuse_changed(store, job.directory, job.surroundings)
        except Exception:
            _tidy(journal, store, job, made)
            raise
        observe.committing()
        commit = _commit_of(job, receipts, store, record=options.record)
        journal.begin_commit(commit)
        finish(store, job.directory, journal, commit)
    leave_nothing(store, job.staging, commit)
    return receipts


def _stage_checksums(job: Job, receipts: tuple[Receipt, ...], store: Store) -> bool:
    """Stage `SHA256SUMS` where it will have lines; returns whether it will."""
    taken = {receipt.filename: receipt.sha256 for receipt in receipts if receipt.sha256 is not None}
    lines = {**(job.checksums or {}), **taken}
    if job.checksums is None or not lines:
        return False
    put(store, Journal(store, job.staging).files, CHECKSUMS, format_checksums(lines))
    return True


def _commit_of(job: Job, receipts: tuple[Receipt, ...], store: Store, *, record: bool) -> Commit:
    new = tuple(task.filename for task in job.tasks)
    old = tuple(
        name for name in job.superseded if store.kind(store.join(job.directory, name)) is not None
    )
    indexes = tuple(name for name in old if name.endswith(".json"))
    # An index whose shards are about to be overwritten must not be there to be loaded.
    shared = len(new) > 1 and any(name in new for name in old if name not in indexes)
    first = indexes if shared else ()
    last = tuple(name for name in old if name not in new)
    if _stage_checksums(job, receipts, store):
        new = (CHECKSUMS, *new)
    elif job.checksums is not None:
        last = (*last, CHECKSUMS)
    return Commit(job.header, first, new, last, receipts, record)


def _stage(
    job: Job,
    store: Store,
    options: RunOptions,
    executor: Callable[[int], Executor],
    observe: Observer,
    journal: Journal,
) -> tuple[Receipt, ...]:
    kept = _resume(job, store, options, journal)
    todo = [task for task in job.tasks if task.filename not in kept]
    _check_space(job, store, todo)
    journal.begin(job.header)
    observe.start(
        sum(task.layout.nbytes for task in job.tasks),
        {task.filename: task.layout.nbytes for task in job.tasks},
    )
    for receipt in kept.values():
        observe.finished(receipt, kept=True)
    done = dict(kept)

    def accept(receipt: Receipt) -> None:
        journal.add(receipt)
        done[receipt.filename] = receipt
        observe.finished(receipt, kept=False)

    _run(_spread(todo, options.jobs), store, executor(options.jobs), observe, accept)
    for path, version in job.sources.items():
        if store.version(path) != version:
            raise source_changed(path)
    for directory in (journal.files, job.staging):
        store.sync_directory(directory)
    return tuple(done[task.filename] for task in job.tasks)


def _spread(tasks: Sequence[ShardTask], jobs: int) -> list[ShardTask]:
    """The tasks with the threads that are left over when there are fewer large files than files at once."""
    large = sum(task.layout.nbytes > PART_BYTES for task in tasks)
    return [replace(task, threads=max(1, jobs // max(large, 1))) for task in tasks]


def _resume(job: Job, store: Store, options: RunOptions, journal: Journal) -> dict[str, Receipt]:
    """The finished files of an earlier try that can be kept; everything else of it is thrown away."""
    if options.restart or journal.header() is None:
        journal.discard()
        return {}
    wanted = {task.filename: task for task in job.tasks}
    kept = {
        name: receipt
        for name, receipt in journal.receipts().items()
        if name in wanted and _still_there(store, journal.staged(name), receipt, wanted[name])
    }
    journal.keep(kept)
    return kept


def _still_there(store: Store, path: str, receipt: Receipt, task: ShardTask) -> bool:
    if store.kind(path) != "file" or store.version(path).size != task.layout.nbytes:
        return False
    if receipt.sha256 is None:
        return not task.digest
    return digest(store, path, _no_tick) == receipt.sha256


def _no_tick(_: int) -> None:
    """Nobody is told."""


def _check_space(job: Job, store: Store, todo: Sequence[ShardTask]) -> None:
    free = store.free_bytes(job.directory)
    need = SLACK_BYTES + sum(task.layout.nbytes for task in todo)
    if job.shared_block is not None:
        need -= sum(task.layout.shareable(job.shared_block) for task in todo)
    if free is not None and free < need:
        old = (
            " (the superseded files are removed only after the new ones are safe)"
            if job.superseded
            else ""
        )
        raise StorageError(
            f"'{job.directory}' has {format_size(free)} free, and {format_size(need)} are needed{old}",
            hint=f"free {format_size(need - free)} there, or choose a target on another filesystem",
            code="disk-full",
            file=job.directory,
        )


@contextmanager
def _shut_down(executor: Executor, ticks: Ticks) -> Iterator[None]:
    # A stopped run does not wait for a sync that may take long: its process ends, and the journal
    # is in order.
    wait_for_tasks = True
    try:
        yield
    except Stopped:
        wait_for_tasks = False
        raise
    finally:
        ticks.stop()
        executor.shutdown(wait=wait_for_tasks, cancel_futures=True)


def _run(
    tasks: list[ShardTask],
    store: Store,
    executor: Executor,
    observe: Observer,
    accept: Callable[[Receipt], None],
) -> None:
    ticks = Ticks()
    with _shut_down(executor, ticks):
        order: dict[Future[Receipt], int] = {
            executor.submit(write, task, store, ticks.of(task.filename)): number
            for number, task in enumerate(tasks)
        }
        pending = set(order)
        while pending:
            finished, pending = wait(pending, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
            ticks.tell(observe.advance)
            # What is finished is noted before a failure of the same moment ends the run; both in
            # the tasks' order.
            for future in sorted(
                finished, key=lambda future: (future.exception() is not None, order[future])
            ):
                accept(future.result())


def _tidy(journal: Journal, store: Store, job: Job, made: Sequence[str]) -> None:
    """After a failure: keep finished files for the next try; where there are none, leave no trace.

    `made` are the folders that the run made, innermost first.
    """
    try:
        kept = journal.receipts() if journal.header() is not None else {}
        if kept:
            journal.sweep(keep=tuple(kept))
            return
        journal.discard()
        if journal.record() is not None:
            return
        store.remove(journal.path(journals.LOCK))
        for directory in dict.fromkeys((job.staging, *made)):
            store.remove_directory(directory)
    except ShardctlError:
        # The failure that is under way says more than one of cleaning up after it.
        return
