"""What an interrupted run left in a directory, for those who would read or write there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from shardctl.engine.commit.staging import Staging
from shardctl.engine.journal.journal import PLAN, Commit, Journal
from shardctl.engine.uploads.journal import UploadJournal
from shardctl.errors import InputError, ShardctlError, StorageError, TargetExistsError
from shardctl.formats.registry import all_suffixes
from shardctl.naming import STAGING
from shardctl.stores.base import Store
from shardctl.stores.uploads import has_uploads
from shardctl.text import plural

#: The only safe command where a commit was interrupted.
COMPLETES = "run the interrupted command again: it completes the replacement first"
#: What finishes a run that several processes share.
FINISHES_PARTS = "finish it with `apply` of that plan, whole or by its parts"
#: Digits of a plan's id that tell it from others.
SHOWN_ID = 12

Error = TypeVar("Error", bound=ShardctlError)


def unfinished(store: Store, directory: str) -> tuple[str, bool] | None:
    """Return the staging directory of an unfinished run into a directory, None where there is none.

    With it, whether its commit was begun: then the directory may hold old and new files.
    """
    if has_uploads(store):
        uploads = UploadJournal(store, directory)
        if uploads.has_commit():
            return uploads.home, True
        return (uploads.home, False) if uploads.identity() is not None else None
    staging = Staging.find(store, directory)
    if staging is None:
        return None
    with staging:
        journal = Journal(staging)
        if journal.has_commit():
            return store.join(directory, STAGING), True
        begun = staging.own.identity(PLAN) is not None
        return (store.join(directory, STAGING), False) if begun else None


@dataclass(frozen=True, slots=True)
class HowFar:
    """How far a run into a directory came: shards that are finished, and all of them.

    `plan_id` is that of a run by parts, which others may be at work on; None of any other.
    """

    done: int
    total: int
    plan_id: str | None

    @property
    def message(self) -> str:
        """What there is, in a few words."""
        by = "" if self.plan_id is None else f" by parts of the plan {self.plan_id[:SHOWN_ID]}"
        return f"an unfinished run{by}: {self.done:,} of {plural(self.total, 'shard')} done"

    @property
    def hint(self) -> str:
        """The next step that is safe to take."""
        if self.plan_id is not None:
            return f"{FINISHES_PARTS}, or discard it with `restart`"
        return "run the interrupted command again to finish it, or with `restart` to start over"


def how_far(store: Store, directory: str) -> HowFar | None:
    """Return how far the unfinished run in a directory came, before its commit; None without one.

    Raises as `Staging.find` does, and StorageError for a journal that cannot be read.
    """
    if has_uploads(store):
        uploads = UploadJournal(store, directory)
        return _how_far(uploads, uploads.is_noted())
    staging = Staging.find(store, directory)
    if staging is None:
        return None
    with staging:
        journal = Journal(staging)
        return _how_far(journal, journal.receipts().__contains__)


def _how_far(journal: Journal | UploadJournal, is_done: Callable[[str], bool]) -> HowFar | None:
    identity = journal.identity()
    if identity is None or journal.has_commit():
        return None
    suffixes = tuple(all_suffixes())
    shards = {name for name in journal.names() if "/" not in name and name.endswith(suffixes)}
    done = sum(map(is_done, shards))
    return HowFar(done, len(shards), identity.plan_id if identity.shared else None)


def is_half_replaced(store: Store, directory: str) -> bool:
    """Whether a commit was interrupted in a directory, so that its files may be of two sets.

    Raises as `Staging.find` does.
    """
    if has_uploads(store):
        return _is_half_uploaded(UploadJournal(store, directory))
    staging = Staging.find(store, directory)
    if staging is None:
        return False
    with staging:
        try:
            commit = Journal(staging).commit()
        except ShardctlError:
            return False  # an unreadable commit is not one of this version
        return commit is not None and not is_foreign(staging, commit)


def _is_half_uploaded(journal: UploadJournal) -> bool:
    try:
        commit = journal.commit()
    except ShardctlError:
        return False  # as above
    return commit is not None and commit.directory == journal.directory


def check_not_half_replaced(store: Store, source: str) -> None:
    """Raise InputError where a commit was interrupted in the directory to be read from.

    `source` is a path of the directory, or of a file in it, which may be missing for that reason.
    """
    directory = source if store.kind(source) == "directory" else store.split(source)[0]
    # A run of another user, whose state this one may not see, does not prevent reading.
    with suppress(TargetExistsError, StorageError):
        if is_half_replaced(store, directory):
            raise half_replaced(InputError, directory)


def is_foreign(staging: Staging, commit: Commit) -> bool:
    """Whether the directory is another than the one in which the commit was begun."""
    own = staging.target.own_identity()
    return staging.target.keeps_inodes() and own.inode != commit.directory.inode


def half_replaced(kind: type[Error], directory: str, hint: str = COMPLETES) -> Error:
    """Return the error for a directory in which a commit was interrupted."""
    directory = directory or "."
    return kind(
        f"'{directory}' is half replaced: an interrupted run was renaming its files",
        hint=hint,
        code="half-done",
        file=directory,
    )
