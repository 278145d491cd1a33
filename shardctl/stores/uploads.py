"""What object stores offer in place of renames: files that appear when their uploads are completed.

A multipart upload holds the parts of one file, in order of their numbers, and no listing shows it
until it is completed: then the file is there, whole, in one step. Completing takes one small
request, so that many uploads are completed together at the end of a run. Source: "Uploading and
copying objects using multipart upload" in the user guide of Amazon S3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard, runtime_checkable

from shardctl.model import Extent, Version
from shardctl.stores.base import Store


@dataclass(frozen=True, slots=True)
class PartLimits:
    """What the parts of one upload may be: their sizes in bytes, and their number.

    The last part may be smaller than `least`. A server copies ranges only of files that are larger
    than that.
    """

    least: int
    most: int
    count: int


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that has begun. `id` is the store's own name for it.

    `token` is kept with the file, so that it is known for the one of this upload afterwards; it is
    empty where an upload was found in a listing, and can only be aborted.
    """

    path: str
    id: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part that the store has: its number, from 1, its bytes, and the store's mark for it."""

    number: int
    nbytes: int
    mark: str


@runtime_checkable
class Uploads(Protocol):
    """A store in which a file is uploaded in parts, and appears when its upload is completed.

    Nothing is renamed there. What is read is as new as the last call of `forget`, or of a method
    that changes something.
    """

    @property
    def part_limits(self) -> PartLimits: ...

    def begin_upload(self, path: str) -> Upload:
        """Begin to upload a file, whether or not there is one of that name."""

    def send_part(
        self, upload: Upload, number: int, data: bytes | bytearray | memoryview
    ) -> SentPart:
        """Send a part; one of the same number is replaced. Any number of threads may do so.

        Raises StorageError, also where the upload is gone.
        """

    def sent_parts(self, upload: Upload) -> tuple[SentPart, ...]:
        """Return the parts that the store has, in order; raises MissingError without the upload."""

    def complete_upload(
        self, upload: Upload, parts: Sequence[SentPart], replaces: Version | None
    ) -> Version:
        """Let the file appear, in place of one of the version `replaces`, or under a free name.

        It can be repeated: where the file of this upload is there already, its version is returned.
        Raises TargetExistsError (`target-changed`) where the name has another file, and
        StorageError (`half-done`) where the upload is gone.
        """

    def abort_upload(self, upload: Upload) -> None:
        """Forget an upload and its parts; one that is gone already is fine."""

    def uploads(self, directory: str) -> Sequence[Upload]:
        """Return the uploads that have begun and not ended, of files in or below a directory."""

    def put(self, path: str, data: bytes) -> None:
        """Write a small file in one step, over one of the same name."""

    def put_new(self, path: str, data: bytes) -> bool:
        """Write a small file in one step under a free name; return whether it was free.

        Of several that do so at once one succeeds, unless the server knows no condition: then all
        do, and the last one's file is there.
        """

    def remove_version(self, path: str, version: Version) -> bool:
        """Remove a file of this version; return whether no other file has the name now."""

    def forget(self) -> None:
        """Look at the store afresh from now on: another program may have changed it."""


@runtime_checkable
class CopiesParts(Protocol):
    """A store whose server takes parts of an upload from files that it has, without a transfer."""

    def can_copy_from(self, source: Store) -> bool:
        """Whether the files of another store are within reach of the server."""

    def copy_part(
        self, upload: Upload, number: int, extent: Extent, version: Version
    ) -> SentPart | None:
        """Let a range of a file of this version be a part; None where the server refuses to.

        Raises SourceChangedError where the file is of another version, and as `send_part`.
        """


class UploadStore(Store, Uploads, Protocol):
    """A store with uploads."""


def has_uploads(store: Store) -> TypeGuard[UploadStore]:
    """Whether files appear in a store by uploads that are completed."""
    return isinstance(store, Uploads)
