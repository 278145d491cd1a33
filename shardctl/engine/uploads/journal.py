"""What a run into an object store leaves there until it has ended: small objects beside its target.

    TARGET/.shardctl/lock          held while a run is at work; names the holder
    TARGET/.shardctl/plan.json     which run this is, its files, and what is uploaded to their
                                   names by others
    TARGET/.shardctl/receipts/     an object for each file that is uploaded, with its parts
    TARGET/.shardctl/commit.json   exists once all are: what is replaced, by what

Each is written in one step. An upload to a name of the run is its own, unless it was there when the
run began: those that have no receipt are aborted, as nothing is known of their parts. What is found
here is believed only of uploads to the names of this very directory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from shardctl.engine.journal.documents import document_bytes, not_ours, read_document
from shardctl.engine.journal.journal import (
    COMMIT,
    LOCK,
    PLAN,
    RunIdentity,
    identity_of,
    is_file_name,
)
from shardctl.engine.journal.receipts import EACH, own_name, receipt_of
from shardctl.engine.uploads.send import Sent
from shardctl.errors import MissingError
from shardctl.model import Version
from shardctl.naming import STAGING
from shardctl.stores.paths import below
from shardctl.stores.uploads import SentPart, Upload, UploadStore

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class Seen:
    """A file in or below the target directory, and its version when it was seen."""

    name: str
    version: Version


@dataclass(frozen=True, slots=True)
class UploadCommit:
    """What is replaced, by what.

    `first` are removed before any new file appears. `new` are the names of the files that appear,
    the one that makes the set visible last; `replaced` are the versions of those that they replace
    in one step. `old` are removed at the end. `directory` is the path of the target,
    `replaced_source` are the names in it that the run has read and replaces.
    """

    identity: RunIdentity
    directory: str
    first: tuple[Seen, ...]
    new: tuple[str, ...]
    replaced: tuple[Seen, ...]
    old: tuple[Seen, ...]
    replaced_source: tuple[str, ...] = ()

    @property
    def loads_from(self) -> str:
        """The name that makes the set visible: the index, or the one file; "" without new files."""
        return self.new[-1] if self.new else ""


class UploadJournal:
    """The journal of runs into one directory. Only the holder of the lock writes to it."""

    def __init__(self, store: UploadStore, directory: str) -> None:
        self.store = store
        self.directory = directory
        self.home = store.join(directory, STAGING)

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
        return self._read(PLAN, identity_of) if self.exists() else None

    def names(self) -> tuple[str, ...]:
        """Return the names of the files that the unfinished run was to write."""
        names = self._read(PLAN, lambda document: document["files"]) if self.exists() else None
        return tuple(name for name in names or () if self._is_name(name))

    def has_commit(self) -> bool:
        """Whether a commit was begun."""
        return self.exists() and self.store.kind(self.store.join(self.home, COMMIT)) == "file"

    def commit(self) -> UploadCommit | None:
        """Return the commit that was begun, or None."""
        commit = self._read(COMMIT, _commit) if self.exists() else None
        if commit is None:
            return None
        seen = (*commit.first, *commit.replaced, *commit.old)
        named = [*commit.new, *(each.name for each in seen)]
        if not named or not all(map(self._is_name, named)):
            raise not_ours(self.store.join(self.home, COMMIT), self.home)
        return commit

    def begin(self, identity: RunIdentity, names: Collection[str]) -> None:
        """Note what is about to be done, before anything is uploaded."""
        paths = set(map(self.final, names))
        kept = {each.upload.id for each in self.receipts().values()}
        foreign = [
            upload.id
            for upload in self.store.uploads(self.directory)
            if upload.path in paths and upload.id not in kept
        ]
        self._write(PLAN, {**asdict(identity), "files": list(names), "foreign": foreign})

    def add(self, sent: Sent) -> None:
        """Note a file that is uploaded."""
        parts = [[part.number, part.nbytes, part.mark] for part in sent.parts]
        document = {"receipt": asdict(sent.receipt), "upload": asdict(sent.upload), "parts": parts}
        self._write(_receipt_name(sent.receipt.filename), document)

    def receipts(self) -> dict[str, Sent]:
        """Return what was uploaded, by file name."""
        home = self.store.join(self.home, EACH)
        if not self.exists() or self.store.kind(home) != "directory":
            return {}
        found: dict[str, Sent] = {}
        for entry in self.store.list(home):
            try:
                sent = self._read(f"{EACH}/{entry.name}", _sent)
            except MissingError:
                continue
            if sent is not None and self._is_own(sent):
                found[sent.receipt.filename] = sent
        return found

    def keep(self, names: Collection[str]) -> None:
        """Continue with these uploads; abort the others of the run, and forget them."""
        every = self.receipts()
        for name in every:
            if name not in names:
                self.store.remove(self._path(_receipt_name(name)))
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
        self._abort(())
        # A commit that is still there can be repeated, which takes the receipts. What is left
        # without either, the next run removes.
        for name in (PLAN, COMMIT):
            self.store.remove(self._path(name))
        home = self._path(EACH)
        if self.store.kind(home) == "directory":
            for entry in self.store.list(home):
                self.store.remove(self.store.join(home, entry.name))

    def _abort(self, kept: Collection[str]) -> None:
        """Abort the uploads of the run, but for those of the ids `kept`."""
        plan = self._read(PLAN, lambda document: (document["files"], document["foreign"]))
        if plan is None:
            return
        names, foreign = plan
        paths = {self.final(name) for name in names if self._is_name(name)}
        for upload in self.store.uploads(self.directory):
            if upload.path in paths and upload.id not in {*foreign, *kept}:
                self.store.abort_upload(upload)

    def _is_name(self, name: object) -> bool:
        return is_file_name(self.store, name)

    def _is_own(self, sent: Sent) -> bool:
        name = sent.receipt.filename
        return self._is_name(name) and sent.upload.path == self.final(name)

    def _path(self, name: str) -> str:
        return below(self.store, self.home, name)

    def _read(self, name: str, parse: Callable[[Mapping[str, Any]], Parsed]) -> Parsed | None:
        directory, _, last = name.rpartition("/")
        home = below(self.store, self.home, directory) if directory else self.home
        return read_document(self.store, home, last, parse)

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        self.store.put(self._path(name), document_bytes(document))


def _receipt_name(filename: str) -> str:
    return f"{EACH}/{own_name(filename)}"


def _sent(document: Mapping[str, Any]) -> Sent:
    parts = tuple(SentPart(number, nbytes, mark) for number, nbytes, mark in document["parts"])
    return Sent(receipt_of(document["receipt"]), Upload(**document["upload"]), parts)


def _commit(document: Mapping[str, Any]) -> UploadCommit:
    return UploadCommit(
        identity=identity_of(document["identity"]),
        directory=document["directory"],
        first=_seen(document["first"]),
        new=tuple(document["new"]),
        replaced=_seen(document["replaced"]),
        old=_seen(document["old"]),
        replaced_source=tuple(document["replaced_source"]),
    )


def _seen(documents: list[Mapping[str, Any]]) -> tuple[Seen, ...]:
    return tuple(Seen(each["name"], Version(**each["version"])) for each in documents)
