"""A run that several processes share, on any machines that see its source and its target.

Each process stages a part of the files under the one journal; `engine.run` gives all of them their
names once every one is there (`Job.staged`). Nothing of this relies on a lock that holds across
machines: a file is written in a workspace of its process (`workspaces`), moved to its staged name
when it is whole and durable, and noted in a separate receipt. Two processes that write the same
file do the work twice, and the second finds it done. The plan determines the bytes, so it makes no
difference whose file it is.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from shardctl.engine.commit.guards import refuse_changed, refuse_foreign
from shardctl.engine.commit.staging import FILES, PARTS, Staging
from shardctl.engine.journal.journal import LOCK, Journal, RunIdentity
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.journal.resume import still_holds
from shardctl.engine.run import Job, RunOptions
from shardctl.engine.shared.share import PartDone, ended
from shardctl.engine.shared.workspaces import RECEIPT, Workspace, remove_abandoned, workspace
from shardctl.engine.space import check_space
from shardctl.engine.task import ShardTask, write
from shardctl.engine.workers.executors import Executor, carry_out
from shardctl.errors import LockedError, ShardctlError, StorageError, TargetExistsError
from shardctl.stores.atomic import make_durably
from shardctl.stores.base import Store
from shardctl.stores.optional import lock, remove_directory, restrict_mode
from shardctl.streams.progress import Observer

#: Seconds for which a part waits for the lock of another that begins the run, for the receipt of
#: another that has moved the same file, and between two looks.
_LOCK_SECONDS, _RECEIPT_SECONDS, _LOOK_SECONDS = 10.0, 10.0, 0.05
#: How often a part that begins may meet another one in its first steps.
_MOST_MET = 20


def write_part(
    job: Job,
    mine: Collection[str],
    source: Store,
    target: Store,
    options: RunOptions,
    executor: Executor,
    observe: Observer,
) -> PartDone:
    """Stage the files `mine` of a job; the others in `job.staged` are those of other processes.

    With `options.restart` an unfinished run of another plan is discarded, never one of this.
    Raises LockedError, TargetExistsError (an unfinished run of another plan, or this one was
    discarded or finished meanwhile), StorageError, SourceChangedError or FormatError; what was
    finished by then is kept.
    """
    begin(job, source, target, restart=options.restart)
    names = [task.filename for task in job.tasks if task.filename in job.staged]
    staging = Staging.find(target, job.directory)
    if staging is None:
        raise ended(job.directory)
    with staging:
        try:
            with workspace(staging, names) as room:
                part = _Part(job, source, target, Journal(staging), room)
                remove_abandoned(staging, names)
                return part.write(mine, options, executor, observe)
        except StorageError as error:
            if Journal(staging).identity() != job.identity:
                raise ended(job.directory) from error
            raise
        finally:
            staging.remove_empty(PARTS)
            # Where the run was discarded meanwhile, nothing is left in it.
            staging.remove()


def begin(job: Job, source: Store, target: Store, *, restart: bool) -> None:
    """Note the run in the journal, unless another of its processes did. Raises as `write_part`.

    Several may begin at once: the one that gets the lock does it, and the others wait.
    """
    deadline = time.monotonic() + _LOCK_SECONDS
    met = 0
    homes = {source.split(path)[0] for task in job.tasks for path in task.layout.paths()}
    while True:
        made = make_durably(target, job.directory)
        try:
            if made:
                restrict_mode(source, homes, target, job.directory)
            with Staging.make(target, job.directory) as staging:
                try:
                    _note(job, target, Journal(staging), restart=restart)
                    return
                finally:
                    staging.remove()  # unless something is noted in it
        except ShardctlError as error:
            # Until the run is noted, another process may find the directory empty, and remove it;
            # where locks do not keep the two apart, it may note the run at the same moment.
            meets = isinstance(error.__cause__, FileNotFoundError | FileExistsError)
            met += meets
            waits = time.monotonic() < deadline if isinstance(error, LockedError) else meets
            if not waits or met == _MOST_MET:
                with suppress(ShardctlError):
                    for directory in made:
                        remove_directory(target, directory)
                raise
        time.sleep(_LOOK_SECONDS)


def _note(job: Job, target: Store, journal: Journal, *, restart: bool) -> None:
    """Note the run, where it is not noted yet."""
    if journal.identity() == job.identity and not journal.has_commit():
        refuse_changed(target, job.directory, job.surroundings)
        return
    with lock(target, journal.path(LOCK)):
        refuse_foreign(job.directory, job.identity, journal, restart=restart)
        # Another run may have ended here since the plan was made.
        refuse_changed(target, job.directory, job.surroundings)
        if journal.identity() != job.identity:
            journal.end()
            journal.begin(job.identity, sorted(job.staged))


@dataclass(frozen=True, slots=True)
class _Part:
    """One process's part of a run, at work."""

    job: Job
    source: Store
    target: Store
    journal: Journal
    room: Workspace

    def write(
        self,
        mine: Collection[str],
        options: RunOptions,
        executor: Executor,
        observe: Observer,
    ) -> PartDone:
        """Write what of the files `mine` is missing."""
        tasks = [task for task in self.job.tasks if task.filename in mine]
        kept = self._kept(tasks)
        todo = [task for task in tasks if task.filename not in kept]
        need = sum(task.layout.nbytes for task in todo)
        if self.job.shared_block is not None:
            need -= sum(task.layout.shareable(self.job.shared_block) for task in todo)
        check_space(self.target, self.job.directory, need, replaces=bool(self.job.superseded))
        observe.start(
            sum(task.layout.nbytes for task in tasks),
            {task.filename: task.layout.nbytes for task in tasks},
        )
        for receipt in kept.values():
            observe.finished(receipt.filename, receipt.nbytes, kept=True)
        written: dict[str, Receipt] = {}
        read = {task.filename: task.layout.paths() for task in todo}

        def accept(receipt: Receipt) -> None:
            name = receipt.filename
            restrict_mode(self.source, read[name], self.target, self.room.path(name))
            self._publish(receipt)
            written[name] = receipt
            observe.finished(name, receipt.nbytes, kept=False)

        own = [replace(task, staged=self.room.path(task.filename)) for task in todo]
        carry_out(write, own, self.source, self.target, executor, options.jobs, observe, accept)
        done = self.journal.receipts()
        return PartDone(
            tuple(written[task.filename] for task in todo),
            tuple(kept.values()),
            tuple(
                task.filename
                for task in self.job.tasks
                if task.filename in self.job.staged and task.filename not in done
            ),
        )

    def _kept(self, tasks: Sequence[ShardTask]) -> dict[str, Receipt]:
        """Return the receipts of files that are done; forget those that do not hold any more."""
        receipts = self.journal.receipts()
        kept: dict[str, Receipt] = {}
        for task in tasks:
            receipt = receipts.get(task.filename)
            if receipt is None:
                continue
            if still_holds(receipt, task, self.source, self.target):
                kept[task.filename] = receipt
            else:
                self.journal.forget(task.filename)
        return kept

    def _publish(self, receipt: Receipt) -> None:
        """Give a finished file its staged name, and note it.

        Where another process was first, its file stays. One without a receipt will have it in a
        moment, unless its process ended in between: then it is replaced.
        """
        name, staging = receipt.filename, self.journal.staging
        deadline = time.monotonic() + _RECEIPT_SECONDS
        moved = False
        while name not in self.journal.receipts():
            if self.journal.identity() != self.job.identity or self.journal.has_commit():
                raise ended(self.job.directory)
            if not moved:
                with staging.own.make_subdirectory(FILES) as files:
                    if time.monotonic() > deadline:
                        files.remove(name)
                    try:
                        self.room.directory.move(name, files, name)
                    except TargetExistsError:
                        time.sleep(_LOOK_SECONDS)
                        continue
                    moved = True
                    files.sync()
            if not self.journal.publish(receipt, self.room.path(RECEIPT)):
                # Another process took it for left over, and puts its own there.
                if time.monotonic() > deadline:
                    raise ended(self.job.directory)
                time.sleep(_LOOK_SECONDS)


def shared_run(target: Store, directory: str) -> RunIdentity | None:
    """Return the shared run that is unfinished in a target directory; None where there is none."""
    staging = Staging.find(target, directory)
    if staging is None:
        return None
    with staging:
        identity = Journal(staging).identity()
    return identity if identity is not None and identity.shared else None
