"""Receipts: the files that a run has finished, so that an interrupted one is resumed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from shardctl.engine.journal.documents import document_of
from shardctl.formats.limits import MAX_JOURNAL_BYTES
from shardctl.stores.atomic import put, write_new
from shardctl.stores.base import Copied, Identity, Store
from shardctl.stores.capabilities import Appends
from shardctl.stores.optional import remove_directory, sync_directory

#: The file of the receipts, one line each; and the directory of the receipts, one file each, of a
#: shared run, and in a store that cannot append.
LINES, EACH = "receipts.jsonl", "receipts"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was written: a file's name, its size in bytes, and how its bytes were copied.

    `sha256` is in hexadecimal; None where it was not asked for. `damaged` says where bytes of the
    sources did not have the checksums recorded for them, and were accepted as they are. `sample` is
    the digest of the source blocks that `engine.journal.sample` chooses; None where none was taken.
    """

    filename: str
    nbytes: int
    sha256: str | None
    copied: Copied
    damaged: tuple[str, ...] = ()
    sample: str | None = None


def receipt_of(document: Mapping[str, Any]) -> Receipt:
    """Return the receipt in a JSON document; raises KeyError and TypeError for anything else."""
    return Receipt(
        document["filename"],
        document["nbytes"],
        document["sha256"],
        Copied(**document["copied"]),
        tuple(document.get("damaged", ())),
        document.get("sample"),
    )


class Noted(NamedTuple):
    """A receipt, and what its file was when it was noted.

    `run` is the mark of the shared run that the file is of, empty for any other run.
    """

    receipt: Receipt
    seen: Identity
    run: str = ""


class Receipts:
    """The receipts in one staging directory, each of which is durable once it was added."""

    def __init__(self, store: Store, staging: str) -> None:
        self._store = store
        self._staging = staging
        self._lines = store.join(staging, LINES)
        self._each = store.join(staging, EACH)

    def all(self) -> dict[str, Noted]:
        """Return what was noted, by file name. What a crash cut short is skipped."""
        found: dict[str, Noted] = {}
        for text in self._texts():
            try:
                document = document_of(text)
                noted = Noted(
                    receipt_of(document), Identity(**document["seen"]), document.get("run", "")
                )
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
            found[noted.receipt.filename] = noted
        return found

    def add(self, receipt: Receipt, seen: Identity) -> None:
        """Note a finished file, and what it is, durably."""
        if isinstance(self._store, Appends):
            self._store.append(self._lines, _line(Noted(receipt, seen)))
            return
        self._store.make_directory(self._each)
        path = self._own(receipt.filename)
        self._store.remove(path)
        write_new(self._store, path, _text(Noted(receipt, seen)))
        sync_directory(self._store, self._each)

    def share(self) -> None:
        """Make room for the receipts that several processes publish."""
        self._store.make_directory(self._each)

    def publish(self, noted: Noted, fresh: str) -> None:
        """Note a finished file in one durable step, whatever other processes note.

        The receipt is written to the path `fresh` first, which is this process's alone. Raises
        StorageError where there is no room any more, since the run was ended.
        """
        self._store.remove(fresh)
        write_new(self._store, fresh, _text(noted))
        self._store.rename(fresh, self._own(noted.receipt.filename))
        sync_directory(self._store, self._each)

    def forget(self, name: str) -> None:
        """Forget a file that was noted by `publish`."""
        self._store.remove(self._own(name))

    def keep(self, names: Collection[str]) -> None:
        """Keep the receipts of these files, and forget the others."""
        every = self.all()
        if every.keys() == set(names):
            return
        if isinstance(self._store, Appends):
            lines = b"".join(_line(noted) for name, noted in every.items() if name in names)
            put(self._store, self._staging, LINES, lines)
        kept = set(map(own_name, names))
        for name in self._names():
            if name not in kept:
                self._store.remove(self._store.join(self._each, name))

    def clear(self) -> None:
        """Forget them all."""
        self._store.remove(self._lines)
        if self._store.kind(self._each) == "directory":
            for name in self._names():
                self._store.remove(self._store.join(self._each, name))
            remove_directory(self._store, self._each)

    def _own(self, name: str) -> str:
        return self._store.join(self._each, own_name(name))

    def _names(self) -> list[str]:
        if self._store.kind(self._each) != "directory":
            return []
        return [entry.name for entry in self._store.list(self._each) if entry.kind == "file"]

    def _texts(self) -> Iterator[bytes]:
        if self._store.kind(self._lines) == "file":
            yield from self._read(self._lines).split(b"\n")
        for name in self._names():
            yield self._read(self._store.join(self._each, name))

    def _read(self, path: str) -> bytes:
        with self._store.open(path) as reader:
            # A file of any size may come with a directory from elsewhere; receipts are short.
            return reader.read(0, min(reader.version.size, MAX_JOURNAL_BYTES))


def own_name(filename: str) -> str:
    """Return the name of a receipt's own file, without the slashes of the file that it is for."""
    return filename.replace("%", "%25").replace("/", "%2F")


def _text(noted: Noted) -> bytes:
    document = {**asdict(noted.receipt), "seen": asdict(noted.seen)}
    if noted.run:
        document["run"] = noted.run
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _line(noted: Noted) -> bytes:
    """Return a receipt with a line break before it, so that a torn line before it ends there."""
    return b"\n" + _text(noted)
