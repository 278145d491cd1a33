"""Give the staged files their names, and finish what an interrupted run had begun to rename.

A commit is written down before the first rename. From there on it only goes forward, and the next
run into the same directory finishes it. Where another program is found to have changed one of its
files, the run that began it undoes what it did; a later run leaves everything where it is,
unless a new file is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace

from shardctl.engine.commit import exchange
from shardctl.engine.commit.staging import OLD, Staging
from shardctl.engine.journal.interrupted import COMPLETES, is_foreign
from shardctl.engine.journal.journal import COMMIT, COMMITTING, LOCK, PLAN, Commit, Journal
from shardctl.engine.journal.records import RunRecord
from shardctl.errors import ShardctlError, TargetExistsError
from shardctl.stores.base import Store
from shardctl.stores.optional import can_lock, lease, lock
from shardctl.stores.paths import below


def recover(
    target: Store, directory: str, keep: Callable[[RunRecord], object] | None = None
) -> tuple[Commit, RunRecord] | None:
    """Finish a commit that was interrupted in a target directory; None where there is none.

    Where one of its new files is lost, the old ones get their names back, and there is none then.
    `keep` is given the record while the commit can still be repeated.

    Raises LockedError, TargetExistsError where a file of it was changed since, or where it came
    with a copied directory, and StorageError.
    """
    staging = Staging.find(target, directory)
    if staging is None:
        return None
    with staging:
        journal = Journal(staging)
        if not journal.has_commit():
            _remove_leftovers(journal)
            return None
        with alone(staging, shared=_is_shared(journal)):
            commit = journal.commit()
            if commit is None:
                return None
            refuse_foreign_commit(staging, commit)
            try:
                exchange.carry_out(commit.exchange, staging.places(), undone=commit.undone)
            except ShardctlError as error:
                # Without one of the new files it can only go back.
                if error.code == "half-done" and _undo(journal, commit, staging.places()):
                    return None
                _say_half_replaced(error, directory)
                raise
            record = complete(journal, commit, keep)
            staging.remove_empty_directories()
        staging.remove()
    return commit, record


@contextmanager
def alone(staging: Staging, *, shared: bool) -> Iterator[None]:
    """Hold the lock of a directory; for a `shared` run one that keeps out other machines."""
    store = staging.store
    with (
        lock(store, staging.path(LOCK)),
        lease(store, staging.path(COMMITTING)) if shared else nullcontext(),
    ):
        yield


def _is_shared(journal: Journal) -> bool:
    with suppress(ShardctlError):
        commit = journal.commit()
        return commit is not None and commit.identity.shared
    return False


def _remove_leftovers(journal: Journal) -> None:
    """Remove what is left of a run that ended within its last steps, or before its first.

    The next run may find its result up to date, and would write nothing there.
    """
    staging = journal.staging
    if staging.own.identity(PLAN) is not None or not can_lock(staging.store):
        return
    # Where it cannot be locked, a run is at work, or nothing can be removed.
    with suppress(ShardctlError):
        with lock(staging.store, journal.path(LOCK)):
            staging.remove_empty_directories()
        staging.remove()


def carry_out(
    journal: Journal, commit: Commit, keep: Callable[[RunRecord], object] | None = None
) -> RunRecord:
    """Write a commit down and carry it out, or undo it where another program interferes."""
    staging = journal.staging
    places = staging.places()
    journal.begin_commit(commit)
    try:
        exchange.carry_out(commit.exchange, places)
    except ShardctlError as error:
        if not _undo(journal, commit, places):
            _say_half_replaced(error, staging.target.path)
        raise
    return complete(journal, commit, keep)


def _undo(journal: Journal, commit: Commit, places: exchange.Places) -> bool:
    """Put everything back, and forget the commit; return whether all of it succeeded."""
    try:
        # Where the process ends in between, the next one knows that files were moved back.
        journal.begin_commit(replace(commit, undone=True))
        if not exchange.undo(commit.exchange, places):
            return False
        journal.staging.own.remove(COMMIT)
        journal.staging.own.sync()
    except ShardctlError:
        return False
    return True


def complete(
    journal: Journal, commit: Commit, keep: Callable[[RunRecord], object] | None
) -> RunRecord:
    """Remove the old files and the journal, once all new files have their names.

    The record is kept in between: without it a set that was replaced in place might be packed
    again, since what was read is gone.
    """
    staging = journal.staging
    exchange.remove_old(commit.exchange, staging.places())
    staging.remove_empty(OLD)
    store, directory = staging.store, staging.target.path
    identity = commit.identity
    record = RunRecord(
        plan_id=identity.plan_id,
        options=identity.options,
        sources=identity.sources,
        written={
            file.name: store.version(below(store, directory, file.name))
            for file in commit.exchange.new
        },
        loads_from=commit.loads_from,
        sha256={receipt.filename: receipt.sha256 for receipt in commit.receipts if receipt.sha256},
    )
    damaged = any(receipt.damaged for receipt in commit.receipts)
    if keep is not None and not damaged:
        # Without a record the next run checks the sources again. A shared run knows the sources by
        # samples, which prove nothing later, but of a set that was replaced in place what was
        # written proves all.
        keep(record)
    journal.end()
    return record


def _say_half_replaced(error: ShardctlError, directory: str) -> None:
    """Add to what ended a commit that it is not finished, and the one way on."""
    error.message += f"; '{directory or '.'}' is half replaced"
    # Of what another program did, the hint says what is to be done first.
    if error.code not in ("target-changed", "half-done"):
        error.hint = COMPLETES


def refuse_foreign_commit(staging: Staging, commit: Commit) -> None:
    """Raise TargetExistsError where a commit was begun in another directory."""
    if is_foreign(staging, commit):
        directory = staging.target.path or "."
        raise TargetExistsError(
            f"'{staging.own.path}' is the state of a run into another directory: it was copied, "
            f"unpacked or downloaded with '{directory}'",
            hint=f"move '{staging.own.path}' to another place, and run the command again",
            code="half-done",
            file=staging.own.path,
        )
