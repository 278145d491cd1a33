"""Uploads to a bucket, in parts that are sent or copied by the server.

Source: the API reference of Amazon S3, and "Amazon S3 multipart upload limits" in its user guide.
Each upload has a token in the metadata of its object, by which a completed one is known.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from shardctl.errors import MissingError, SourceChangedError, StorageError, TargetExistsError
from shardctl.model import Extent, Version
from shardctl.stores.faults import shown
from shardctl.stores.remote.reader import changed
from shardctl.stores.remote.s3.service import (
    AbsentError,
    DeniedError,
    S3Service,
    UnmetError,
    UnsupportedError,
)
from shardctl.stores.uploads import PartLimits, SentPart, Upload

#: Bytes of the largest object or range that is copied by one request.
_MOST_COPIED = 5 * 1024**3
LIMITS = PartLimits(least=5 * 1024**2, most=_MOST_COPIED, count=10_000)
#: The name of the token in an object's metadata (`x-amz-meta-shardctl`).
_TOKEN = "shardctl"  # noqa: S105 - no secret

Gone = TypeVar("Gone", StorageError, MissingError)


class S3Uploads:
    """The uploads of one bucket; `base` is its URL, which all paths begin with."""

    def __init__(self, base: str, service: S3Service) -> None:
        self.base = base
        self._service = service

    def begin(self, path: str) -> Upload:
        """Begin to upload an object."""
        token = os.urandom(8).hex()
        made = self._call(path, "create_multipart_upload", Metadata={_TOKEN: token})
        return Upload(path, made["UploadId"], token)

    def send(self, upload: Upload, number: int, data: bytes | bytearray | memoryview) -> SentPart:
        """Send a part, with its MD5: the server refuses what arrives otherwise.

        Raises StorageError, also where the upload is gone.
        """
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        try:
            sent = self._call(
                upload.path,
                "upload_part",
                UploadId=upload.id,
                PartNumber=number,
                # Not copied where that can be left out: several large parts are sent at once.
                Body=bytes(data) if isinstance(data, memoryview) else data,
                ContentMD5=b64encode(digest).decode("ascii"),
            )
        except AbsentError:
            raise _gone(StorageError, upload) from None
        self._service.count(sent=len(data))
        return SentPart(number, len(data), _quoted(sent["ETag"]))

    def copy(
        self, upload: Upload, number: int, extent: Extent, version: Version
    ) -> SentPart | None:
        """Let a range of an object of this version be a part; None where the server refuses.

        Raises SourceChangedError, and as `send`.
        """
        bucket, _, key = extent.path.partition("://")[2].partition("/")
        try:
            copied = self._call(
                upload.path,
                "upload_part_copy",
                UploadId=upload.id,
                PartNumber=number,
                CopySource={"Bucket": bucket, "Key": key},
                CopySourceRange=f"bytes={extent.offset}-{extent.end - 1}",
                CopySourceIfMatch=version.mark,
            )
        except UnmetError:
            raise changed(extent.path) from None
        except AbsentError as error:
            if "NoSuchUpload" in error.message:
                raise _gone(StorageError, upload) from None
            raise SourceChangedError(
                f"{shown(extent.path)} is gone",
                hint="find out which program removed it, and run the same command again",
                file=extent.path,
            ) from None
        except (UnsupportedError, DeniedError):
            return None  # it could be read, and is sent then
        self._service.count(copied=extent.length)
        return SentPart(number, extent.length, _quoted(copied["CopyPartResult"]["ETag"]))

    def parts(self, upload: Upload) -> tuple[SentPart, ...]:
        """Return the parts that the server has, in order; raises MissingError."""
        try:
            pages = list(
                self._pages(
                    upload.path,
                    "list_parts",
                    {"Key": self.key(upload.path), "UploadId": upload.id},
                    {"NextPartNumberMarker": "PartNumberMarker"},
                )
            )
        except AbsentError:
            raise _gone(MissingError, upload) from None
        return tuple(
            SentPart(part["PartNumber"], part["Size"], _quoted(part["ETag"]))
            for page in pages
            for part in page.get("Parts", ())
        )

    def complete(
        self, upload: Upload, parts: Sequence[SentPart], replaces: Version | None
    ) -> Version:
        """Let the object appear, once more if need be; raises as `Uploads.complete_upload`.

        What is there, and whether all parts are, is looked at first: not every server knows the
        condition, or says that an upload is gone.
        """
        there, token = self._head(upload.path)
        if there != replaces:
            if there is not None and token == upload.token:
                return there
            raise _conflict(upload.path)
        listed = [{"PartNumber": part.number, "ETag": part.mark} for part in parts]
        try:
            if self.parts(upload) != tuple(parts):
                raise StorageError(
                    f"the upload of {shown(upload.path)} has other parts than were sent",
                    hint="another program has changed it; run the command again with "
                    '`replace="same"`',
                    code="half-done",
                    file=upload.path,
                )
            self._conditional(
                upload.path,
                "complete_multipart_upload",
                replaces,
                UploadId=upload.id,
                MultipartUpload={"Parts": listed},
            )
        except UnmetError:
            there, token = self._head(upload.path)
            if there is None or token != upload.token:
                raise _conflict(upload.path) from None
        except (AbsentError, MissingError):
            # A first try may have succeeded whose answer was lost.
            there, token = self._head(upload.path)
            if there is None or token != upload.token:
                raise StorageError(
                    f"the upload of {shown(upload.path)} is gone",
                    hint='run the command again with `replace="same"`; look for a rule of the '
                    "bucket that aborts uploads",
                    code="half-done",
                    file=upload.path,
                ) from None
        there, _ = self._head(upload.path)
        if there is None:
            raise _conflict(upload.path)
        return there

    def abort(self, upload: Upload) -> None:
        """Forget an upload; one that is gone already is fine."""
        try:
            self._call(upload.path, "abort_multipart_upload", UploadId=upload.id)
        except AbsentError:
            return

    def all(self, directory: str) -> list[Upload]:
        """Return the uploads that have begun and not ended, of objects below a directory."""
        key = self.key(directory)
        pages = self._pages(
            directory,
            "list_multipart_uploads",
            {"Prefix": f"{key}/" if key else ""},
            {"NextKeyMarker": "KeyMarker", "NextUploadIdMarker": "UploadIdMarker"},
        )
        return [
            Upload(f"{self.base}/{each['Key']}", each["UploadId"])
            for page in pages
            for each in page.get("Uploads", ())
        ]

    def put(self, path: str, data: bytes, replaces: Version | str | None = "any") -> Version:
        """Write an object in one step, over any, one of a version, or (None) under a free name.

        Raises UnmetError.
        """
        if isinstance(replaces, str):
            made = self._call(path, "put_object", Body=data)
        else:
            made = self._conditional(path, "put_object", replaces, Body=data)
        return Version(len(data), made["ETag"])

    def remove(self, path: str) -> None:
        """Remove an object; one that does not exist is fine."""
        self._call(path, "delete_object")

    def remove_version(self, path: str, version: Version) -> bool:
        """Remove an object of this version; return whether no other has the name now."""
        there, _ = self._head(path)
        if there is None:
            return True
        if there != version:
            return False
        try:
            self._conditional(path, "delete_object", version)
        except UnmetError:
            return False
        except AbsentError:
            pass
        return True

    def copy_object(self, old: str, new: str, version: Version) -> None:
        """Copy an object of this version to another name, over any object there."""
        if version.size <= _MOST_COPIED:
            source = {"Bucket": self._service.bucket, "Key": self.key(old)}
            self._call(new, "copy_object", CopySource=source, CopySourceIfMatch=version.mark)
            return
        upload = self.begin(new)
        parts: list[SentPart] = []
        for begin in range(0, version.size, _MOST_COPIED):
            extent = Extent(old, begin, min(_MOST_COPIED, version.size - begin))
            copied = self.copy(upload, len(parts) + 1, extent, version)
            if copied is None:
                self.abort(upload)
                raise StorageError(
                    f"{shown(old)} cannot be copied by the object store",
                    hint="rename it with a program of that store",
                    file=old,
                )
            parts.append(copied)
        self.complete(upload, parts, self._head(new)[0])

    def key(self, path: str) -> str:
        """Return the key of a path, without slashes around it."""
        return path.removeprefix(self.base).strip("/")

    def _head(self, path: str) -> tuple[Version | None, str | None]:
        """Return the version of an object now, None for a free name, and its upload's token."""
        try:
            found = self._call(path, "head_object")
        except AbsentError:
            return None, None
        version = Version(found["ContentLength"], found["ETag"])
        return version, found.get("Metadata", {}).get(_TOKEN)

    def _conditional(
        self, path: str, operation: str, replaces: Version | None, **parameters: Any
    ) -> Mapping[str, Any]:
        # Without quotes, as in Amazon's examples: Ceph compares it with an ETag that has none.
        match = "" if replaces is None else replaces.mark.strip('"')
        condition = {"IfNoneMatch": "*"} if replaces is None else {"IfMatch": match}
        try:
            return self._call(path, operation, **condition, **parameters)
        except UnsupportedError:
            # The caller looked at what is there just before, or looks at it afterwards.
            return self._call(path, operation, **parameters)

    def _call(self, path: str, operation: str, **parameters: Any) -> Mapping[str, Any]:
        return self._service.call(path, operation, Key=self.key(path), **parameters)

    def _pages(
        self, path: str, operation: str, parameters: Mapping[str, Any], markers: Mapping[str, str]
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the answers of a listing, each of which says where the next begins."""
        asked = dict(parameters)
        while True:
            page = self._service.call(path, operation, **asked)
            yield page
            if not page.get("IsTruncated"):
                return
            asked |= {ours: page[theirs] for theirs, ours in markers.items() if theirs in page}


def _quoted(mark: str) -> str:
    """Return an ETag in its quotes, which Ceph leaves out of the answer to a copy."""
    return f'"{mark.strip(chr(34))}"'


def _gone(kind: type[Gone], upload: Upload) -> Gone:
    return kind(
        f"the upload of {shown(upload.path)} is gone",
        hint="another program aborted it: run the same command again",
        file=upload.path,
    )


def _conflict(path: str) -> TargetExistsError:
    return TargetExistsError(
        f"{shown(path)} appeared or changed while files were being replaced",
        hint="move it to another directory, and run the same command again",
        code="target-changed",
        file=path,
    )
