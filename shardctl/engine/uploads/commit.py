"""Let the uploaded files appear, and finish what an interrupted run had begun of that.

Completing an upload replaces a file of the same name in one step, and nothing can be renamed. So
the order is another than on a disk:

1. Where a new shard replaces an old one of the same name, the old indexes are removed first: an
   index never names shards of two sets. Else the old set stays whole until the new one is.
2. The uploads are completed, the one that makes the set visible last.
3. What else is replaced is removed, indexes first.

A commit is written down before its first step, and every step can be repeated: from there on it
only goes forward, and the next run into the same directory finishes it. Each file is replaced or
removed only in the version that was seen; one that another program has removed by then leaves a
free name, under which nothing can be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress

from shardctl.checksums import CHECKSUMS
from shardctl.engine.journal.interrupted import COMPLETES
from shardctl.engine.journal.journal import RunIdentity
from shardctl.engine.journal.records import RunRecord
from shardctl.engine.uploads.documents import Seen, UploadCommit
from shardctl.engine.uploads.journal import UploadJournal
from shardctl.engine.uploads.send import Sent
from shardctl.errors import ShardctlError, StorageError, TargetExistsError
from shardctl.formats.registry import formats
from shardctl.model import Version
from shardctl.naming import is_index
from shardctl.stores.optional import at_once, lock
from shardctl.stores.uploads import UploadStore
from shardctl.streams.pool import in_order


def plan_commit(
    identity: RunIdentity,
    journal: UploadJournal,
    new: Sequence[str],
    removed: Collection[str],
    replaced_source: Sequence[str],
) -> UploadCommit:
    """Look at the files that are replaced or removed, and put all steps in order.

    `new` are the names of the files that appear, the one that makes the set visible last; there may
    be none. Raises TargetExistsError where a new name is taken by a file that is not to be removed.
    """
    store = journal.store
    store.forget()
    seen: dict[str, Seen] = {}
    for name in (*new, *removed):
        path = journal.final(name)
        if store.kind(path) == "file":
            seen[name] = Seen(name, store.version(path))
            if name not in removed:
                raise _conflict(path)
    mixed = any(name in seen for name in new[:-1] if name.rpartition("/")[2] != CHECKSUMS)
    first = [name for name in seen if mixed and _lists_a_set(name)]
    return UploadCommit(
        identity=identity,
        directory=journal.directory,
        first=tuple(seen[name] for name in first),
        new=tuple(new),
        replaced=tuple(seen[name] for name in new if name in seen and name not in first),
        old=tuple(
            seen[name]
            for name in sorted(seen, key=lambda name: not _lists_a_set(name))
            if name not in new and name not in first
        ),
        replaced_source=tuple(replaced_source),
    )


def _lists_a_set(name: str) -> bool:
    """Whether loaders find the files of a set by a file of this name: an index, in any format."""
    return is_index(name) or name.rpartition("/")[2] in {known.listed_by for known in formats()}


def carry_out(
    journal: UploadJournal,
    commit: UploadCommit,
    sent: Mapping[str, Sent],
    keep: Callable[[RunRecord], object] | None,
) -> RunRecord:
    """Write a commit down and carry it out.

    Where another program has changed a file before the first step, it is forgotten again.
    """
    journal.begin_commit(commit)
    try:
        written = _exchange(journal, commit, sent)
    except _UndoneError as error:
        journal.withdraw_commit()
        raise error.reason from None
    return _complete(journal, commit, sent, written, keep)


def recover(
    target: UploadStore, directory: str, keep: Callable[[RunRecord], object] | None = None
) -> UploadCommit | None:
    """Finish a commit that was interrupted in a target directory; None where there is none.

    `keep` is given the record while the commit can still be repeated. Raises LockedError,
    TargetExistsError where a file of it was changed since, or where it came with a copied
    directory, and StorageError.
    """
    journal = UploadJournal(target, directory)
    if not journal.has_commit():
        _remove_leftovers(journal)
        return None
    with lock(target, journal.lock):
        target.forget()
        commit = journal.commit()
        if commit is None:
            # Another process has finished it. An empty object, which no run writes, says nothing.
            journal.withdraw_commit()
            return None
        refuse_foreign_commit(journal, commit)
        sent = journal.receipts(commit.identity)
        lost = next((name for name in commit.new if name not in sent), None)
        if lost is not None:
            raise _half_replaced(_lost(journal.final(lost), journal.home), directory, journal.home)
        try:
            written = _exchange(journal, commit, sent)
        except _UndoneError as error:
            raise _half_replaced(error.reason, directory, journal.home) from None
        _complete(journal, commit, sent, written, keep)
    return commit


def _remove_leftovers(journal: UploadJournal) -> None:
    """Remove what is left of a run that ended within its last steps, or before its first.

    The next run may find its result up to date, and would write nothing there.
    """
    if not journal.exists() or journal.identity() is not None:
        return
    # Where it cannot be locked, a run is at work, or nothing can be removed.
    with suppress(ShardctlError), lock(journal.store, journal.lock):
        journal.store.forget()
        # Another process may have begun a run between the look and the lock.
        if journal.identity() is None and not journal.has_commit():
            journal.end()


def refuse_foreign_commit(journal: UploadJournal, commit: UploadCommit) -> None:
    """Raise TargetExistsError where a commit was begun in another directory."""
    if commit.directory != journal.directory:
        raise TargetExistsError(
            f"'{journal.home}' is the state of a run into another directory: it was copied with "
            f"'{journal.directory}'",
            hint=f"remove '{journal.home}', and run the command again",
            code="half-done",
            file=journal.home,
        )


class _UndoneError(Exception):
    """Another program has changed a file, and nothing of the commit was done by then."""

    def __init__(self, reason: ShardctlError) -> None:
        super().__init__(reason)
        self.reason = reason


def _exchange(
    journal: UploadJournal, commit: UploadCommit, sent: Mapping[str, Sent]
) -> dict[str, Version]:
    """Carry out all steps, or the rest of them; return the versions of the new files, by name."""
    store = journal.store
    replaced = {each.name: each.version for each in commit.replaced}
    written: dict[str, Version] = {}

    def appear(name: str) -> tuple[str, Version]:
        each, seen = sent[name], replaced.get(name)
        try:
            version = store.complete_upload(each.upload, each.parts, seen)
        except TargetExistsError:
            store.forget()
            if seen is None or store.kind(each.upload.path) is not None:
                raise
            version = store.complete_upload(each.upload, each.parts, None)
        if version.size != each.receipt.nbytes:
            raise _cut_short(each.upload.path, each.receipt.nbytes, version.size)
        return name, version

    others, last = commit.new[:-1], commit.loads_from
    done = False
    try:
        for each in commit.first:
            path = journal.final(each.name)
            # Where a commit is repeated, what has the name of the last file may be that file.
            if not store.remove_version(path, each.version) and each.name != last:
                raise _conflict(path)
            done = True
        for name, version in in_order(at_once(store), appear, others):
            written[name] = version
            done = True
        written |= map(appear, commit.new[-1:])
        done = True
    except ShardctlError as error:
        if not done and isinstance(error, TargetExistsError):
            raise _UndoneError(error) from error
        raise _half_replaced(error, commit.directory, journal.home) from error
    _remove(journal, commit.old)
    return written


def _remove(journal: UploadJournal, old: Iterable[Seen]) -> None:
    """Remove old files; what is another file by now stays."""
    for each in old:
        journal.store.remove_version(journal.final(each.name), each.version)


def _complete(
    journal: UploadJournal,
    commit: UploadCommit,
    sent: Mapping[str, Sent],
    written: Mapping[str, Version],
    keep: Callable[[RunRecord], object] | None,
) -> RunRecord:
    """Keep the record and remove the journal, once all new files are there."""
    receipts = [each.receipt for each in sent.values()]
    record = RunRecord(
        plan_id=commit.identity.plan_id,
        options=commit.identity.options,
        sources=commit.identity.sources,
        written=written,
        loads_from=commit.loads_from,
        sha256={receipt.filename: receipt.sha256 for receipt in receipts if receipt.sha256},
    )
    if keep is not None and not any(receipt.damaged for receipt in receipts):
        # Without a record the next run checks the sources again.
        keep(record)
    journal.end()
    return record


def _half_replaced(error: ShardctlError, directory: str, home: str) -> ShardctlError:
    """Add to what ended a commit that it is not finished, and the one way on."""
    error.message += f"; '{directory}' is half replaced"
    if error.code == "half-done":
        # It cannot be finished, and would be tried first by every run.
        error.hint = f"remove '{home}', and run the command again with `replace=\"same\"`"
    elif error.code != "target-changed":
        error.hint = COMPLETES
    return error


def _lost(path: str, home: str) -> StorageError:
    return StorageError(
        f"nothing is known of the upload of '{path}'",
        hint=f"remove '{home}', and run the command again with `replace=\"same\"`",
        code="half-done",
        file=path,
    )


def _cut_short(path: str, expected: int, found: int) -> StorageError:
    return StorageError(
        f"'{path}' has {found:,} bytes, and {expected:,} were uploaded",
        hint="look at it, and at the log of the store: another program may have written it",
        code="half-done",
        file=path,
    )


def _conflict(path: str) -> TargetExistsError:
    return TargetExistsError(
        f"'{path}' appeared or changed while files were being replaced",
        hint="move it to another directory, and run the same command again",
        code="target-changed",
        file=path,
    )
