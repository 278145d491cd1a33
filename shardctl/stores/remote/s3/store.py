"""A bucket that is read and written: read by obstore, changed by botocore."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from shardctl.errors import MissingError, StorageError, TargetExistsError
from shardctl.model import Extent, Version
from shardctl.stores.base import Store
from shardctl.stores.capabilities import Traffic
from shardctl.stores.faults import shown
from shardctl.stores.remote.client import Client
from shardctl.stores.remote.reader import RemoteReader
from shardctl.stores.remote.retry import Patience
from shardctl.stores.remote.s3.locks import held
from shardctl.stores.remote.s3.service import S3Service, UnmetError
from shardctl.stores.remote.s3.uploads import LIMITS, S3Uploads
from shardctl.stores.remote.s3.writer import S3Writer, taken
from shardctl.stores.remote.store import RemoteFiles
from shardctl.stores.uploads import PartLimits, SentPart, Upload


class S3Store(RemoteFiles):
    """The objects of a bucket; `base` is `s3://BUCKET`."""

    part_limits: Final[PartLimits] = LIMITS

    def __init__(self, base: str, client: Client, patience: Patience | None = None) -> None:
        super().__init__(base, client, patience)
        self._service = S3Service(base.partition("://")[2], self._patience)
        self._uploads = S3Uploads(base, self._service)

    def traffic(self) -> Traffic:
        """Return what was asked for, received, sent, and copied by the server so far."""
        read = super().traffic()
        return Traffic(
            read.requests + self._service.requests,
            read.nbytes,
            self._service.sent,
            self._service.copied,
        )

    # Files, as in every store.

    def create(self, path: str, nbytes: int) -> S3Writer:
        """Create an object, which appears when it is closed; raises TargetExistsError."""
        self.forget()
        if self.kind(path) is not None:
            raise taken(path)
        return S3Writer(self._uploads, path, nbytes, lambda: self._changed(path))

    def make_directory(self, path: str) -> None:
        """Do nothing, but raise TargetExistsError where an object has that name."""
        if self.kind(path) == "file":
            raise TargetExistsError(
                f"{shown(path)} is a file", hint="choose another name", file=path
            )

    def rename(self, old: str, new: str) -> None:
        """Give an object another name: it is copied by the server, and then removed.

        Between the two both names have it. Raises StorageError.
        """
        try:
            version = self.version(old)
        except MissingError:
            raise StorageError(
                f"{shown(new)} cannot be made from {shown(old)}, which does not exist",
                hint="run the same command again",
                file=new,
            ) from None
        if old.rstrip("/") == new.rstrip("/"):
            return
        self._uploads.copy_object(old, new, version)
        self._uploads.remove_version(old, version)
        self._changed(old)
        self._changed(new)

    def remove(self, path: str) -> None:
        """Remove an object; one that does not exist is not an error, a directory is."""
        if self.kind(path) == "directory":
            raise StorageError(
                f"{shown(path)} is a directory", hint="remove the objects in it", file=path
            )
        self._uploads.remove(path)
        self._changed(path)

    def lock(self, path: str) -> AbstractContextManager[None]:
        """Hold a lock, which is an object; raises LockedError."""
        return self._locked(path)

    # Uploads.

    def begin_upload(self, path: str) -> Upload:
        """Begin to upload an object."""
        return self._uploads.begin(path)

    def send_part(
        self, upload: Upload, number: int, data: bytes | bytearray | memoryview
    ) -> SentPart:
        """Send a part; raises StorageError, also where the upload is gone."""
        return self._uploads.send(upload, number, data)

    def sent_parts(self, upload: Upload) -> tuple[SentPart, ...]:
        """Return the parts that the server has, in order; raises MissingError."""
        return self._uploads.parts(upload)

    def complete_upload(
        self, upload: Upload, parts: Sequence[SentPart], replaces: Version | None
    ) -> Version:
        """Let the object appear; raises TargetExistsError and StorageError."""
        try:
            return self._uploads.complete(upload, parts, replaces)
        finally:
            self._changed(upload.path)

    def abort_upload(self, upload: Upload) -> None:
        """Forget an upload; one that is gone already is fine."""
        self._uploads.abort(upload)

    def uploads(self, directory: str) -> Sequence[Upload]:
        """Return the uploads that have begun and not ended, of objects below a directory."""
        return self._uploads.all(directory)

    def put(self, path: str, data: bytes) -> None:
        """Write a small object in one step."""
        self._uploads.put(path, data)
        self._changed(path)

    def put_new(self, path: str, data: bytes) -> bool:
        """Write a small object in one step under a free name; return whether it was free."""
        try:
            self._uploads.put(path, data, None)
        except UnmetError:
            return False
        finally:
            self._changed(path)
        return True

    def remove_version(self, path: str, version: Version) -> bool:
        """Remove an object of this version; return whether no other has the name now."""
        try:
            return self._uploads.remove_version(path, version)
        finally:
            self._changed(path)

    # Copies by the server.

    def can_copy_from(self, source: Store) -> bool:
        """Whether another store is of buckets with the same server and the same credentials."""
        return isinstance(source, S3Store)

    def copy_part(
        self, upload: Upload, number: int, extent: Extent, version: Version
    ) -> SentPart | None:
        """Let a range of an object be a part; None where the server refuses to."""
        return self._uploads.copy(upload, number, extent, version)

    @contextmanager
    def _locked(self, path: str) -> Iterator[None]:
        def look() -> RemoteReader:
            self._changed(path)
            return self.open(path)

        try:
            with held(self._uploads, path, look):
                self._changed(path)
                yield
        finally:
            self._changed(path)
