"""A part of a run into an object store, which several processes share: `engine.shared.run` there.

Each process uploads its files and notes them, and `engine.uploads.run` completes all uploads once
every file of `Job.staged` is noted. Two that write the same file have an upload each; the one that
notes it first keeps its own, and the other is aborted. What a process that was killed had begun is
aborted when the run ends.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from shardctl.engine.commit.guards import refuse_changed, refuse_foreign
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.run import Job, RunOptions
from shardctl.engine.shared.share import PartDone, ended
from shardctl.engine.task import ShardTask
from shardctl.engine.uploads.journal import UploadJournal
from shardctl.engine.uploads.resume import holds
from shardctl.engine.uploads.send import Sent, send
from shardctl.engine.workers.executors import Executor, carry_out
from shardctl.errors import LockedError, ShardctlError
from shardctl.stores.base import Store
from shardctl.stores.optional import at_once, lock
from shardctl.stores.uploads import Upload, UploadStore
from shardctl.streams.pool import in_order
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
    while not journal.awaits(job.identity):
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
    refuse_changed(store, job.directory, job.surroundings)


@contextmanager
def _held(journal: UploadJournal) -> Iterator[None]:
    """Hold the lock of the target, after a wait for another process if need be."""
    deadline = time.monotonic() + _LOCK_SECONDS
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(lock(journal.store, journal.lock))
                break
            except LockedError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_LOOK_SECONDS)
        journal.store.forget()
        yield


@dataclass(frozen=True, slots=True)
class _Part:
    """One process's part of a run, at work.

    `begun` are the uploads that this process began, in the order of that, and `offered` are the ids
    of those that a commit may take.
    """

    job: Job
    source: Store
    journal: UploadJournal
    begun: list[Upload] = field(default_factory=list)
    offered: set[str] = field(default_factory=set)

    def is_wanted(self) -> bool:
        """Whether the run is still to be finished by its parts."""
        return self.journal.awaits(self.job.identity)

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
        upload = partial(send, begun=self.begun.append)
        try:
            carry_out(
                upload, todo, self.source, journal.store, executor, options.jobs, observe, accept
            )
        except BaseException:
            # Nothing waits for what a signal has stopped, and a failure of one file ends the part
            # while others are whole.
            self._abort([each for each in self.begun if each.id not in self.offered])
            raise
        return PartDone(
            tuple(written[task.filename] for task in todo if task.filename in written),
            tuple(sent.receipt for sent in kept.values()),
            self._missing(),
        )

    def _missing(self) -> tuple[str, ...]:
        """Return the names of the files that no process has noted."""
        self.journal.store.forget()
        is_noted, job = self.journal.is_noted(), self.job
        names = (task.filename for task in job.tasks if task.filename in job.staged)
        missing = tuple(name for name in names if not is_noted(name))
        # A run that was finished meanwhile has no receipts any more.
        if missing and not self.is_wanted():
            raise ended(job.directory)
        return missing

    def _kept(self, tasks: Collection[ShardTask]) -> dict[str, Sent]:
        """Return the uploads that are whole; forget, and abort, those that do not hold any more."""
        is_noted = self.journal.is_noted()
        noted = [task for task in tasks if is_noted(task.filename)]
        kept = self._holding(noted)
        others = [task for task in noted if task.filename not in kept]
        if others:
            # Not while a commit is at work: it completes uploads, and needs their receipts until
            # all are.
            with _held(self.journal):
                if not self.is_wanted():
                    raise ended(self.job.directory)
                kept |= self._holding(others)
                self._drop([task.filename for task in others if task.filename not in kept])
        return kept

    def _holding(self, tasks: Collection[ShardTask]) -> dict[str, Sent]:
        """Return which of the files are uploaded whole, and noted as such."""
        journal = self.journal

        def look(task: ShardTask) -> Sent | None:
            sent = journal.receipt(task.filename, self.job.identity)
            if sent is None or not holds(task, sent, self.source, journal.store):
                return None
            return sent

        found = in_order(at_once(journal.store), look, tasks)
        return {sent.receipt.filename: sent for sent in found if sent is not None}

    def _drop(self, names: Collection[str]) -> None:
        """Forget, and abort, uploads of the run."""
        journal, run = self.journal, self.job.identity
        for name in names:
            sent = journal.receipt(name, run)
            journal.forget(name, run, sent)
            if sent is not None:
                journal.store.abort_upload(sent.upload)

    def _publish(self, sent: Sent) -> bool:
        """Note a file that is uploaded; false where another process was first.

        An upload that is not noted is aborted.
        """
        journal, run, name = self.journal, self.job.identity, sent.receipt.filename
        for _ in range(_TRIES):
            if not self.is_wanted():
                break
            # A server that knows no condition would replace what a commit may have taken by now.
            if journal.receipt(name, run) is None:
                # From here on, also where the answer does not arrive.
                self.offered.add(sent.upload.id)
                if journal.publish(sent, run):
                    if not self._is_over():
                        return True
                    journal.forget(name, run, sent)
                    break
            if journal.receipt(name, run) is not None:
                self._abort([sent.upload])
                return False
            journal.forget(name, run, None)
        self._abort([sent.upload])
        raise ended(self.job.directory)

    def _is_over(self) -> bool:
        """Whether the run has ended, so that no commit takes a receipt of it any more.

        A commit that is at work takes it.
        """
        journal = self.journal
        journal.store.forget()
        if journal.identity() == self.job.identity:
            return False
        journal.store.forget()
        return not journal.has_commit()

    def _abort(self, uploads: Collection[Upload]) -> None:
        for upload in uploads:
            with suppress(ShardctlError):
                self.journal.store.abort_upload(upload)
