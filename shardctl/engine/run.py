"""Carry out a job: lock, check, stage, copy, commit, the index last.

Until the commit nothing has a final name. From the commit on the run goes only forward, and the
next run finishes it (`commit`). See `journal` for what is on disk in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace

from shardctl.checksums import CHECKSUMS, format_checksums
from shardctl.engine.commit import finish, leave_nothing
from shardctl.engine.guards import Surroundings, refuse_changed, refuse_foreign, refuse_links
from shardctl.engine.journal import LOCK, Commit, Journal, RunIdentity
from shardctl.engine.receipts import Receipt
from shardctl.engine.sources import source_changed
from shardctl.engine.task import ShardTask, digest, write
from shardctl.errors import ShardctlError, Stopped, StorageError
from shardctl.model import Version
from shardctl.sizes import format_size
from shardctl.stores.atomic import make_durably, put
from shardctl.stores.base import Store
from shardctl.stores.optional import free_bytes, lock, remove_directory, sync_directory
from shardctl.streams.chunks import PART_BYTES
from shardctl.streams.pool import Workers
from shardctl.streams.progress import TICK_SECONDS, Observer

#: Room to leave beside the files themselves, in bytes: for the journal and directory entries.
SLACK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Job:
    """All that a run needs to know.

    `directory` and `staging` are paths in the target store. `tasks` are in order, the file that
    makes the set visible last. `sources` gives the versions of the files that are read, by path in
    the source store. `surroundings` is what was in the target directory when this was planned.
    `superseded` are names there that are removed once the new set is durable. `checksums` are the
    lines of `SHA256SUMS` that stay beside those of the files that tasks took digests of; None
    leaves that file alone. `shared_block` is the block, in bytes, that the target can share with
    the sources.
    """

    identity: RunIdentity
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
    """How to run: files at once, whether to discard an unfinished run first, and keep a record."""

    jobs: int
    restart: bool = False
    record: bool = True


def execute(
    job: Job,
    source: Store,
    target: Store,
    options: RunOptions,
    executor: Callable[[int], Workers],
    observe: Observer,
) -> tuple[Receipt, ...]:
    """Write the files of a job and give them their names.

    Returns their receipts, in the order of the tasks. `executor` makes workers for so many files at
    once. Raises LockedError, TargetExistsError (an unfinished run of another plan, a target that
    changed, a link among the run's own files), StorageError, SourceChangedError or FormatError;
    then no final name has changed, unless the commit had begun, which the next run finishes.
    """
    journal = Journal(target, job.staging)
    refuse_links(target, job.directory, journal)
    made = make_durably(target, job.staging)
    with lock(target, journal.path(LOCK)):
        refuse_foreign(job.directory, job.identity, journal, restart=options.restart)
        try:
            # Another run may have ended here since the plan was made, and other programs may write
            # at any time.
            refuse_changed(target, job.directory, job.surroundings)
            receipts = _Stage(job, source, target, journal, options).run(executor, observe)
            refuse_changed(target, job.directory, job.surroundings)
        except Exception:
            _tidy(journal, target, job, made)
            raise
        observe.committing()
        commit = _commit_of(job, receipts, target, journal, record=options.record)
        journal.begin_commit(commit)
        finish(target, job.directory, journal, commit)
    leave_nothing(target, job.staging, commit)
    return receipts


def _stage_checksums(
    job: Job, receipts: tuple[Receipt, ...], target: Store, journal: Journal
) -> bool:
    """Stage `SHA256SUMS` where it will have lines; return whether it will."""
    taken = {receipt.filename: receipt.sha256 for receipt in receipts if receipt.sha256 is not None}
    lines = {**(job.checksums or {}), **taken}
    if job.checksums is None or not lines:
        return False
    put(target, journal.files, CHECKSUMS, format_checksums(lines))
    return True


def _commit_of(
    job: Job, receipts: tuple[Receipt, ...], target: Store, journal: Journal, *, record: bool
) -> Commit:
    new = tuple(task.filename for task in job.tasks)
    old = tuple(
        name for name in job.superseded if target.kind(target.join(job.directory, name)) is not None
    )
    indexes = tuple(name for name in old if name.endswith(".json"))
    # An index whose shards are about to be overwritten must not be there to be loaded.
    shared = len(new) > 1 and any(name in new for name in old if name not in indexes)
    first = indexes if shared else ()
    last = tuple(name for name in old if name not in new)
    if _stage_checksums(job, receipts, target, journal):
        new = (CHECKSUMS, *new)
    elif job.checksums is not None:
        last = (*last, CHECKSUMS)
    return Commit(job.identity, first, new, last, receipts, record)


@dataclass(frozen=True, slots=True)
class _Stage:
    """Writes the files of a job under their staged names, but for those that are there already."""

    job: Job
    source: Store
    target: Store
    journal: Journal
    options: RunOptions

    def run(self, executor: Callable[[int], Workers], observe: Observer) -> tuple[Receipt, ...]:
        """Write the files; return their receipts, in the order of the tasks."""
        tasks = self.job.tasks
        done = self._resume()
        todo = [task for task in tasks if task.filename not in done]
        _check_space(self.job, self.target, todo)
        self.journal.begin(self.job.identity)
        sizes = {task.filename: task.layout.nbytes for task in tasks}
        observe.start(sum(task.layout.nbytes for task in tasks), sizes)
        for receipt in done.values():
            observe.finished(receipt.filename, receipt.nbytes, kept=True)

        def accept(receipt: Receipt) -> None:
            self.journal.add(receipt)
            done[receipt.filename] = receipt
            observe.finished(receipt.filename, receipt.nbytes, kept=False)

        self._write(_spread(todo, self.options.jobs), executor, observe, accept)
        for path, version in self.job.sources.items():
            if self.source.version(path) != version:
                raise source_changed(path)
        for directory in (self.journal.files, self.job.staging):
            sync_directory(self.target, directory)
        return tuple(done[task.filename] for task in tasks)

    def _resume(self) -> dict[str, Receipt]:
        """Return the files of an earlier try that can be kept; discard everything else of it."""
        if self.options.restart or self.journal.identity() is None:
            self.journal.discard()
            return {}
        wanted = {task.filename: task for task in self.job.tasks}
        kept = {
            name: receipt
            for name, receipt in self.journal.receipts().items()
            if name in wanted and self._is_staged(receipt, wanted[name])
        }
        self.journal.keep(kept)
        return kept

    def _is_staged(self, receipt: Receipt, task: ShardTask) -> bool:
        path, size = self.journal.staged(task.filename), task.layout.nbytes
        if self.target.kind(path) != "file" or self.target.version(path).size != size:
            return False
        if receipt.sha256 is None:
            return not task.digest
        return digest(self.target, path, _no_tick) == receipt.sha256

    def _write(
        self,
        tasks: list[ShardTask],
        executor: Callable[[int], Workers],
        observe: Observer,
        accept: Callable[[Receipt], None],
    ) -> None:
        with _shut_down(executor(self.options.jobs)) as workers:
            order: dict[Future[Receipt], int] = {
                workers.submit(
                    write, task, self.source, self.target, workers.ticks.of(task.filename)
                ): number
                for number, task in enumerate(tasks)
            }
            pending = set(order)
            while pending:
                finished, pending = wait(pending, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
                workers.ticks.drain(observe.advance)
                # What is finished is noted before a failure of the same moment ends the run; both
                # in the tasks' order.
                for future in sorted(
                    finished, key=lambda future: (future.exception() is not None, order[future])
                ):
                    accept(future.result())


def _spread(tasks: Sequence[ShardTask], jobs: int) -> list[ShardTask]:
    """Give tasks the threads that are left over where there are fewer large files than `jobs`."""
    large = sum(task.layout.nbytes > PART_BYTES for task in tasks)
    return [replace(task, threads=max(1, jobs // max(large, 1))) for task in tasks]


def _no_tick(_: int) -> None:
    """Do nothing."""


def _check_space(job: Job, target: Store, todo: Sequence[ShardTask]) -> None:
    free = free_bytes(target, job.directory)
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
            f"'{job.directory}' has {format_size(free)} free, and {format_size(need)} are needed"
            f"{old}",
            hint=f"free {format_size(need - free)} there, or choose a target on another filesystem",
            code="disk-full",
            file=job.directory,
        )


@contextmanager
def _shut_down(workers: Workers) -> Iterator[Workers]:
    # An interrupted run does not wait for a sync that may take long: its process ends, and the
    # journal is in order.
    wait_for_tasks = True
    try:
        yield workers
    except Stopped:
        wait_for_tasks = False
        raise
    finally:
        workers.ticks.cancel()
        workers.shutdown(wait=wait_for_tasks, cancel_futures=True)


def _tidy(journal: Journal, target: Store, job: Job, made: Sequence[str]) -> None:
    """After a failure: keep finished files for the next try; where there are none, leave no trace.

    `made` are the directories that the run made, innermost first.
    """
    try:
        kept = journal.receipts() if journal.identity() is not None else {}
        if kept:
            journal.sweep(keep=tuple(kept))
            return
        journal.discard()
        if journal.record() is not None:
            return
        target.remove(journal.path(LOCK))
        for directory in dict.fromkeys((job.staging, *made)):
            remove_directory(target, directory)
    except ShardctlError:
        # The failure that is being raised says more than one of cleaning up after it.
        return
