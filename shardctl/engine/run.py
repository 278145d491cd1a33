"""Carry out a job: lock, check, stage, copy, commit, the index last.

Until the commit nothing has a final name. From the commit on the run goes only forward, and the
next run finishes it (`commit`). See `journal` for what is on disk in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, field

from shardctl.engine.commit import commit as commits
from shardctl.engine.commit import exchange
from shardctl.engine.commit.guards import (
    Surroundings,
    not_finished,
    refuse_changed,
    refuse_foreign,
)
from shardctl.engine.commit.staging import Staging
from shardctl.engine.commit.sums import stage_sums
from shardctl.engine.journal.journal import Commit, Journal, RunIdentity
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.journal.records import RunRecord
from shardctl.engine.journal.resume import Resumed, resume
from shardctl.engine.sources import source_changed
from shardctl.engine.space import check_space
from shardctl.engine.task import ShardTask, write
from shardctl.engine.workers.executors import Executor, carry_out
from shardctl.errors import ShardctlError
from shardctl.model import Version
from shardctl.stores.atomic import make_durably
from shardctl.stores.base import Store
from shardctl.stores.optional import remove_directory, restrict_mode
from shardctl.streams.progress import Observer


@dataclass(frozen=True, slots=True)
class Job:
    """All that a run needs to know.

    `directory` is a path in the target store. `tasks` are in order, the file that makes the set
    visible last. `sources` gives the versions of the files that are read, by path in the source
    store. `surroundings` is what was in the target directory when this was planned. `superseded`
    are names there that are removed once the new set is durable; `replaced_source` are those of
    them that are read. `checksums` is what stays of each `SHA256SUMS` that changes, by name
    (`sub/SHA256SUMS` too); to the one in the directory itself the lines of the files that tasks
    took digests of are added, and one without lines is removed. `shared_block` is the block, in
    bytes, that the target can share with the sources. `directories` are those below the target
    that its files lie in, outer ones first, by name with the path in the source of the one whose
    permissions they get. `compare_kept`: the versions of the sources do not say whether they
    changed, so that finished files of an interrupted run are kept only where they have the bytes
    that would be written now. `staged` are names of files that other processes have staged
    (`engine.shared.run`): the run only gives them their names, and ends where one is not finished.
    """

    identity: RunIdentity
    directory: str
    tasks: tuple[ShardTask, ...]
    sources: Mapping[str, Version]
    surroundings: Surroundings
    superseded: tuple[str, ...] = ()
    replaced_source: tuple[str, ...] = ()
    checksums: Mapping[str, bytes] = field(default_factory=dict)
    shared_block: int | None = None
    directories: Mapping[str, str] = field(default_factory=dict)
    compare_kept: bool = False
    staged: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run: files at once, and whether to discard an unfinished run first.

    `hold` is entered before the commit and left when the run has ended: signals wait until then.
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
    executor: Executor,
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
        if made:
            homes = {source.split(path)[0] for path in _read_at_top(job)}
            restrict_mode(source, homes, target, job.directory)
        with ExitStack() as held, Staging.make(target, job.directory) as staging:
            try:
                with commits.alone(staging, shared=job.identity.shared):
                    run = _Run(job, source, target, Journal(staging), options, observe, keep, held)
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


def _read_at_top(job: Job) -> Iterator[str]:
    """Yield the paths that are read for files at the top of the target."""
    for task in job.tasks:
        if "/" not in task.filename:
            yield from task.layout.paths()


@dataclass(frozen=True, slots=True)
class _Run:
    """One run, from the moment when it holds the lock.

    `held` is left when it has released the lock and removed what it need not leave.
    """

    job: Job
    source: Store
    target: Store
    journal: Journal
    options: RunOptions
    observe: Observer
    keep: Callable[[RunRecord], object] | None
    held: ExitStack

    def go(self, executor: Executor) -> Done:
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
            self.held.enter_context(self.options.hold())
            return Done(receipts, commits.carry_out(journal, commit, self.keep))
        except Exception:
            _tidy(journal)
            raise

    def _stage(self, executor: Executor) -> tuple[Receipt, ...]:
        """Write the files under their staged names; return the receipts of all, in order."""
        tasks, observe = self.job.tasks, self.observe
        found = Resumed({})
        if self.job.staged:
            self._check_staged(Resumed(self.journal.receipts()))
        if self.options.restart or self.journal.identity() is None:
            self.journal.end()
        else:
            found = resume(
                tasks, self.source, self.target, self.journal, compare=self.job.compare_kept
            )
        self._check_staged(found)
        done = {**found.kept}
        todo = [task for task in tasks if task.filename not in done]
        self._check_space(todo)
        names = [*(task.filename for task in tasks), *self.job.checksums]
        self.journal.begin(self.job.identity, names)
        for name, path in self.job.directories.items():
            self.target.make_directory(self.journal.staged(name))
            restrict_mode(self.source, [path], self.target, self.journal.staged(name))
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

        carry_out(
            write, todo, self.source, self.target, executor, self.options.jobs, observe, accept
        )
        for path, version in self.job.sources.items():
            if self.source.version(path) != version:
                raise source_changed(path)
        return tuple(done[task.filename] for task in tasks)

    def _check_staged(self, found: Resumed) -> None:
        """Raise TargetError where a file is not finished that other processes write."""
        missing = [
            task.filename
            for task in self.job.tasks
            if task.filename in self.job.staged and task.filename not in found.kept
        ]
        if missing:
            count = len(self.job.staged)
            raise not_finished(missing, count, self.job.directory, outdated=found.outdated)

    def _check_space(self, todo: Sequence[ShardTask]) -> None:
        job = self.job
        need = sum(task.layout.nbytes for task in todo)
        if job.shared_block is not None:
            need -= sum(task.layout.shareable(job.shared_block) for task in todo)
        check_space(self.target, job.directory, need, replaces=bool(job.superseded))

    def _sync_staged(self, names: Sequence[str]) -> None:
        files = self.journal.staging.make_files()
        homes = {tuple(name.split("/")[:-1]) for name in names}
        for parts in {home[:length] for home in homes for length in range(1, len(home) + 1)}:
            files.make(parts)
        files.sync()

    def _commit_of(self, receipts: tuple[Receipt, ...]) -> Commit:
        """Look at what is replaced, and by what."""
        job, staging = self.job, self.journal.staging
        sums = stage_sums(staging, job.directory, job.checksums, receipts)
        new = [*sums, *(task.filename for task in job.tasks)]
        old = {*job.superseded, *job.checksums}
        self._sync_staged(new)
        places = staging.places()
        found = exchange.plan(places.target, places.files, new, old)
        directory = staging.target.own_identity()
        return Commit(job.identity, directory, found, receipts, job.replaced_source)


def _tidy(journal: Journal) -> None:
    """After a failure: keep finished files for the next try; where there are none, leave no trace.

    A commit that could not be undone stays: the next run finishes it.
    """
    try:
        identity = journal.identity()
        # What other processes write is for them to finish.
        if journal.has_commit() or (identity is not None and identity.shared):
            return
        kept = journal.receipts() if identity is not None else {}
        if kept:
            journal.keep(kept.keys())
        else:
            journal.end()
    except ShardctlError:
        # The failure that is being raised says more than one of cleaning up after it.
        return
