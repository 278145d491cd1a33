"""What was done, on disk: receipts of a run that is under way, the commit to be redone, the record of the last run.

The staging folder holds:

    files/          the files being written, under the names that they will have
    lock            held while a run is at work; says who
    plan.json       the run's plan id, options, and the versions of its sources
    receipts.jsonl  one line for each finished file, appended when the file is durable
    commit.json     there once every file is finished: the renames and removals, in order, to be redone until done
    record.json     the last finished run: plan id, and the versions of what it read and wrote

Every state is reached by one durable rename or one durable append, so a run killed anywhere is
resumed (before `commit.json`) or finished (after it).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from shardctl.engine.task import Receipt
from shardctl.errors import StorageError
from shardctl.model import Version
from shardctl.stores.atomic import FRESH, put
from shardctl.stores.base import Copied, Store

LOCK, PLAN, RECEIPTS, COMMIT, RECORD = (
    "lock",
    "plan.json",
    "receipts.jsonl",
    "commit.json",
    "record.json",
)
#: The folder of the staged files.
FILES = "files"
JOURNAL_VERSION = 1

Options = Mapping[str, str | int | bool | None]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What a run is: only a run with an equal header may go on with its files."""

    plan_id: str
    options: Options
    sources: Mapping[str, Version]

    def differences(self, other: RunIdentity) -> list[str]:
        """In words, what `other` (the run now asked for) has different."""
        said = [
            f"{name.replace('_', '-')} was {self.options.get(name)!r} and is {other.options.get(name)!r}"
            for name in sorted({*self.options, *other.options})
            if self.options.get(name) != other.options.get(name)
        ]
        for path in sorted({*self.sources, *other.sources}):
            before, now = self.sources.get(path), other.sources.get(path)
            if before is None:
                said.append(f"source '{path}' was not read then")
            elif now is None:
                said.append(f"source '{path}' is not read now")
            elif before != now:
                said.append(f"source '{path}' has changed since")
        if not said and self.plan_id != other.plan_id:
            said.append("the content of the sources' headers, or the version of shardctl")
        return said


@dataclass(frozen=True, slots=True)
class Commit:
    """How the staged files take their names. All are names in the target folder, in the order in which to go.

    `remove_first`: the old index, where old and new shards share names, so that no loader mixes
    them. `renames`: what was staged, the file that makes the set visible last. `remove_last`: the
    superseded set. `record`: whether a record of the run shall stay.
    """

    header: RunIdentity
    remove_first: tuple[str, ...]
    renames: tuple[str, ...]
    remove_last: tuple[str, ...]
    receipts: tuple[Receipt, ...]
    record: bool = True

    @property
    def replaces(self) -> bool:
        """Whether a checkpoint that was there before gives way."""
        return bool(self.remove_first or self.remove_last)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The last finished run. `sources` and `written` give the versions of the files by path and by name."""

    plan_id: str
    options: Options
    sources: Mapping[str, Version]
    written: Mapping[str, Version]
    loads_from: str
    sha256: Mapping[str, str] = field(default_factory=dict)


class Journal:
    """The journal in one staging folder. Only the holder of the lock writes to it."""

    def __init__(self, store: Store, staging: str) -> None:
        self._store = store
        self.staging = staging

    @property
    def files(self) -> str:
        """The folder of the staged files: a folder of its own, so that no file of a source meets one of the journal."""
        return self._store.join(self.staging, FILES)

    def path(self, name: str) -> str:
        """The path of one of the journal's own files."""
        return self._store.join(self.staging, name)

    def staged(self, name: str) -> str:
        """Where the file that shall get this name is written."""
        return self._store.join(self.files, name)

    def header(self) -> RunIdentity | None:
        """The run that is under way here, or None."""
        return self._parsed(PLAN, _header)

    def commit(self) -> Commit | None:
        """The commit that was begun here, or None."""
        commit = self._parsed(COMMIT, _commit)
        if commit is None:
            return None
        # A folder from elsewhere may bring a commit of its own: nothing outside it shall be removed
        # or replaced.
        names = (*commit.remove_first, *commit.renames, *commit.remove_last)
        if not commit.renames or not all(map(self._is_plain, names)):
            raise self._foreign(COMMIT)
        return commit

    def record(self) -> RunRecord | None:
        """The last finished run, or None."""
        return self._parsed(RECORD, _record)

    def receipts(self) -> dict[str, Receipt]:
        """The finished files by name. A last line that a crash cut short is passed over."""
        found: dict[str, Receipt] = {}
        for line in self._bytes(RECEIPTS).split(b"\n"):
            try:
                receipt = _receipt(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue
            found[receipt.filename] = receipt
        return found

    def begin(self, header: RunIdentity) -> None:
        """Note what is about to be done."""
        self._write(PLAN, {**asdict(header)})
        self._store.make_directory(self.files)

    def add(self, receipt: Receipt) -> None:
        """Note a finished file, durably. A line begins with a newline, so that a torn one before it ends there."""
        self._store.append(self.path(RECEIPTS), _line(receipt))

    def keep(self, receipts: Mapping[str, Receipt]) -> None:
        """Go on with these finished files, by name; forget and remove the others.

        A receipt must not outlive its file: a file that is written again has its full size from the
        start.
        """
        if receipts.keys() != self.receipts().keys():
            lines = b"".join(_line(receipt) for receipt in receipts.values())
            put(self._store, self.staging, RECEIPTS, lines)
        self.sweep(keep=tuple(receipts))

    def begin_commit(self, commit: Commit) -> None:
        """From here on the run can only go forward."""
        self._write(COMMIT, asdict(commit))

    def finish(self, record: RunRecord | None) -> None:
        """Leave the record (or nothing) and forget the run."""
        if record is None:
            self._store.remove(self.path(RECORD))
        else:
            self._write(RECORD, asdict(record))
        self.sweep(keep=())
        # The commit goes last: as long as anything is left of this run, whoever comes next tidies
        # it up.
        for name in (PLAN, RECEIPTS, COMMIT):
            self._store.remove(self.path(name))
        # After a power cut a commit must not come back: until it is finished again its files are no
        # source.
        self._store.sync_directory(self.staging)

    def discard(self) -> None:
        """Throw a half-done run away: its files, and what the journal says of it. The record stays."""
        self._store.remove(self.path(PLAN))
        self._store.remove(self.path(RECEIPTS))
        self.sweep(keep=())

    def sweep(self, keep: Sequence[str]) -> None:
        """Remove every staged file but the named ones, and the folder with the last; the journal's own files stay."""
        for name in (PLAN, RECEIPTS, COMMIT, RECORD):
            self._store.remove(self.path(f"{name}{FRESH}"))
        if self._store.kind(self.files) != "directory":
            return
        for entry in self._store.list(self.files):
            if entry.name not in keep and entry.kind != "directory":
                self._store.remove(self.staged(entry.name))
        if not keep:
            self._store.remove_directory(self.files)

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
            hint=f"look at '{self.staging}', and remove that folder if nothing in it is needed",
            file=self.path(name),
        )

    def _is_plain(self, name: object) -> bool:
        """Whether a name is one of a file in the folder itself, by the store's own rules."""
        return (
            isinstance(name, str)
            and name not in ("", ".", "..")
            and self._store.split(name) == ("", name)
        )

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        put(
            self._store, self.staging, name, _dump({"journal_version": JOURNAL_VERSION, **document})
        )


def _line(receipt: Receipt) -> bytes:
    return b"\n" + _dump(asdict(receipt))


def _dump(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _versions(document: Mapping[str, Any]) -> dict[str, Version]:
    return {path: Version(**version) for path, version in document.items()}


def _commit(document: Mapping[str, Any]) -> Commit:
    return Commit(
        header=_header(document["header"]),
        remove_first=tuple(document["remove_first"]),
        renames=tuple(document["renames"]),
        remove_last=tuple(document["remove_last"]),
        receipts=tuple(_receipt(receipt) for receipt in document["receipts"]),
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


def _header(document: Mapping[str, Any]) -> RunIdentity:
    return RunIdentity(document["plan_id"], document["options"], _versions(document["sources"]))


def _receipt(document: Mapping[str, Any]) -> Receipt:
    return Receipt(
        document["filename"], document["nbytes"], document["sha256"], Copied(**document["copied"])
    )


STAGING = ".shardctl"
