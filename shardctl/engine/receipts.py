"""Receipts: what was written, and how a run finds that again after it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shardctl.stores.atomic import put
from shardctl.stores.base import Appends, Copied, Store
from shardctl.stores.optional import remove_directory, sync_directory

#: The file of the receipts, one line each; and the directory of the receipts, one file each, in a
#: store that cannot append.
LINES, EACH = "receipts.jsonl", "receipts"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was written: a file's name, its size in bytes, and how its bytes were copied.

    `sha256` is in hexadecimal; None where it was not asked for.
    """

    filename: str
    nbytes: int
    sha256: str | None
    copied: Copied


def receipt_of(document: Mapping[str, Any]) -> Receipt:
    """Return the receipt in a JSON document; raises KeyError and TypeError for anything else."""
    return Receipt(
        document["filename"], document["nbytes"], document["sha256"], Copied(**document["copied"])
    )


class Receipts:
    """The receipts in one staging directory, each of which is durable once it was added."""

    def __init__(self, store: Store, staging: str) -> None:
        self._store = store
        self._staging = staging
        self._lines = store.join(staging, LINES)
        self._each = store.join(staging, EACH)

    def all(self) -> dict[str, Receipt]:
        """Return the finished files by name. A receipt that a crash cut short is skipped."""
        found: dict[str, Receipt] = {}
        for text in self._texts():
            try:
                receipt = receipt_of(json.loads(text))
            except (ValueError, KeyError, TypeError):
                continue
            found[receipt.filename] = receipt
        return found

    def add(self, receipt: Receipt) -> None:
        """Note a finished file, durably."""
        if isinstance(self._store, Appends):
            self._store.append(self._lines, _line(receipt))
            return
        self._store.make_directory(self._each)
        path = self._store.join(self._each, receipt.filename)
        self._store.remove(path)
        text = _text(receipt)
        with self._store.create(path, len(text)) as writer:
            writer.write(0, text)
            writer.sync()
        sync_directory(self._store, self._each)

    def keep(self, receipts: Mapping[str, Receipt]) -> None:
        """Keep these receipts, by name, and forget the others."""
        if receipts.keys() == self.all().keys():
            return
        if isinstance(self._store, Appends):
            put(self._store, self._staging, LINES, b"".join(map(_line, receipts.values())))
            return
        for name in self._names():
            if name not in receipts:
                self._store.remove(self._store.join(self._each, name))

    def clear(self) -> None:
        """Forget them all."""
        self._store.remove(self._lines)
        if self._store.kind(self._each) == "directory":
            for name in self._names():
                self._store.remove(self._store.join(self._each, name))
            remove_directory(self._store, self._each)

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
            return reader.read(0, reader.version.size)


def _text(receipt: Receipt) -> bytes:
    return json.dumps(asdict(receipt), separators=(",", ":")).encode("ascii")


def _line(receipt: Receipt) -> bytes:
    """Return a receipt with a line break before it, so that a torn line before it ends there."""
    return b"\n" + _text(receipt)
