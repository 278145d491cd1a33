"""Carry out a job in an object store: lock, check, upload, complete all uploads, the index last.

Until the commit no file appears. From the commit on the run goes only forward, and the next run
finishes it (`engine.uploads.commit`). See `engine.uploads.journal` for what is kept in between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from shardctl.engine.commit.guards import not_finished, refuse_changed, refuse_foreign
from shardctl.engine.commit.sums import changed_sums
from shardctl.engine.journal.records import RunRecord
from shardctl.engine.run import Done, Job, RunOptions
from shardctl.engine.sources import source_changed
from shardctl.engine.task import ShardTask
from shardctl.engine.uploads import commit as commits
from shardctl.engine.uploads.commit import plan_commit
from shardctl.engine.uploads.journal import UploadJournal
from shardctl.engine.uploads.resume import Resumed, resume
from shardctl.engine.uploads.send import Sent, send
from shardctl.engine.workers.executors import Executor, carry_out
from shardctl.errors import ShardctlError
from shardctl.layout import LayoutBuilder
from shardctl.stores.base import Store
from shardctl.stores.optional import lock
from shardctl.stores.uploads import UploadStore
from shardctl.streams.progress import Observer, no_tick


def execute(
    job: Job,
    source: Store,
    target: UploadStore,
    options: RunOptions,
    executor: Executor,
    observe: Observer,
    keep: Callable[[RunRecord], object] | None = None,
) -> Done:
    """Upload the files of a job and let them appear.

    `executor` makes workers for so many files at once. Raises LockedError, TargetExistsError (an
    unfinished run of another plan, a target that changed), StorageError, SourceChangedError or
    FormatError; then no file has appeared or gone, unless the commit had begun, which the next run
    finishes.
    """
    journal = UploadJournal(target, job.directory)
    with ExitStack() as held, lock(target, journal.lock):
        target.forget()
        return _Run(job, source, journal, options, observe, keep, held).go(executor)


@dataclass(frozen=True, slots=True)
class _Run:
    """One run, from the moment when it holds the lock.

    `held` is left when it has released the lock.
    """

    job: Job
    source: Store
    journal: UploadJournal
    options: RunOptions
    observe: Observer
    keep: Callable[[RunRecord], object] | None
    held: ExitStack

    def go(self, executor: Executor) -> Done:
        """Upload the files and commit them."""
        job, journal = self.job, self.journal
        refuse_foreign(job.directory, job.identity, journal, restart=self.options.restart)
        try:
            refuse_changed(journal.store, job.directory, job.surroundings)
            sent = self._upload(executor)
            sums = self._sums(sent)
            new = [*sums, *(task.filename for task in job.tasks)]
            removed = {*job.superseded, *job.checksums}
            sent |= sums
            commit = plan_commit(job.identity, journal, new, removed, job.replaced_source)
            # After the files were looked at: what changes from here on is not what was seen.
            refuse_changed(journal.store, job.directory, job.surroundings)
            self.observe.committing()
            self.held.enter_context(self.options.hold())
            record = commits.carry_out(journal, commit, sent, self.keep)
            return Done(tuple(sent[task.filename].receipt for task in job.tasks), record)
        except BaseException:
            _tidy(journal)
            raise

    def _upload(self, executor: Executor) -> dict[str, Sent]:
        """Upload every file; return them by name."""
        tasks, observe, journal = self.job.tasks, self.observe, self.journal
        done = dict(self._resumed().kept)
        names = [*(task.filename for task in tasks), *self.job.checksums]
        journal.begin(self.job.identity, names)
        sizes = {task.filename: task.layout.nbytes for task in tasks}
        observe.start(sum(sizes.values()), sizes)
        for name, each in done.items():
            observe.finished(name, each.receipt.nbytes, kept=True)

        def accept(sent: Sent) -> None:
            journal.add(sent, self.job.identity)
            done[sent.receipt.filename] = sent
            observe.finished(sent.receipt.filename, sent.receipt.nbytes, kept=False)

        todo = [task for task in tasks if task.filename not in done]
        jobs = self.options.jobs
        carry_out(send, todo, self.source, journal.store, executor, jobs, observe, accept)
        for path, version in self.job.sources.items():
            if self.source.version(path) != version:
                raise source_changed(path)
        return done

    def _resumed(self) -> Resumed:
        """Return the uploads of an interrupted run, or of its parts, and discard everything else.

        Raises TargetError where a file is not uploaded that other processes write.
        """
        job, journal = self.job, self.journal
        if job.staged:
            is_noted = journal.is_noted()
            self._refuse_missing([name for name in job.staged if not is_noted(name)])
        found = Resumed({})
        if self.options.restart or journal.identity() is None:
            journal.end()
        elif job.compare_kept:
            journal.keep(())  # what is uploaded cannot be read, and so not be compared
        else:
            found = resume(job.tasks, journal.receipts(), self.source, journal.store)
            if not job.staged or found.outdated:
                # What parts of a shared run may still be sending is aborted when the run ends.
                journal.keep(found.kept.keys())
        self._refuse_missing(job.staged - found.kept.keys(), outdated=found.outdated)
        return found

    def _refuse_missing(self, names: Collection[str], *, outdated: bool = False) -> None:
        if names:
            count = len(self.job.staged)
            raise not_finished(sorted(names), count, self.job.directory, outdated=outdated)

    def _sums(self, sent: Mapping[str, Sent]) -> dict[str, Sent]:
        """Upload each `SHA256SUMS` that changes and has lines; return them by name."""
        done: dict[str, Sent] = {}
        receipts = [each.receipt for each in sent.values()]
        for name, data in changed_sums(self.job.checksums, receipts).items():
            layout = LayoutBuilder()
            layout.literal(data)
            task = ShardTask(name, self.journal.final(name), layout.build(), {})
            done[name] = send(task, self.source, self.journal.store, no_tick)
            self.journal.add(done[name], self.job.identity)
        return done


def _tidy(journal: UploadJournal) -> None:
    """After a failure or a signal: abort what is not uploaded whole, and keep the rest.

    Where nothing is, no trace is left. A commit that has begun stays: the next run finishes it.
    """
    with suppress(ShardctlError):
        identity = journal.identity()
        # What other processes write is for them to finish.
        if journal.has_commit() or (identity is not None and identity.shared):
            return
        kept = journal.receipts() if identity is not None else {}
        if kept:
            journal.keep(kept.keys())
        else:
            journal.end()
