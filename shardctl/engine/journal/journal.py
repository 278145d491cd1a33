"""What a run leaves on disk until it has ended: its identity, receipts, and the commit to redo.

The staging directory (`staging`) holds, beside the files:

    lock            held while a run is at work; names the holder
    plan.json       the run's plan id, options, the versions of its sources, the files to write
    receipts.jsonl  a line for each finished file, appended when the file is durable; of a shared
                    run, and in a store that cannot append, a file for each in receipts/
    commit.json     exists once every file is finished: what is replaced, by what, file by file

Every state is reached by one durable rename or one durable append, so a run that was killed
anywhere is resumed (before `commit.json`) or finished (after it). What is found there is believed
only where it names the files that are there by their identities (`stores.base.Identity`): state
that was copied, unpacked or downloaded names others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from shardctl.engine.commit.exchange import Exchange, Named
from shardctl.engine.commit.staging import Staging
from shardctl.engine.journal.documents import document_bytes, not_ours, read_document
from shardctl.engine.journal.receipts import LINES, Noted, Receipt, Receipts, receipt_of
from shardctl.engine.shared.workspaces import remove_workspaces
from shardctl.errors import StorageError
from shardctl.model import Version
from shardctl.naming import STAGING
from shardctl.planning.request import Options, option_differences
from shardctl.stores.atomic import FRESH, put
from shardctl.stores.base import Identity, Store
from shardctl.text import escape

LOCK, PLAN, COMMIT = "lock", "plan.json", "commit.json"
#: Held while the files of a shared run get their names.
COMMITTING = "committing"
#: What version 0.1.0 left in a target.
OLD_RECORD = "record.json"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What a run is: only a run with an equal identity may continue with its files.

    `sources` gives the versions of the files that are read, by name. `shared`: several processes
    write the files (`engine.shared.run`), and the versions are marks of the contents, which are the
    same on each machine.
    """

    plan_id: str
    options: Options
    sources: Mapping[str, Version]
    shared: bool = False

    @property
    def mark(self) -> str:
        """What tells the receipts of this run from those of others: a SHA-256, in hexadecimal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def differences(self, other: RunIdentity) -> str:
        """Say how this run differs from `other`, the one asked for: "with other options (…)"."""
        if self.shared != other.shared:
            return "that is not by parts" if other.shared else "by parts"
        options = option_differences(self.options, other.options)
        if options:
            return f"with other options ({'; '.join(options)})"
        sources = [
            f"'{escape(name)}' "
            + _source_difference(self.sources.get(name), other.sources.get(name))
            for name in sorted({*self.sources, *other.sources})
            if self.sources.get(name) != other.sources.get(name)
        ]
        if sources:
            return f"from other sources ({'; '.join(sources)})"
        return "of another plan (the sources' headers or the version of shardctl changed)"


def _source_difference(before: Version | None, now: Version | None) -> str:
    if before is None:
        return "is new"
    return "is not read any more" if now is None else "has changed"


@dataclass(frozen=True, slots=True)
class Commit:
    """How the staged files get their names.

    `directory` is what the target directory was. `replaced_source` are the names in it that the run
    has read and replaces. `undone`: it was begun, and then undone, perhaps in part.
    """

    identity: RunIdentity
    directory: Identity
    exchange: Exchange
    receipts: tuple[Receipt, ...]
    replaced_source: tuple[str, ...] = ()
    undone: bool = False

    @property
    def loads_from(self) -> str:
        """The name that makes the set visible: the index, or the one file; "" without new files."""
        return self.exchange.new[-1].name if self.exchange.new else ""


class Journal:
    """The journal in one staging directory. Only the holder of the lock writes to it."""

    def __init__(self, staging: Staging) -> None:
        self.staging = staging
        self._store = staging.store
        self._receipts = Receipts(staging.store, staging.own.path)

    @property
    def home(self) -> str:
        """The path of the staging directory."""
        return self.staging.own.path

    def path(self, name: str) -> str:
        """Return the path of one of the journal's own files."""
        return self.staging.path(name)

    def staged(self, name: str) -> str:
        """Return the path where the file that will get this name is written."""
        return self.staging.staged(name)

    def identity(self) -> RunIdentity | None:
        """Return the identity of the unfinished run, or None."""
        return self._parsed(PLAN, identity_of)

    def names(self) -> tuple[str, ...]:
        """Return the names of the files that the unfinished run was to write."""
        names = self._parsed(PLAN, lambda document: document["files"])
        return tuple(name for name in names or () if self._is_name(name))

    def commit(self) -> Commit | None:
        """Return the commit that was begun, or None."""
        commit = self._parsed(COMMIT, _commit)
        if commit is None:
            if self.has_commit():  # a directory, a device, a link that leads nowhere, an empty file
                raise not_ours(self.path(COMMIT), self.home)
            return None
        named = (*commit.exchange.old, *commit.exchange.new)
        if not named or not all(self._is_name(each.name) for each in named):
            raise not_ours(self.path(COMMIT), self.home)
        return commit

    def has_commit(self) -> bool:
        """Whether a commit was begun."""
        return self.staging.own.identity(COMMIT) is not None

    def receipts(self) -> dict[str, Receipt]:
        """Return the receipts of the finished files, by name, as far as the files are theirs."""
        files = self.staging.files()
        if files is None:
            return {}
        inodes = self.staging.target.keeps_inodes()
        found: dict[str, Receipt] = {}
        mark = ""
        with files:
            for name, (receipt, seen, run) in self._receipts.all().items():
                mark = mark or (run and self._mark())
                if run and run != mark:
                    continue
                there = files.identity(name) if self._is_name(name) else None
                if there is not None and there.is_unchanged(seen, inodes=inodes):
                    found[name] = receipt
        return found

    def begin(self, identity: RunIdentity, names: Collection[str]) -> None:
        """Make the directory of the staged files, and note what is about to be done.

        The plan's durable rename makes the directory's name durable as well.
        """
        if identity.shared:
            self._receipts.share()
        self.staging.make_files()
        self._write(PLAN, {**asdict(identity), "files": list(names)})

    def add(self, receipt: Receipt) -> None:
        """Note a finished file, durably, with what it is."""
        seen = self.staging.identity(receipt.filename)
        if seen is None:
            raise StorageError(
                f"'{self.staged(receipt.filename)}' is gone",
                hint="another program removed it; run the command again",
                file=self.staged(receipt.filename),
            )
        self._receipts.add(receipt, seen)

    def publish(self, receipt: Receipt, fresh: str) -> bool:
        """Note a finished file of a shared run, durably; false where the file is gone.

        As `Receipts.publish` does.
        """
        seen = self.staging.identity(receipt.filename)
        if seen is not None:
            self._receipts.publish(Noted(receipt, seen, self._mark()), fresh)
        return seen is not None

    def forget(self, name: str) -> None:
        """Forget one file of a shared run, and remove it."""
        self._receipts.forget(name)
        self.staging.remove_staged([name])

    def keep(self, names: Collection[str]) -> None:
        """Continue with these finished files; forget and remove the others.

        A receipt must not outlive its file: a file that is written again has its full size from the
        start.
        """
        self._receipts.keep(names)
        gone = [name for name in self.names() if name not in names]
        self.staging.remove_staged(gone, kept=names)

    def begin_commit(self, commit: Commit) -> None:
        """Note how the files get their names. From here on the run only goes forward."""
        self._write(COMMIT, asdict(commit))

    def end(self) -> None:
        """Forget the run: its files, and what the journal says of it."""
        names = {*self.names(), *self._receipts.all()}
        known = [name for name in names if self._is_name(name)]
        self.staging.remove_staged(known)
        remove_workspaces(self.staging, known)
        self._receipts.clear()
        # The commit goes last: as long as anything of this run is left, the next run removes it.
        fresh = (f"{name}{FRESH}" for name in (PLAN, LINES, COMMIT))
        left = [
            name
            for name in (*fresh, PLAN, OLD_RECORD, COMMITTING, COMMIT)
            if self.staging.own.identity(name) is not None
        ]
        for name in left:
            self.staging.own.remove(name)
        # After a power cut a commit must not come back: until it is finished again, its files are
        # not a source. Where nothing was there, nothing can.
        if left or names:
            self.staging.own.sync()

    def _mark(self) -> str:
        identity = self.identity()
        return "" if identity is None else identity.mark

    def _parsed(self, name: str, parse: Callable[[Mapping[str, Any]], _T]) -> _T | None:
        return read_document(self._store, self.home, name, parse)

    def _is_name(self, name: object) -> bool:
        return is_file_name(self._store, name)

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        put(self._store, self.home, name, document_bytes(document))


def is_file_name(store: Store, name: object) -> bool:
    """Whether a name leads to a file in a directory or below it, by the store's own rules."""

    def is_plain(part: str) -> bool:
        return part not in ("", ".", "..", STAGING) and store.split(part) == ("", part)

    return isinstance(name, str) and all(map(is_plain, name.split("/")))


def identity_of(document: Mapping[str, Any]) -> RunIdentity:
    """Return the identity in a JSON document; raises KeyError and TypeError for anything else."""
    return RunIdentity(
        document["plan_id"],
        document["options"],
        versions_of(document["sources"]),
        document.get("shared", False),
    )


def versions_of(document: Mapping[str, Any]) -> dict[str, Version]:
    """Return the versions in a JSON document, by name.

    Raises TypeError and AttributeError for anything else.
    """
    return {path: Version(**version) for path, version in document.items()}


def _commit(document: Mapping[str, Any]) -> Commit:
    return Commit(
        identity=identity_of(document["identity"]),
        directory=Identity(**document["directory"]),
        exchange=Exchange(_named(document["exchange"]["old"]), _named(document["exchange"]["new"])),
        receipts=tuple(receipt_of(receipt) for receipt in document["receipts"]),
        replaced_source=tuple(document["replaced_source"]),
        undone=document["undone"],
    )


def _named(documents: list[Mapping[str, Any]]) -> tuple[Named, ...]:
    return tuple(Named(each["name"], Identity(**each["seen"])) for each in documents)
