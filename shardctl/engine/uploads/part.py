"""A part of a run into an object store, which several processes share: `engine.shared.run` there.

Each process uploads its files and notes them, and `engine.uploads.run` completes all uploads once
every file of `Job.staged` is noted. Two that write the same file have an upload each; the one that
notes it first keeps its own, and the other is aborted. What a process that was killed had begun is
aborted when the run ends.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from shardctl.engine.commit.guards import refuse_changed, refuse_foreign
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.run import Job, RunOptions
from shardctl.engine.shared.share import PartDone, ended
from shardctl.engine.task import ShardTask
from shardctl.engine.uploads.journal import UploadJournal
from shardctl.engine.uploads.resume import resume
from shardctl.engine.uploads.send import Sent, send
from shardctl.engine.workers.executors import Executor, carry_out
from shardctl.errors import LockedError, ShardctlError
from shardctl.stores.base import Store
from shardctl.stores.optional import lock
from shardctl.stores.uploads import UploadStore
from shardctl.streams.progress import Observer

#: Seconds for which a part waits for the lock of another that begins the run, and between two
#: looks.
_LOCK_SECONDS, _LOOK_SECONDS = 10.0, 0.25
#: How often a part tries to note a file where another run has left a receipt of that name.
_TRIES = 5


def write_part(
    job: Job,
    mine: Collection[str],
    source: Store,
    target: UploadStore,
    options: RunOptions,
    executor: Executor,
    observe: Observer,
) -> PartDone:
    """Upload the files `mine` of a job; as `engine.shared.run.write_part`, and it raises the same.

    What was uploaded whole by then is kept.
    """
    journal = UploadJournal(target, job.directory)
    _begin(job, journal, restart=options.restart)
    part = _Part(job, source, journal)
    try:
        return part.write(mine, options, executor, observe)
    except ShardctlError as error:
        if not part.is_wanted():
            raise ended(job.directory) from error
        raise


def _begin(job: Job, journal: UploadJournal, *, restart: bool) -> None:
    """Note the run, unless another of its processes did.

    Several may begin at once: the one that gets the lock does it, and the others wait.
    """
    deadline = time.monotonic() + _LOCK_SECONDS
    store = journal.store
    while True:
        store.forget()
        if journal.identity() == job.identity and not journal.has_commit():
            refuse_changed(store, job.directory, job.surroundings)
            return
        try:
            with lock(store, journal.lock):
                store.forget()
                refuse_foreign(job.directory, job.identity, journal, restart=restart)
                refuse_changed(store, job.directory, job.surroundings)
                if journal.identity() != job.identity:
                    journal.end()
                    journal.begin(job.identity, sorted(job.staged))
                return
        except LockedError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_SECONDS)


@dataclass(frozen=True, slots=True)
class _Part:
    """One process's part of a run, at work."""

    job: Job
    source: Store
    journal: UploadJournal

    def is_wanted(self) -> bool:
        """Whether the run is still to be finished by its parts."""
        self.journal.store.forget()
        return self.journal.identity() == self.job.identity and not self.journal.has_commit()

    def write(
        self, mine: Collection[str], options: RunOptions, executor: Executor, observe: Observer
    ) -> PartDone:
        """Upload what of the files `mine` is missing."""
        job, journal = self.job, self.journal
        tasks = [task for task in job.tasks if task.filename in mine]
        kept = self._kept(tasks)
        sizes = {task.filename: task.layout.nbytes for task in tasks}
        observe.start(sum(sizes.values()), sizes)
        for name, sent in kept.items():
            observe.finished(name, sent.receipt.nbytes, kept=True)
        written: dict[str, Receipt] = {}

        def accept(sent: Sent) -> None:
            receipt = sent.receipt
            if self._publish(sent):
                written[receipt.filename] = receipt
            observe.finished(receipt.filename, receipt.nbytes, kept=False)

        todo = [task for task in tasks if task.filename not in kept]
        carry_out(send, todo, self.source, journal.store, executor, options.jobs, observe, accept)
        journal.store.forget()
        is_noted = journal.is_noted()
        return PartDone(
            tuple(written[task.filename] for task in todo if task.filename in written),
            tuple(sent.receipt for sent in kept.values()),
            tuple(
                task.filename
                for task in job.tasks
                if task.filename in job.staged and not is_noted(task.filename)
            ),
        )

    def _kept(self, tasks: Collection[ShardTask]) -> dict[str, Sent]:
        """Return the uploads that are whole; forget, and abort, those that do not hold any more."""
        journal, run = self.journal, self.job.identity
        is_noted = journal.is_noted()
        kept: dict[str, Sent] = {}
        for task in tasks:
            sent = journal.receipt(task.filename, run) if is_noted(task.filename) else None
            if sent is None:
                continue
            if resume([task], {task.filename: sent}, self.source, journal.store).kept:
                kept[task.filename] = sent
            else:
                journal.forget(sent, run)
                journal.store.abort_upload(sent.upload)
        return kept

    def _publish(self, sent: Sent) -> bool:
        """Note a file that is uploaded; false where another process was first.

        An upload that is not noted is aborted.
        """
        journal, run = self.journal, self.job.identity
        noted = False
        try:
            for _ in range(_TRIES):
                if not self.is_wanted():
                    break
                noted = journal.publish(sent, run)
                if noted or journal.receipt(sent.receipt.filename, run) is not None:
                    return noted
                journal.discard(sent.receipt.filename)
            raise ended(self.job.directory)
        finally:
            if not noted:
                with suppress(ShardctlError):
                    journal.store.abort_upload(sent.upload)
