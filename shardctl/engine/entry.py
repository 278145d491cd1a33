"""What the commands ask of the engine, whichever way files get their names in the target.

In most stores they are staged, and renamed; in one with `Uploads` they are uploaded, and completed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from shardctl.engine import run
from shardctl.engine.commit import commit
from shardctl.engine.commit.guards import refuse_foreign
from shardctl.engine.commit.staging import FILES, Staging
from shardctl.engine.journal.journal import LOCK, Commit, Journal, RunIdentity
from shardctl.engine.journal.records import RunRecord
from shardctl.engine.run import Done, Job, RunOptions
from shardctl.engine.shared import run as shared
from shardctl.engine.shared.share import PartDone
from shardctl.engine.uploads import commit as upload_commit
from shardctl.engine.uploads import part as upload_part
from shardctl.engine.uploads import run as upload_run
from shardctl.engine.uploads.documents import UploadCommit
from shardctl.engine.uploads.journal import UploadJournal
from shardctl.engine.workers.executors import Executor
from shardctl.naming import STAGING
from shardctl.stores.base import Store
from shardctl.stores.optional import lock
from shardctl.stores.uploads import has_uploads
from shardctl.streams.progress import Observer


@dataclass(frozen=True, slots=True)
class Recovered:
    """A replacement that was interrupted, and is complete now.

    `identity` is that of its run, `replaced_source` are the names that the run had read and
    replaced; `loads_from` is the one that makes the new set visible.
    """

    identity: RunIdentity
    replaced_source: tuple[str, ...]
    loads_from: str


def staged_in(target: Store, directory: str) -> str:
    """Return the directory in which the files of a run into `directory` are written.

    Uploads are of the files themselves.
    """
    return directory if has_uploads(target) else target.join(directory, STAGING, FILES)


def execute(
    job: Job,
    source: Store,
    target: Store,
    options: RunOptions,
    executor: Executor,
    observe: Observer,
    keep: Callable[[RunRecord], object] | None = None,
) -> Done:
    """Carry out a job, as `engine.run.execute` or `engine.uploads.run.execute` does."""
    if has_uploads(target):
        return upload_run.execute(job, source, target, options, executor, observe, keep)
    return run.execute(job, source, target, options, executor, observe, keep)


def write_part(
    job: Job,
    mine: Collection[str],
    source: Store,
    target: Store,
    options: RunOptions,
    executor: Executor,
    observe: Observer,
) -> PartDone:
    """Write the files `mine` of a shared job, as `engine.shared.run.write_part` does."""
    if has_uploads(target):
        return upload_part.write_part(job, mine, source, target, options, executor, observe)
    return shared.write_part(job, mine, source, target, options, executor, observe)


def shared_run(target: Store, directory: str) -> RunIdentity | None:
    """Return the shared run that is unfinished in a target directory; None where there is none."""
    if has_uploads(target):
        identity = UploadJournal(target, directory).identity()
        return identity if identity is not None and identity.shared else None
    return shared.shared_run(target, directory)


def refuse_other_run(
    target: Store, directory: str, identity: RunIdentity, *, restart: bool
) -> None:
    """Raise as `execute` does where another run is at work in a directory, or was not finished.

    With `restart` an unfinished one may be discarded.
    """
    if has_uploads(target):
        journal = UploadJournal(target, directory)
        if journal.exists():
            with lock(target, journal.lock):
                refuse_foreign(directory, identity, journal, restart=restart)
        return
    staging = Staging.find(target, directory)
    if staging is None:
        return
    with staging:
        staged = Journal(staging)
        with lock(target, staged.path(LOCK)):
            refuse_foreign(directory, identity, staged, restart=restart)


def recover(
    target: Store, directory: str, keep: Callable[[RunRecord], object] | None = None
) -> Recovered | None:
    """Finish a commit that was interrupted in a target directory; None where there is none.

    `keep` is given the record while the commit can still be repeated. Raises as
    `engine.commit.commit.recover` and `engine.uploads.commit.recover` do.
    """
    if has_uploads(target):
        found: UploadCommit | Commit | None = upload_commit.recover(target, directory, keep)
    else:
        done = commit.recover(target, directory, keep)
        found = None if done is None else done[0]
    if found is None:
        return None
    return Recovered(found.identity, found.replaced_source, found.loads_from)
