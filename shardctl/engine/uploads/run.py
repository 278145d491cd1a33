"""Carry out a job in an object store: lock, check, upload, complete all uploads, the index last.

Until the commit no file appears. From the commit on the run goes only forward, and the next run
finishes it (`engine.uploads.commit`). See `engine.uploads.journal` for what is kept in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from shardctl.engine.commit.guards import refuse_changed, refuse_foreign
from shardctl.engine.commit.sums import changed_sums
from shardctl.engine.journal.records import RunRecord
from shardctl.engine.journal.resume import is_of_sources
from shardctl.engine.run import Done, Job, RunOptions
from shardctl.engine.sources import source_changed
from shardctl.engine.task import ShardTask
from shardctl.engine.uploads import commit as commits
from shardctl.engine.uploads.commit import plan_commit
from shardctl.engine.uploads.journal import UploadJournal
from shardctl.engine.uploads.send import Sent, send
from shardctl.engine.workers.executors import Executor, Threads, carry_out
from shardctl.errors import MissingError, ShardctlError, UsageError
from shardctl.layout import LayoutBuilder
from shardctl.stores.base import Store
from shardctl.stores.optional import lock
from shardctl.stores.uploads import UploadStore, has_uploads
from shardctl.streams.progress import Observer, Ticks, no_tick


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
    senders, journal = _uploading(executor), UploadJournal(target, job.directory)
    with ExitStack() as held, lock(target, journal.lock):
        target.forget()
        return _Run(job, source, journal, options, observe, keep, held).go(senders)


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

    def go(self, senders: Callable[[int], _Senders]) -> Done:
        """Upload the files and commit them."""
        job, journal = self.job, self.journal
        refuse_foreign(job.directory, job.identity, journal, restart=self.options.restart)
        try:
            refuse_changed(journal.store, job.directory, job.surroundings)
            sent = self._upload(senders)
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

    def _upload(self, senders: Callable[[int], _Senders]) -> dict[str, Sent]:
        """Upload every file; return them by name."""
        tasks, observe, journal = self.job.tasks, self.observe, self.journal
        done: dict[str, Sent] = {}
        if self.options.restart or journal.identity() is None:
            journal.end()
        else:
            done = self._resumed()
            journal.keep(done.keys())
        names = [*(task.filename for task in tasks), *self.job.checksums]
        journal.begin(self.job.identity, names)
        sizes = {task.filename: task.layout.nbytes for task in tasks}
        observe.start(sum(sizes.values()), sizes)
        for name, each in done.items():
            observe.finished(name, each.receipt.nbytes, kept=True)

        def accept(sent: Sent) -> None:
            journal.add(sent)
            done[sent.receipt.filename] = sent
            observe.finished(sent.receipt.filename, sent.receipt.nbytes, kept=False)

        todo = [task for task in tasks if task.filename not in done]
        jobs = self.options.jobs
        carry_out(todo, self.source, journal.store, senders, jobs, observe, accept)
        for path, version in self.job.sources.items():
            if self.source.version(path) != version:
                raise source_changed(path)
        return done

    def _resumed(self) -> dict[str, Sent]:
        """Return the uploads of an interrupted run that can be completed, by file name."""
        if self.job.compare_kept:
            return {}  # what is uploaded cannot be read, and so not be compared
        found = self.journal.receipts()
        kept = {
            task.filename: found[task.filename]
            for task in self.job.tasks
            if task.filename in found and self._is_whole(task, found[task.filename])
        }
        tasks = {task.filename: task for task in self.job.tasks}
        if not all(
            is_of_sources(each.receipt, tasks[name], self.source) for name, each in kept.items()
        ):
            # The sources were written since, though their versions do not show it.
            return {}
        return kept

    def _is_whole(self, task: ShardTask, sent: Sent) -> bool:
        """Whether an upload has all the parts that were noted, and is what the task asks for."""
        receipt = sent.receipt
        if receipt.nbytes != task.layout.nbytes or (receipt.damaged and not task.accept_damage):
            return False
        if task.digest and receipt.sha256 is None:
            return False
        try:
            parts = self.journal.store.sent_parts(sent.upload)
        except MissingError:
            return False
        return parts == sent.parts and sum(part.nbytes for part in parts) == receipt.nbytes

    def _sums(self, sent: Mapping[str, Sent]) -> dict[str, Sent]:
        """Upload each `SHA256SUMS` that changes and has lines; return them by name."""
        done: dict[str, Sent] = {}
        receipts = [each.receipt for each in sent.values()]
        for name, data in changed_sums(self.job.checksums, receipts).items():
            layout = LayoutBuilder()
            layout.literal(data)
            task = ShardTask(name, self.journal.final(name), layout.build(), {})
            done[name] = send(task, self.source, self.journal.store, no_tick)
            self.journal.add(done[name])
        return done


class _Senders(ThreadPoolExecutor):
    """Threads of this process that upload files."""

    def __init__(self, jobs: int) -> None:
        super().__init__(max_workers=jobs, thread_name_prefix="shard")
        self.ticks = Ticks()

    def write(self, task: ShardTask, source: Store, target: Store) -> Future[Sent]:
        """Upload the file of a task, whole; raises TypeError for a store without uploads."""
        if not has_uploads(target):
            raise TypeError(f"{target!r} has no uploads")
        return self.submit(send, task, source, target, self.ticks.of(task.filename))


def _uploading(executor: Executor) -> Callable[[int], _Senders]:
    """Return what makes threads that upload; raises UsageError for other workers.

    What they would return is not the receipt alone, but the parts of an upload as well.
    """
    if executor is not Threads:
        raise UsageError(
            "only this machine can write into a bucket yet, and no cluster",
            hint="leave out `scheduler`",
        )
    return _Senders


def _tidy(journal: UploadJournal) -> None:
    """After a failure or a signal: abort what is not uploaded whole, and keep the rest.

    Where nothing is, no trace is left. A commit that has begun stays: the next run finishes it.
    """
    with suppress(ShardctlError):
        if journal.has_commit():
            return
        kept = journal.receipts() if journal.identity() is not None else {}
        if kept:
            journal.keep(kept.keys())
        else:
            journal.end()
