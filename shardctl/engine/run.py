"""Carry out a job: lock, check, stage, copy, commit, the index last.

Until the commit nothing has a final name. From the commit on the run goes only forward, and the
next run finishes it (`commit`). See `journal` for what is on disk in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace

from shardctl.checksums import CHECKSUMS, edit_checksums
from shardctl.engine import commit as commits
from shardctl.engine import exchange
from shardctl.engine.guards import Surroundings, refuse_changed, refuse_foreign
from shardctl.engine.journal import LOCK, Commit, Journal, RunIdentity
from shardctl.engine.receipts import Receipt
from shardctl.engine.records import RunRecord
from shardctl.engine.sources import Sources, source_changed
from shardctl.engine.staging import Staging
from shardctl.engine.task import ShardTask, compare, digest, write
from shardctl.errors import ShardctlError, Stopped, StorageError
from shardctl.model import Version
from shardctl.sizes import format_size
from shardctl.stores.atomic import make_durably, write_new
from shardctl.stores.base import Store
from shardctl.stores.optional import free_bytes, lock, remove_directory, restrict_mode
from shardctl.streams.chunks import PART_BYTES
from shardctl.streams.pool import Workers
from shardctl.streams.progress import TICK_SECONDS, Observer, no_tick

#: Room to leave beside the files themselves, in bytes: for the journal and directory entries.
SLACK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Job:
    """All that a run needs to know.

    `directory` is a path in the target store. `tasks` are in order, the file that makes the set
    visible last. `sources` gives the versions of the files that are read, by path in the source
    store. `surroundings` is what was in the target directory when this was planned. `superseded`
    are names there that are removed once the new set is durable; `replaced_source` are those of
    them that are read. `checksums` is what stays of `SHA256SUMS`, to which the lines of the files
    that tasks took digests of are added; None leaves that file alone. `shared_block` is the block,
    in bytes, that the target can share with the sources. `compare_kept`: the versions of the
    sources do not say whether they changed, so that finished files of an interrupted run are kept
    only where they have the bytes that would be written now.
    """

    identity: RunIdentity
    directory: str
    tasks: tuple[ShardTask, ...]
    sources: Mapping[str, Version]
    surroundings: Surroundings
    superseded: tuple[str, ...] = ()
    replaced_source: tuple[str, ...] = ()
    checksums: bytes | None = None
    shared_block: int | None = None
    compare_kept: bool = False


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run: files at once, and whether to discard an unfinished run first.

    `hold` is entered for the time of the commit: signals wait until it is left.
    """

    jobs: int
    restart: bool = False
    hold: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did: the receipts in the order of the tasks, and its record."""

    receipts: tuple[Receipt, ...]
    record: RunRecord


def execute(
    job: Job,
    source: Store,
    target: Store,
    options: RunOptions,
    executor: Callable[[int], Workers],
    observe: Observer,
    keep: Callable[[RunRecord], object] | None = None,
) -> Done:
    """Write the files of a job and give them their names.

    `executor` makes workers for so many files at once. Raises LockedError, TargetExistsError (an
    unfinished run of another plan, a target that changed, a link among the run's own files),
    StorageError, SourceChangedError or FormatError; then no final name has changed, unless the
    commit had begun, which the next run finishes.
    """
    made = make_durably(target, job.directory)
    try:
        with Staging.make(target, job.directory) as staging:
            try:
                with lock(target, staging.path(LOCK)):
                    run = _Run(job, source, target, Journal(staging), options, observe, keep)
                    try:
                        return run.go(executor)
                    finally:
                        staging.remove_empty_directories()
            finally:
                # Where something is left in it, the next run goes on from there.
                staging.remove()
    except Exception:
        with suppress(ShardctlError):
            for directory in made:
                remove_directory(target, directory)
        raise


@dataclass(frozen=True, slots=True)
class _Run:
    """One run, from the moment when it holds the lock."""

    job: Job
    source: Store
    target: Store
    journal: Journal
    options: RunOptions
    observe: Observer
    keep: Callable[[RunRecord], object] | None

    def go(self, executor: Callable[[int], Workers]) -> Done:
        """Stage the files and commit them."""
        job, journal = self.job, self.journal
        refuse_foreign(job.directory, job.identity, journal, restart=self.options.restart)
        try:
            # Another run may have ended here since the plan was made, and other programs may write
            # at any time.
            refuse_changed(self.target, job.directory, job.surroundings)
            receipts = self._stage(executor)
            commit = self._commit_of(receipts)
            # After the files were looked at: what changes from here on is not what was seen.
            refuse_changed(self.target, job.directory, job.surroundings)
            self.observe.committing()
            with self.options.hold():
                return Done(receipts, commits.carry_out(journal, commit, self.keep))
        except Exception:
            _tidy(journal)
            raise

    def _stage(self, executor: Callable[[int], Workers]) -> tuple[Receipt, ...]:
        """Write the files under their staged names; return the receipts of all, in order."""
        tasks, observe = self.job.tasks, self.observe
        done = self._resume()
        todo = [task for task in tasks if task.filename not in done]
        _check_space(self.job, self.target, todo)
        names = [*(task.filename for task in tasks), CHECKSUMS]
        self.journal.begin(self.job.identity, names)
        sizes = {task.filename: task.layout.nbytes for task in tasks}
        observe.start(sum(task.layout.nbytes for task in tasks), sizes)
        for receipt in done.values():
            observe.finished(receipt.filename, receipt.nbytes, kept=True)

        read = {task.filename: task.layout.paths() for task in tasks}

        def accept(receipt: Receipt) -> None:
            staged = self.journal.staged(receipt.filename)
            restrict_mode(self.source, read[receipt.filename], self.target, staged)
            self.journal.add(receipt)
            done[receipt.filename] = receipt
            observe.finished(receipt.filename, receipt.nbytes, kept=False)

        self._write(_spread(todo, self.options.jobs), executor, accept)
        for path, version in self.job.sources.items():
            if self.source.version(path) != version:
                raise source_changed(path)
        for directory in (self.journal.staging.make_files(), self.journal.staging.own):
            directory.sync()
        return tuple(done[task.filename] for task in tasks)

    def _resume(self) -> dict[str, Receipt]:
        """Return the files of an earlier try that can be kept; discard everything else of it."""
        if self.options.restart or self.journal.identity() is None:
            self.journal.end()
            return {}
        wanted = {task.filename: task for task in self.job.tasks}
        kept = {
            name: receipt
            for name, receipt in self.journal.receipts().items()
            if name in wanted and self._is_staged(receipt, wanted[name])
        }
        self.journal.keep(kept.keys())
        return kept

    def _is_staged(self, receipt: Receipt, task: ShardTask) -> bool:
        path = self.journal.staged(task.filename)
        if receipt.nbytes != task.layout.nbytes or (receipt.damaged and not task.accept_damage):
            return False
        if receipt.sha256 is None and task.digest:
            return False
        if receipt.sha256 is not None and digest(self.target, path, no_tick) != receipt.sha256:
            return False
        return not self.job.compare_kept or self._has_its_bytes(task)

    def _has_its_bytes(self, task: ShardTask) -> bool:
        try:
            with Sources(self.source, task.sources) as sources:
                compare(task, self.target, sources, no_tick)
        except StorageError:
            return False
        return True

    def _write(
        self,
        tasks: list[ShardTask],
        executor: Callable[[int], Workers],
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
                workers.ticks.drain(self.observe.advance)
                # What is finished is noted before a failure of the same moment ends the run; both
                # in the tasks' order.
                for future in sorted(
                    finished, key=lambda future: (future.exception() is not None, order[future])
                ):
                    accept(future.result())

    def _commit_of(self, receipts: tuple[Receipt, ...]) -> Commit:
        """Look at what is replaced, and by what."""
        job, staging = self.job, self.journal.staging
        new = [task.filename for task in job.tasks]
        old = set(job.superseded)
        if job.checksums is not None:
            old.add(CHECKSUMS)
            if self._stage_checksums(job.checksums, receipts):
                new.insert(0, CHECKSUMS)
        found = exchange.plan(staging.target, staging.make_files(), new, old)
        directory = staging.target.own_identity()
        return Commit(job.identity, directory, found, receipts, job.replaced_source)

    def _stage_checksums(self, kept: bytes, receipts: tuple[Receipt, ...]) -> bool:
        """Stage `SHA256SUMS` where it will have lines; return whether it will."""
        taken = {receipt.filename: receipt.sha256 for receipt in receipts if receipt.sha256}
        data = edit_checksums(kept, (), taken)
        self.journal.staging.make_files().remove(CHECKSUMS)
        if data:
            write_new(self.target, self.journal.staged(CHECKSUMS), data)
        return bool(data)


def _spread(tasks: Sequence[ShardTask], jobs: int) -> list[ShardTask]:
    """Give tasks the threads that are left over where there are fewer large files than `jobs`."""
    large = sum(task.layout.nbytes > PART_BYTES for task in tasks)
    return [replace(task, threads=max(1, jobs // max(large, 1))) for task in tasks]


def _check_space(job: Job, target: Store, todo: Sequence[ShardTask]) -> None:
    free = free_bytes(target, job.directory)
    need = SLACK_BYTES + sum(task.layout.nbytes for task in todo)
    if job.shared_block is not None:
        need -= sum(task.layout.shareable(job.shared_block) for task in todo)
    if free is not None and free < need:
        old = (
            " (the replaced files are removed only after the new ones are safe)"
            if job.superseded
            else ""
        )
        raise StorageError(
            f"not enough space in '{job.directory}': {format_size(need)} needed, "
            f"{format_size(free)} free{old}",
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


def _tidy(journal: Journal) -> None:
    """After a failure: keep finished files for the next try; where there are none, leave no trace.

    A commit that could not be undone stays: the next run finishes it.
    """
    try:
        if journal.has_commit():
            return
        kept = journal.receipts() if journal.identity() is not None else {}
        if kept:
            journal.keep(kept.keys())
        else:
            journal.end()
    except ShardctlError:
        # The failure that is being raised says more than one of cleaning up after it.
        return
