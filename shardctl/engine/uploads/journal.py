"""What a run into an object store leaves there until it has ended: small objects beside its target.

    TARGET/.shardctl/lock          held while a run is at work; names the holder
    TARGET/.shardctl/plan.json     which run this is, its files, and what is uploaded to their
                                   names by others
    TARGET/.shardctl/receipts/     an object for each file that is uploaded, with its parts
    TARGET/.shardctl/commit.json   exists once all are: what is replaced, by what

Each is written in one step. An upload to a name of the run is its own, unless it was there when the
run began: those that have no receipt are aborted, as nothing is known of their parts. What is found
here is believed only of uploads to the names of this very directory, and a receipt only of the run
that it was written for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple, TypeVar

from shardctl.engine.journal.documents import (
    document_bytes,
    not_ours,
    read_document,
    read_version,
)
from shardctl.engine.journal.journal import (
    COMMIT,
    LOCK,
    PLAN,
    RunIdentity,
    identity_of,
    is_file_name,
)
from shardctl.engine.journal.receipts import EACH, own_name
from shardctl.engine.uploads.documents import (
    UploadCommit,
    commit_of,
    noted_of,
    receipt_document,
)
from shardctl.engine.uploads.send import Sent
from shardctl.errors import MissingError
from shardctl.model import Version
from shardctl.naming import STAGING
from shardctl.stores.optional import at_once
from shardctl.stores.paths import below
from shardctl.stores.uploads import UploadStore
from shardctl.streams.pool import in_order

Parsed = TypeVar("Parsed")


class _Plan(NamedTuple):
    """What a run does: which it is, the names of its files, and the ids of others' uploads.

    `discarded`: it is not to be finished, and what is left of it is being removed.
    """

    identity: RunIdentity
    names: tuple[str, ...]
    foreign: tuple[str, ...]
    discarded: bool = False


class UploadJournal:
    """The journal of runs into one directory.

    Only the holder of the lock writes to it, but for the receipts of a run that several processes
    share.
    """

    def __init__(self, store: UploadStore, directory: str) -> None:
        self.store = store
        self.directory = directory
        self.home = store.join(directory, STAGING)
        self._marked: tuple[RunIdentity, str] | None = None

    @property
    def lock(self) -> str:
        """The path of the lock."""
        return self.store.join(self.home, LOCK)

    def exists(self) -> bool:
        """Whether a run has left anything here."""
        return self.store.kind(self.home) == "directory"

    def final(self, name: str) -> str:
        """Return the path of a file of the target."""
        return below(self.store, self.directory, name)

    def identity(self) -> RunIdentity | None:
        """Return the identity of the unfinished run, or None."""
        plan = self._plan()
        return None if plan is None or plan.discarded else plan.identity

    def names(self) -> tuple[str, ...]:
        """Return the names of the files that the unfinished run was to write."""
        plan = self._plan()
        return () if plan is None or plan.discarded else plan.names

    def has_commit(self) -> bool:
        """Whether a commit was begun."""
        return self.exists() and self.store.kind(self.store.join(self.home, COMMIT)) == "file"

    def awaits(self, run: RunIdentity) -> bool:
        """Whether a run is noted here, and its commit not begun; looked at afresh."""
        self.store.forget()
        return self.identity() == run and not self.has_commit()

    def commit(self) -> UploadCommit | None:
        """Return the commit that was begun, or None."""
        commit = self._read(COMMIT, commit_of) if self.exists() else None
        if commit is None:
            return None
        seen = (*commit.first, *commit.replaced, *commit.old)
        named = [*commit.new, *(each.name for each in seen)]
        if not named or not all(map(self._is_name, named)):
            raise not_ours(self.store.join(self.home, COMMIT), self.home)
        return commit

    def begin(self, identity: RunIdentity, names: Collection[str]) -> None:
        """Note what is about to be done, before anything is uploaded.

        What was noted of the uploads of others, for the same run, stays.
        """
        plan = self._plan()
        if plan is None or plan.identity != identity:
            plan = _Plan(identity, (), ())
        paths = {self.final(name) for name in names if name not in plan.names}
        foreign = [each.id for each in self.store.uploads(self.directory) if each.path in paths]
        self._write_plan(_Plan(identity, tuple(names), (*plan.foreign, *foreign)))

    def add(self, sent: Sent, run: RunIdentity) -> None:
        """Note a file that is uploaded."""
        document = document_bytes(receipt_document(sent, self._mark(run)))
        self.store.put(self._receipt_path(sent.receipt.filename), document)

    def publish(self, sent: Sent, run: RunIdentity) -> bool:
        """Note a file of a shared run, unless another process has noted it; return which is so."""
        name = sent.receipt.filename
        document = document_bytes(receipt_document(sent, self._mark(run)))
        # The answer to a first try may have been lost.
        return self.store.put_new(self._receipt_path(name), document) or (
            self.receipt(name, run) == sent
        )

    def forget(self, name: str, run: RunIdentity, sent: Sent | None) -> None:
        """Forget a file where `sent` is what is noted of it; None is the receipt of another run.

        What another process notes meanwhile stays.
        """
        noted, version = self._noted(own_name(name), run)
        if noted == sent and version is not None:
            self.store.remove_version(self._receipt_path(name), version)

    def receipt(self, name: str, run: RunIdentity) -> Sent | None:
        """Return how a file of a run was uploaded; None where that is not noted."""
        return self._noted(own_name(name), run)[0]

    def receipts(self, run: RunIdentity | None = None) -> dict[str, Sent]:
        """Return what was uploaded by a run, by file name; by the unfinished one if none is given.

        Each is an object, and several are read at once.
        """
        run = self.identity() if run is None else run
        if run is None:
            return {}
        read = partial(self._noted, run=run)
        found = in_order(at_once(self.store), read, self._noted_names())
        return {sent.receipt.filename: sent for sent, _ in found if sent is not None}

    def is_noted(self) -> Callable[[str], bool]:
        """Return what says of a file's name whether there is a receipt; none is read for it."""
        names = frozenset(self._noted_names())
        return lambda name: own_name(name) in names

    def _noted_names(self) -> list[str]:
        home = self._path(EACH)
        if not self.exists() or self.store.kind(home) != "directory":
            return []
        return [entry.name for entry in self.store.list(home)]

    def _noted(self, own: str, run: RunIdentity) -> tuple[Sent | None, Version | None]:
        """Return what the receipt of this name says of a file of a run, and its version.

        Nothing is said by one of another run; the version is None where there is none.
        """
        try:
            found, version = read_version(self.store, self._path(EACH), own, noted_of)
        except MissingError:  # another process has removed it since it was listed
            return None, None
        if found is None or found[1] != self._mark(run) or not self._is_own(found[0]):
            return None, version
        return found[0], version

    def keep(self, names: Collection[str]) -> None:
        """Continue with these uploads; abort the others of the run, and forget them."""
        every = self.receipts()
        for name in every:
            if name not in names:
                self.store.remove(self._receipt_path(name))
        self._abort({every[name].upload.id for name in names if name in every})

    def begin_commit(self, commit: UploadCommit) -> None:
        """Note how the files appear. From here on the run only goes forward."""
        self._write(COMMIT, asdict(commit))

    def withdraw_commit(self) -> None:
        """Forget a commit of which nothing was done."""
        self.store.remove(self._path(COMMIT))

    def end(self) -> None:
        """Forget the run: abort its uploads, and remove what the journal says of it."""
        if not self.exists():
            return
        plan = self._plan()
        if plan is not None and plan.identity.shared and not self.has_commit():
            # Its parts may be at work. What they finish after this they abort themselves.
            self._write_plan(plan._replace(discarded=True))
        self._abort(())
        # A commit that is still there can be repeated, which takes the receipts. What is left
        # without either, the next run removes.
        for name in (PLAN, COMMIT):
            self.store.remove(self._path(name))
        for name in self._noted_names():
            self.store.remove(self._path(f"{EACH}/{name}"))

    def _abort(self, kept: Collection[str]) -> None:
        """Abort the uploads of the run, but for those of the ids `kept`."""
        plan = self._plan()
        if plan is None:
            return
        paths = set(map(self.final, plan.names))
        for upload in self.store.uploads(self.directory):
            if upload.path in paths and upload.id not in {*plan.foreign, *kept}:
                self.store.abort_upload(upload)

    def _plan(self) -> _Plan | None:
        return self._read(PLAN, self._plan_of) if self.exists() else None

    def _plan_of(self, document: Mapping[str, Any]) -> _Plan:
        names = tuple(name for name in document["files"] if self._is_name(name))
        discarded = document.get("discarded") is True
        return _Plan(identity_of(document), names, tuple(document["foreign"]), discarded)

    def _write_plan(self, plan: _Plan) -> None:
        document = {"files": plan.names, "foreign": plan.foreign, "discarded": plan.discarded}
        self._write(PLAN, {**asdict(plan.identity), **document})

    def _mark(self, run: RunIdentity) -> str:
        """Return the mark of a run: it is the same for each receipt, and covers every source."""
        if self._marked is None or self._marked[0] is not run:
            self._marked = run, run.mark
        return self._marked[1]

    def _is_name(self, name: object) -> bool:
        return is_file_name(self.store, name)

    def _is_own(self, sent: Sent) -> bool:
        name = sent.receipt.filename
        return self._is_name(name) and sent.upload.path == self.final(name)

    def _path(self, name: str) -> str:
        return below(self.store, self.home, name)

    def _receipt_path(self, filename: str) -> str:
        return self._path(f"{EACH}/{own_name(filename)}")

    def _read(self, name: str, parse: Callable[[Mapping[str, Any]], Parsed]) -> Parsed | None:
        try:
            return read_document(self.store, self.home, name, parse)
        except MissingError:  # another process has ended the run since it was listed
            return None

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        self.store.put(self._path(name), document_bytes(document))
