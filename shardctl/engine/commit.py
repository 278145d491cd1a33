"""Give the staged files their names. A commit only goes forward; the next run finishes it."""

from __future__ import annotations

from contextlib import suppress

from shardctl.engine.guards import refuse_links
from shardctl.engine.journal import COMMIT, LOCK, Commit, Journal, RunRecord
from shardctl.errors import InputError, StorageError
from shardctl.stores.base import Store
from shardctl.stores.optional import keep_mode, lock, remove_directory, sync_directory


def recover(target: Store, directory: str, staging: str) -> RunRecord | None:
    """Finish a commit that was interrupted in this target, and return its record, else None.

    Raises LockedError, TargetExistsError where the staging directory or something in it is a link,
    and StorageError.
    """
    journal = Journal(target, staging)
    if target.kind(staging) != "directory" or target.kind(journal.path(COMMIT)) != "file":
        return None
    refuse_links(target, directory, journal)
    with lock(target, journal.path(LOCK)):
        commit = journal.commit()
        if commit is None:
            return None
        record = finish(target, directory, journal, commit)
    leave_nothing(target, staging, commit)
    return record


def check_not_half_replaced(store: Store, staging: str) -> None:
    """Raise InputError where a commit beside a staging directory was interrupted.

    The set there may consist of old and new files.
    """
    if store.kind(Journal(store, staging).path(COMMIT)) == "file":
        directory = store.split(staging)[0]
        raise InputError(
            f"'{directory}' holds an interrupted replacement: its files may be of two sets",
            hint="run the interrupted command again: it completes the replacement first",
            code="half-done",
            file=directory,
        )


def finish(target: Store, directory: str, journal: Journal, commit: Commit) -> RunRecord:
    """Give the staged files their names, or the rest of them.

    It can be repeated from wherever it was interrupted.
    """
    *shards, last = commit.renames
    if target.kind(journal.staged(last)) == "file":
        # Once that is renamed, the name of an old index may be the new one's.
        _remove(target, directory, commit.remove_first)
    for names in (shards, [last]):
        for name in names:
            _rename(target, journal.staged(name), target.join(directory, name))
        sync_directory(target, directory)
    _remove(target, directory, commit.remove_last)
    identity = commit.identity
    done = RunRecord(
        plan_id=identity.plan_id,
        options=identity.options,
        sources=identity.sources,
        written={name: target.version(target.join(directory, name)) for name in commit.renames},
        loads_from=last,
        sha256={receipt.filename: receipt.sha256 for receipt in commit.receipts if receipt.sha256},
    )
    journal.finish(done if commit.record else None)
    return done


def leave_nothing(target: Store, staging: str, commit: Commit) -> None:
    """Remove the staging directory where no record stays in it."""
    if not commit.record:
        # Another run may have begun there as soon as the lock was released.
        with suppress(StorageError):
            remove_directory(target, staging)


def _remove(target: Store, directory: str, names: tuple[str, ...]) -> None:
    for name in names:
        target.remove(target.join(directory, name))
    if names:
        sync_directory(target, directory)


def _rename(target: Store, staged: str, final: str) -> None:
    if target.kind(staged) == "file":
        if target.kind(final) == "file":
            keep_mode(target, final, staged)
        target.rename(staged, final)
    elif target.kind(final) != "file":
        raise StorageError(
            f"'{final}' was to be renamed into place, but its staged file is gone",
            hint="something removed files of the unfinished run: remove its hidden directory, and "
            "run the command again",
            file=final,
        )
