"""Object stores: `s3://bucket/key`, `gs://bucket/key` and `az://container/key`.

obstore asks them, and tries again what fails. Credentials come from the environment and from where
each cloud keeps them on its own machines; for S3 from boto3 (profiles, single sign-on), where that
is installed. Versions are ETags.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shardctl.errors import MissingError, StorageError, UsageError
from shardctl.model import Version
from shardctl.stores.base import Entry, Store
from shardctl.stores.faults import shown
from shardctl.stores.remote.client import CHUNK_BYTES, Answer, TransientError
from shardctl.stores.remote.extras import needed
from shardctl.stores.remote.http import TRANSIENT, check_host
from shardctl.stores.remote.reader import changed
from shardctl.stores.remote.s3.store import S3Store
from shardctl.stores.remote.store import RemoteStore

if TYPE_CHECKING:
    from obstore.store import ObjectStore

#: How often obstore tries a request; then `retry` goes on.
_TRIES = 3
#: Variables with the address of a server that is not Amazon's.
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
#: What is in the text of an error where a connection failed, and where it was for credentials: the
#: address of the metadata services of all clouds.
_CONNECTION = re.compile(r"error sending request|timed out|TimedOut|connection|Body|Decode")
_METADATA = re.compile(r"169\.254\.169\.254|metadata\.google")
#: What is in the text of an error where the answer is not the range that was asked for.
_NO_RANGE = re.compile(r"non-partial response|Requested \d+\.\.\d+, got ")
#: Names of objects that obstore does not take, and a list that holds one.
_INVALID = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[\x00-\x1f\x7f\ud800-\udfff]")
_STATUS = re.compile(r"status code: (\d{3})\b")


def open_cloud(url: str) -> tuple[Store, str]:
    """Return the store of a bucket or a container, and the path that a URL means."""
    scheme, _, rest = url.partition("://")
    bucket, *keys = rest.split("/")
    scheme = scheme.lower()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", bucket):
        # The URL is not quoted: what is wrong with it may be a password.
        raise UsageError(
            f"a URL of {scheme}:// does not name a bucket",
            hint=f"write {scheme}://BUCKET/PATH, without credentials: these come from the "
            "environment and from the configuration of the cloud's own programs",
        )
    base = f"{scheme}://{bucket}"
    client = CloudClient(base)
    store: Store = S3Store(base, client) if scheme == "s3" else RemoteStore(base, client)
    return store, "/".join([base, *filter(None, keys)])


@dataclass
class CloudClient:
    """Asks one bucket or container."""

    base: str
    requests: int = 0
    nbytes: int = 0
    _place: ObjectStore | None = field(default=None, repr=False)
    _lock: Any = field(default_factory=Lock, repr=False)

    def __reduce__(self) -> tuple[type[CloudClient], tuple[str]]:
        return CloudClient, (self.base,)

    @property
    def at_once(self) -> int:
        """Object stores take many requests at once."""
        return 16

    @contextmanager
    def ranged(
        self, path: str, offset: int, length: int, expected: Version | None
    ) -> Iterator[Answer]:
        """Ask for a range of an object of the expected ETag; the version is size and ETag."""
        place = self._store()
        import obstore  # noqa: PLC0415 - when a URL asks for it

        options: dict[str, Any] = {"range": (offset, offset + length)}
        if expected is not None and expected.mark:
            options["if_match"] = expected.mark
        try:
            with _asking(path):
                result = obstore.get(place, self._key(path), options=options)
        except StorageError:
            # An empty object has no ranges, and the stores differ in what they answer.
            version = self.version(path)
            if version.size:
                raise
            yield Answer(version, iter(()))
            return
        meta = result.meta
        chunks = self._counted(path, iter(result.stream(CHUNK_BYTES)))
        yield Answer(Version(meta["size"], meta["e_tag"] or ""), chunks)

    def version(self, path: str) -> Version:
        """Return the version that an object has now."""
        place = self._store()
        import obstore  # noqa: PLC0415 - when a URL asks for it

        with _asking(path):
            meta = obstore.head(place, self._key(path))
        return Version(meta["size"], meta["e_tag"] or "")

    def entries(self, directory: str) -> list[Entry]:
        """Return the next part of each key below a directory."""
        place, prefix = self._store(), self._key(directory)
        import obstore  # noqa: PLC0415 - when a URL asks for it

        with _asking(directory):
            found = obstore.list_with_delimiter(place, prefix or None)
        directories = [
            Entry(name, "directory", None, 0)
            for each in found["common_prefixes"]
            if (name := each.rstrip("/").rpartition("/")[2])
        ]
        files = [
            Entry(each["path"].rpartition("/")[2], "file", None, each["size"])
            for each in found["objects"]
            if each["path"] != prefix
        ]
        return [*directories, *files]

    def _key(self, path: str) -> str:
        key = path.removeprefix(self.base).strip("/")
        if key and _INVALID.search(key):
            raise _unnamed(path)
        return key

    def _store(self) -> ObjectStore:
        with self._lock:
            self.requests += 1
            if self._place is None:
                self._place = self._opened()
            return self._place

    def _opened(self) -> ObjectStore:
        if self.base.startswith("s3:") and not all(map(_is_endpoint, _ENDPOINTS)):
            raise _failed(self.base, "", "")  # before obstore panics, and prints where
        with needed("obstore", "cloud", self.base):
            from obstore.store import from_url  # noqa: PLC0415 - when a URL asks for it
        provider = _boto3() if self.base.startswith("s3:") else None
        return from_url(
            self.base,
            retry_config={"max_retries": _TRIES},
            **({} if provider is None else {"credential_provider": provider}),
        )

    def _counted(self, path: str, chunks: Iterator[Any]) -> Iterator[bytes]:
        with _asking(path):
            for chunk in chunks:
                data = bytes(chunk)
                with self._lock:
                    self.nbytes += len(data)
                yield data


def _is_endpoint(variable: str) -> bool:
    """Whether a variable has the address of a server, or is not set."""
    value = os.environ.get(variable, "")
    try:
        parts = urlsplit(value)
        check_host(parts)
    except ValueError:
        return not value
    return parts.scheme in ("http", "https")


def _boto3() -> Any:
    """Return what asks boto3 for credentials; None without it, or where it knows of none."""
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - for S3 only

        return Boto3CredentialProvider()
    except (ImportError, ValueError):
        return None


@contextmanager
def _asking(path: str) -> Iterator[None]:
    """Raise what obstore raises as errors that name the path.

    Its own texts are left out, and so are its exceptions: they quote the URLs of requests.
    """
    try:
        yield
    except FileNotFoundError:
        raise MissingError(
            f"{shown(path)} does not exist", hint="check the bucket and the path", file=path
        ) from None
    except BaseException as error:
        # A panic of Rust has no other base, and no module that could be imported.
        if not type(error).__module__.startswith(("obstore", "pyo3_runtime")):
            raise
        raise _failed(path, type(error).__name__, str(error)) from None


def _failed(path: str, name: str, text: str) -> Exception:
    if name == "PreconditionError":
        return changed(path)
    if name == "InvalidPathError":
        return _unnamed(path)
    found = _STATUS.search(text)
    status = int(found[1]) if found else None
    no_credentials = _METADATA.search(text) is not None
    if status in TRANSIENT and not no_credentials:
        return TransientError(f"the object store answers {status}")
    if status is None and _CONNECTION.search(text) and not no_credentials:
        return TransientError("the connection to the object store failed")
    if status == 404:
        return MissingError(
            f"the bucket of {shown(path)} does not exist", hint="check its name", file=path
        )
    if (
        no_credentials
        or status in (401, 403)
        or name in ("PermissionDeniedError", "UnauthenticatedError")
    ):
        what = "access denied"
        hint = (
            "check the credentials in the environment or the profile, and their region; for a "
            "public bucket set AWS_SKIP_SIGNATURE, GOOGLE_SKIP_SIGNATURE or AZURE_SKIP_SIGNATURE "
            "to true"
        )
    elif _NO_RANGE.search(text):
        what = "the server sends other bytes than were asked for"
        hint = "download the object first, or use a server that answers requests for ranges"
    else:
        what = f"the object store answers {status}" if status else "its configuration is invalid"
        hint = "check the URL and the configuration of the cloud"
    return StorageError(f"{shown(path)} cannot be read: {what}", hint=hint, file=path)


def _unnamed(path: str) -> StorageError:
    return StorageError(
        f"{shown(path)} cannot be read: the name of an object there has a control character, or a "
        "part between slashes that is empty, a dot or two dots",
        hint="rename that object, or copy the objects of the checkpoint to another path",
        file=path,
    )
