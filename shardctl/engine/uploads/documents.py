"""The documents of a journal in an object store, as values: receipts and commits.

What parses them raises KeyError, TypeError, ValueError or AttributeError for anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shardctl.engine.journal.journal import RunIdentity, identity_of
from shardctl.engine.journal.receipts import receipt_of
from shardctl.engine.uploads.send import Sent
from shardctl.model import Version
from shardctl.stores.uploads import SentPart, Upload


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


def receipt_document(sent: Sent, mark: str) -> dict[str, Any]:
    """Return the document of a file that is uploaded by the run of a mark."""
    return {
        "run": mark,
        "receipt": asdict(sent.receipt),
        "upload": asdict(sent.upload),
        "parts": [[part.number, part.nbytes, part.mark] for part in sent.parts],
    }


def noted_of(document: Mapping[str, Any]) -> tuple[Sent, str]:
    """Return a file that is uploaded, and the mark of the run that noted it."""
    parts = tuple(SentPart(number, nbytes, mark) for number, nbytes, mark in document["parts"])
    receipt, upload = receipt_of(document["receipt"]), Upload(**document["upload"])
    return Sent(receipt, upload, parts), document["run"]


def commit_of(document: Mapping[str, Any]) -> UploadCommit:
    """Return the commit in a document."""
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
