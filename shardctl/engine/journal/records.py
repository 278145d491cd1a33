"""Records of finished runs, by which the next run knows that its result is there.

They are kept apart from the target: nothing but the checkpoint stays in it, and a record names
versions that hold for one machine only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from shardctl.engine.journal.journal import versions_of
from shardctl.errors import ShardctlError
from shardctl.formats.limits import MAX_JOURNAL_BYTES
from shardctl.model import Version
from shardctl.planning.request import Options
from shardctl.stores.atomic import put
from shardctl.stores.base import Store

RECORD_VERSION = 1


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A finished run: versions of the files that it read and wrote, by name."""

    plan_id: str
    options: Options
    sources: Mapping[str, Version]
    written: Mapping[str, Version]
    loads_from: str
    sha256: Mapping[str, str] = field(default_factory=dict)


class Records(Protocol):
    """Where the record of the last run into each target directory is kept."""

    def find(self, directory: str) -> RunRecord | None:
        """Return the record of the last run into a directory, None where there is none."""

    def keep(self, directory: str, record: RunRecord) -> None:
        """Keep a record. Where that cannot be done there is none, and no error."""

    def forget(self, directory: str) -> None:
        """Keep no record of a directory."""


class NoRecords:
    """Keeps none."""

    def find(self, directory: str) -> RunRecord | None:  # noqa: ARG002 - there is none of any
        """Return None."""
        return None

    def keep(self, directory: str, record: RunRecord) -> None:
        """Do nothing."""

    def forget(self, directory: str) -> None:
        """Do nothing."""


class Forgetting:
    """Finds the records that others keep, and removes one instead of keeping it."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def find(self, directory: str) -> RunRecord | None:
        """Return the record of the last run into a directory, None where there is none."""
        return self._records.find(directory)

    def keep(self, directory: str, record: RunRecord) -> None:  # noqa: ARG002 - it is not kept
        """Remove the record of the run before, which is none of this directory any more."""
        self._records.forget(directory)

    def forget(self, directory: str) -> None:
        """Keep no record of a directory."""
        self._records.forget(directory)


class StoredRecords:
    """Keeps a file for each target in a directory of a store.

    `resolved` gives the one path of a target directory, links and relative parts resolved.
    """

    def __init__(self, store: Store, directory: str, resolved: Callable[[str], str]) -> None:
        self._store = store
        self._directory = directory
        self._resolved = resolved

    def find(self, directory: str) -> RunRecord | None:
        """Return the record of the last run into a directory, None where there is none."""
        try:
            with self._store.open(self._path(directory)) as reader:
                if reader.version.size > MAX_JOURNAL_BYTES:
                    return None
                document = json.loads(reader.read(0, reader.version.size))
            if document["record_version"] != RECORD_VERSION:
                return None
            return _record(document)
        except (ShardctlError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def keep(self, directory: str, record: RunRecord) -> None:
        """Keep a record, if the directory of the records can be written."""
        document = {"record_version": RECORD_VERSION, "target": self._resolved(directory)}
        data = json.dumps({**document, **asdict(record)}, separators=(",", ":")).encode("ascii")
        with suppress(ShardctlError):
            self._store.make_directory(self._directory)
            put(self._store, self._directory, self._store.split(self._path(directory))[1], data)

    def forget(self, directory: str) -> None:
        """Keep no record of a directory."""
        with suppress(ShardctlError):
            self._store.remove(self._path(directory))

    def _path(self, directory: str) -> str:
        name = hashlib.sha256(self._resolved(directory).encode("utf-8", "surrogateescape"))
        return self._store.join(self._directory, f"{name.hexdigest()}.json")


def _record(document: Mapping[str, Any]) -> RunRecord:
    return RunRecord(
        plan_id=document["plan_id"],
        options=document["options"],
        sources=versions_of(document["sources"]),
        written=versions_of(document["written"]),
        loads_from=document["loads_from"],
        sha256=document["sha256"],
    )
