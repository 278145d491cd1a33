"""Put the staged files in place. Once a commit is begun it goes only forward, and whoever comes next finishes it."""

from __future__ import annotations

from contextlib import suppress

from shardctl.engine.guards import refuse_links
from shardctl.engine.journal import COMMIT, LOCK, Commit, Journal, RunRecord
from shardctl.errors import InputError, StorageError
from shardctl.stores.base import Store


def recover(store: Store, directory: str, staging: str) -> RunRecord | None:
    """Finish a commit that was begun in this target and cut short; returns its record, None where there was none.

    Raises LockedError, TargetExistsError where the staging folder or something in it is a link, and
    StorageError.
    """
    journal = Journal(store, staging)
    if store.kind(staging) != "directory" or store.kind(journal.path(COMMIT)) != "file":
        return None
    refuse_links(store, directory, staging)
    with store.lock(journal.path(LOCK)):
        commit = journal.commit()
        if commit is None:
            return None
        record = finish(store, directory, journal, commit)
    leave_nothing(store, staging, commit)
    return record


def check_not_half_replaced(store: Store, staging: str) -> None:
    """Raise InputError where the set beside a staging folder may be old and new files: a commit was cut short."""
    if store.kind(Journal(store, staging).path(COMMIT)) == "file":
        directory = store.split(staging)[0]
        raise InputError(
            f"'{directory}' holds a replacement that was cut short: its files may be of two sets",
            hint="run the command that was interrupted again: it is finished first",
            code="half-done",
            file=directory,
        )


def finish(store: Store, directory: str, journal: Journal, commit: Commit) -> RunRecord:
    """Give the staged files their names, or the rest of them. Safe to do again, wherever it was cut short."""
    *shards, last = commit.renames
    if store.kind(journal.staged(last)) == "file":
        # Once that is in place, the name of an old index may be the new one's.
        _remove(store, directory, commit.remove_first)
    for names in (shards, [last]):
        for name in names:
            _put_in_place(store, journal.staged(name), store.join(directory, name))
        store.sync_directory(directory)
    _remove(store, directory, commit.remove_last)
    done = RunRecord(
        plan_id=commit.header.plan_id,
        options=commit.header.options,
        sources=commit.header.sources,
        written={name: store.version(store.join(directory, name)) for name in commit.renames},
        loads_from=last,
        sha256={receipt.filename: receipt.sha256 for receipt in commit.receipts if receipt.sha256},
    )
    journal.finish(done if commit.record else None)
    return done


def leave_nothing(store: Store, staging: str, commit: Commit) -> None:
    """Remove the staging folder where no record stays in it."""
    if not commit.record:
        # Another run may have begun there as soon as the lock was free.
        with suppress(StorageError):
            store.remove_directory(staging)


def _remove(store: Store, directory: str, names: tuple[str, ...]) -> None:
    for name in names:
        store.remove(store.join(directory, name))
    if names:
        store.sync_directory(directory)


def _put_in_place(store: Store, staged: str, final: str) -> None:
    if store.kind(staged) == "file":
        if store.kind(final) == "file":
            store.copy_mode(final, staged)
        store.rename(staged, final)
    elif store.kind(final) != "file":
        raise StorageError(
            f"'{final}' was to be put in place, but its staged file is gone",
            hint="something removed files of the half-done run: remove its hidden folder, and run the command again",
            file=final,
        )
