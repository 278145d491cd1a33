"""Carry out a job: lock, check, stage, copy, commit, the index last.

Until the commit nothing has a final name. From the commit on the run goes only forward, and whoever comes next
finishes it (`commit`). See `journal` for what is on disk in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event
from typing import Protocol

from shardctl.checksums import CHECKSUMS, format_checksums
from shardctl.engine import journal as journals
from shardctl.engine.commit import finish, leave_nothing
from shardctl.engine.journal import Commit, Header, Journal, put
from shardctl.engine.task import CancelledError, Receipt, ShardTask, Tick, digest, source_changed, write
from shardctl.errors import ShardctlError, Stopped, StorageError, TargetExistsError
from shardctl.model import Version
from shardctl.sizes import format_size
from shardctl.stores.base import Store

#: Seconds between looks at progress, and so the time within which a signal is noticed at the latest.
TICK_SECONDS = 0.1
#: Room to leave beside the files themselves, in bytes: journal and folder entries.
SLACK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Job:
    """All that a run needs to know. `tasks` in order, the file that makes the set visible last.

    `sources` gives the versions of the files that are read, by path. `superseded` are names in the target folder
    that give way once the new set is durable. `checksums` are the lines of `SHA256SUMS` that stay beside those of the
    files that tasks took digests of; None leaves that file alone.
    """

    header: Header
    folder: str
    staging: str
    tasks: tuple[ShardTask, ...]
    sources: Mapping[str, Version]
    superseded: tuple[str, ...] = ()
    checksums: Mapping[str, str] | None = None


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
    job: Job, store: Store, options: RunOptions, executor: Callable[[int], Executor], observe: Observer
) -> tuple[Receipt, ...]:
    """Write the files of a job and put them in place; returns their receipts, in the order of the tasks.

    Raises LockedError, TargetExistsError (a half-done run of another plan), StorageError, SourceChangedError or
    FormatError; then no final name has changed, unless the commit had begun, which the next run finishes.
    """
    made = store.kind(job.folder) is None
    _refuse_links(job, store)
    store.make_folder(job.staging)
    with store.lock(store.join(job.staging, journals.LOCK)):
        journal = Journal(store, job.staging)
        _refuse_foreign(job, options, journal)
        try:
            receipts = _stage(job, store, options, executor, observe, journal)
        except Exception:
            _tidy(journal, store, job, made=made)
            raise
        observe.committing()
        commit = _commit_of(job, receipts, store, record=options.record)
        journal.begin_commit(commit)
        finish(store, job.folder, journal, commit)
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
    old = tuple(name for name in job.superseded if store.kind(store.join(job.folder, name)) is not None)
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


def _refuse_links(job: Job, store: Store) -> None:
    """Raise TargetExistsError where a folder of the run's own is a link: files would be swept wherever it leads."""
    for folder, own in ((job.folder, job.staging), (job.staging, Journal(store, job.staging).files)):
        name = store.split(own)[1]
        if store.kind(folder) == "folder" and any(e.name == name and e.kind == "link" for e in store.list(folder)):
            raise TargetExistsError(
                f"'{own}' is a link, and the run's own files must lie beside the target",
                hint="remove the link",
                file=own,
            )


def _refuse_foreign(job: Job, options: RunOptions, journal: Journal) -> None:
    """Raise TargetExistsError where the journal is another run's. Nothing of it is touched then."""
    if journal.commit() is not None:
        raise TargetExistsError(
            f"'{job.folder}' holds files that another run was putting in place when it was cut short",
            hint="run the same command again: that is finished first",
            code="half-done",
            file=job.staging,
        )
    earlier = None if options.restart else journal.header()
    if earlier is not None and earlier != job.header:
        differs = "; ".join(earlier.differences(job.header))
        raise TargetExistsError(
            f"'{job.folder}' holds a half-done run of another plan: {differs}",
            hint="run the earlier command again to finish it, or this one with --restart to throw it away",
            code="half-done",
            file=job.staging,
        )


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
    _check_space(job, store, sum(task.layout.nbytes for task in todo))
    journal.begin(job.header)
    observe.start(
        sum(task.layout.nbytes for task in job.tasks), {task.filename: task.layout.nbytes for task in job.tasks}
    )
    for receipt in kept.values():
        observe.finished(receipt, kept=True)
    done = dict(kept)

    def accept(receipt: Receipt) -> None:
        journal.add(receipt)
        done[receipt.filename] = receipt
        observe.finished(receipt, kept=False)

    _run(todo, store, executor(options.jobs), observe, accept)
    for path, version in job.sources.items():
        if store.version(path) != version:
            raise source_changed(path)
    for folder in (journal.files, job.staging):
        store.sync_folder(folder)
    return tuple(done[task.filename] for task in job.tasks)


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


def _check_space(job: Job, store: Store, nbytes: int) -> None:
    free = store.free_bytes(job.folder)
    need = nbytes + SLACK_BYTES
    if free is not None and free < need:
        old = " (the superseded files are removed only after the new ones are safe)" if job.superseded else ""
        raise StorageError(
            f"'{job.folder}' has {format_size(free)} free, and {format_size(need)} are needed{old}",
            hint=f"free {format_size(need - free)} there, or choose a target on another filesystem",
            code="disk-full",
            file=job.folder,
        )


@contextmanager
def _shut_down(executor: Executor, stop: Event) -> Iterator[None]:
    # A stopped run does not wait for a sync that may take long: its process ends, and the journal is in order.
    wait_for_tasks = True
    try:
        yield
    except Stopped:
        wait_for_tasks = False
        raise
    finally:
        stop.set()
        executor.shutdown(wait=wait_for_tasks, cancel_futures=True)


def _run(
    tasks: list[ShardTask], store: Store, executor: Executor, observe: Observer, accept: Callable[[Receipt], None]
) -> None:
    events: SimpleQueue[tuple[str, int]] = SimpleQueue()
    stop = Event()
    with _shut_down(executor, stop):
        pending: set[Future[Receipt]] = {
            executor.submit(write, task, store, _ticker(task.filename, events, stop)) for task in tasks
        }
        while pending:
            finished, pending = wait(pending, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
            _tell(events, observe)
            # What is finished is noted before a failure of the same moment ends the run.
            for future in sorted(finished, key=lambda future: future.exception() is not None):
                accept(future.result())


def _ticker(filename: str, events: SimpleQueue[tuple[str, int]], stop: Event) -> Tick:
    def tick(nbytes: int) -> None:
        if stop.is_set():
            raise CancelledError
        events.put((filename, nbytes))

    return tick


def _tell(events: SimpleQueue[tuple[str, int]], observe: Observer) -> None:
    advanced: dict[str, int] = {}
    try:
        while True:
            filename, nbytes = events.get_nowait()
            advanced[filename] = advanced.get(filename, 0) + nbytes
    except Empty:
        pass
    for filename, nbytes in advanced.items():
        observe.advance(filename, nbytes)


def _tidy(journal: Journal, store: Store, job: Job, *, made: bool) -> None:
    """After a failure: keep finished files for the next try; where there are none, leave no trace."""
    try:
        kept = journal.receipts() if journal.header() is not None else {}
        if kept:
            journal.sweep(keep=tuple(kept))
            return
        journal.discard()
        if journal.record() is not None:
            return
        store.remove(journal.path(journals.LOCK))
        store.remove_folder(job.staging)
        if made:
            store.remove_folder(job.folder)
    except ShardctlError:
        # The failure that is under way says more than one of cleaning up after it.
        return
