"""What a run leaves on disk: its identity, receipts, the commit to redo, and the last run's record.

The staging directory holds:

    files/          the files being written, under the names that they will have
    lock            held while a run is at work; names the holder
    plan.json       the run's plan id, options, and the versions of its sources
    receipts.jsonl  a line for each finished file, appended when the file is durable; in a store
                    that cannot append, a file for each in receipts/
    commit.json     exists once every file is finished: the renames and removals, in order
    record.json     the last finished run: plan id, and the versions of what it read and wrote

Every state is reached by one durable rename or one durable append, so a run that was killed
anywhere is resumed (before `commit.json`) or finished (after it).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from shardctl.engine.receipts import EACH, LINES, Receipt, Receipts, receipt_of
from shardctl.errors import StorageError
from shardctl.model import Version
from shardctl.planning.request import Options, option_differences
from shardctl.stores.atomic import FRESH, put
from shardctl.stores.base import Store
from shardctl.stores.optional import remove_directory, sync_directory
from shardctl.text import escape

#: The staging directory in a target directory, and the suffix of that of a target file.
STAGING = ".shardctl"
LOCK, PLAN, COMMIT, RECORD = "lock", "plan.json", "commit.json", "record.json"
#: The directory of the staged files.
FILES = "files"
JOURNAL_VERSION = 1

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What a run is: only a run with an equal identity may continue with its files.

    `sources` gives the versions of the files that are read, by name.
    """

    plan_id: str
    options: Options
    sources: Mapping[str, Version]

    def differences(self, other: RunIdentity) -> str:
        """Say how this run differs from `other`, the one now asked for: "with other options (…)"."""
        options = option_differences(self.options, other.options)
        if options:
            return f"with other options ({'; '.join(options)})"
        sources = [
            f"'{escape(name)}' {_source_difference(self.sources.get(name), other.sources.get(name))}"
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
    """How the staged files get their names. All are names in the target directory, in order.

    `remove_first`: the old index, where old and new shards share names, so that no loader mixes
    them. `renames`: what was staged, the file that makes the set visible last. `remove_last`: the
    superseded set. `record`: whether a record of the run is kept.
    """

    identity: RunIdentity
    remove_first: tuple[str, ...]
    renames: tuple[str, ...]
    remove_last: tuple[str, ...]
    receipts: tuple[Receipt, ...]
    record: bool = True


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The last finished run: versions of the files that it read and wrote, by name."""

    plan_id: str
    options: Options
    sources: Mapping[str, Version]
    written: Mapping[str, Version]
    loads_from: str
    sha256: Mapping[str, str] = field(default_factory=dict)


def unfinished(store: Store, directory: str) -> Iterator[tuple[str, bool]]:
    """Yield the staging directories of the unfinished runs into a directory.

    Each with whether its commit was begun: then the directory may hold old and new files.
    """
    for entry in store.list(directory):
        if entry.kind == "directory" and entry.name.endswith(STAGING):
            staging = store.join(directory, entry.name)
            if store.kind(store.join(staging, COMMIT)) == "file":
                yield staging, True
            elif store.kind(store.join(staging, PLAN)) == "file":
                yield staging, False


class Journal:
    """The journal in one staging directory. Only the holder of the lock writes to it."""

    def __init__(self, store: Store, staging: str) -> None:
        self._store = store
        self._receipts = Receipts(store, staging)
        self.staging = staging

    @property
    def files(self) -> str:
        """The directory of the staged files, apart from the journal's own files."""
        return self._store.join(self.staging, FILES)

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories that a run makes for itself."""
        return (self.staging, self.files, self._store.join(self.staging, EACH))

    def path(self, name: str) -> str:
        """Return the path of one of the journal's own files."""
        return self._store.join(self.staging, name)

    def staged(self, name: str) -> str:
        """Return the path where the file that will get this name is written."""
        return self._store.join(self.files, name)

    def identity(self) -> RunIdentity | None:
        """Return the identity of the unfinished run, or None."""
        return self._parsed(PLAN, _identity)

    def commit(self) -> Commit | None:
        """Return the commit that was begun, or None."""
        commit = self._parsed(COMMIT, _commit)
        if commit is None:
            return None
        # A directory from elsewhere may come with a commit: nothing outside it is to be removed or
        # replaced.
        names = (*commit.remove_first, *commit.renames, *commit.remove_last)
        if not commit.renames or not all(map(self._is_plain, names)):
            raise self._foreign(COMMIT)
        return commit

    def record(self) -> RunRecord | None:
        """Return the record of the last finished run, or None."""
        return self._parsed(RECORD, _record)

    def receipts(self) -> dict[str, Receipt]:
        """Return the receipts of the finished files, by name."""
        return self._receipts.all()

    def begin(self, identity: RunIdentity) -> None:
        """Note what is about to be done."""
        self._write(PLAN, {**asdict(identity)})
        self._store.make_directory(self.files)

    def add(self, receipt: Receipt) -> None:
        """Note a finished file, durably."""
        self._receipts.add(receipt)

    def keep(self, receipts: Mapping[str, Receipt]) -> None:
        """Continue with these finished files, by name; forget and remove the others.

        A receipt must not outlive its file: a file that is written again has its full size from the
        start.
        """
        self._receipts.keep(receipts)
        self.sweep(keep=tuple(receipts))

    def begin_commit(self, commit: Commit) -> None:
        """Note how the files get their names. From here on the run can only go forward."""
        document = asdict(commit)
        self._write(COMMIT, {"header": document.pop("identity"), **document})

    def finish(self, record: RunRecord | None) -> None:
        """Leave the record, or none, and forget the run."""
        if record is None:
            self._store.remove(self.path(RECORD))
        else:
            self._write(RECORD, asdict(record))
        self.sweep(keep=())
        self._store.remove(self.path(PLAN))
        self._receipts.clear()
        # The commit goes last: as long as anything of this run is left, the next run removes it.
        self._store.remove(self.path(COMMIT))
        # After a power cut a commit must not come back: until it is finished again, its files are
        # not a source.
        sync_directory(self._store, self.staging)

    def discard(self) -> None:
        """Discard an unfinished run: its files, and all of the journal but the record."""
        self._store.remove(self.path(PLAN))
        self._receipts.clear()
        self.sweep(keep=())

    def sweep(self, keep: Sequence[str]) -> None:
        """Remove every staged file but the named ones, and the directory with the last one."""
        for name in (PLAN, LINES, COMMIT, RECORD):
            self._store.remove(self.path(f"{name}{FRESH}"))
        if self._store.kind(self.files) != "directory":
            return
        for entry in self._store.list(self.files):
            if entry.name not in keep and entry.kind != "directory":
                self._store.remove(self.staged(entry.name))
        if not keep:
            remove_directory(self._store, self.files)

    def _bytes(self, name: str) -> bytes:
        path = self.path(name)
        if self._store.kind(path) != "file":
            return b""
        with self._store.open(path) as reader:
            return reader.read(0, reader.version.size)

    def _parsed(self, name: str, parse: Callable[[Mapping[str, Any]], _T]) -> _T | None:
        data = self._bytes(name)
        if not data:
            return None
        try:
            document = json.loads(data)
            if document["journal_version"] == JOURNAL_VERSION:
                return parse(document)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        raise self._foreign(name)

    def _foreign(self, name: str) -> StorageError:
        return StorageError(
            f"'{self.path(name)}' is not a journal that this version of shardctl wrote",
            hint=f"look at '{self.staging}', and remove that directory if it is not needed",
            file=self.path(name),
        )

    def _is_plain(self, name: object) -> bool:
        """Whether a name is that of a file in the directory itself, by the store's own rules."""
        return (
            isinstance(name, str)
            and name not in ("", ".", "..")
            and self._store.split(name) == ("", name)
        )

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        whole = {"journal_version": JOURNAL_VERSION, **document}
        data = json.dumps(whole, separators=(",", ":")).encode("ascii")
        put(self._store, self.staging, name, data)


def _versions(document: Mapping[str, Any]) -> dict[str, Version]:
    return {path: Version(**version) for path, version in document.items()}


def _commit(document: Mapping[str, Any]) -> Commit:
    return Commit(
        identity=_identity(document["header"]),
        remove_first=tuple(document["remove_first"]),
        renames=tuple(document["renames"]),
        remove_last=tuple(document["remove_last"]),
        receipts=tuple(receipt_of(receipt) for receipt in document["receipts"]),
        record=document["record"],
    )


def _record(document: Mapping[str, Any]) -> RunRecord:
    return RunRecord(
        plan_id=document["plan_id"],
        options=document["options"],
        sources=_versions(document["sources"]),
        written=_versions(document["written"]),
        loads_from=document["loads_from"],
        sha256=document["sha256"],
    )


def _identity(document: Mapping[str, Any]) -> RunIdentity:
    return RunIdentity(document["plan_id"], document["options"], _versions(document["sources"]))
