"""The requests that change a bucket: botocore makes them, since obstore completes what it sends.

Credentials come from botocore's own chain. Its exceptions are not passed on: they quote requests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from shardctl.errors import StorageError
from shardctl.stores.faults import shown
from shardctl.stores.remote.client import TransientError
from shardctl.stores.remote.extras import needed
from shardctl.stores.remote.http import TRANSIENT
from shardctl.stores.remote.retry import Patience, retried

Result = TypeVar("Result")

#: Seconds without a byte after which a request has failed: the server may take long to put the
#: parts of a large upload together, or to copy one.
_TIMEOUT = 120
#: Connections that are kept.
_CONNECTIONS = 64
#: Codes of errors, of the API reference of Amazon S3, "Error responses".
_UNMET = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
_ABSENT = frozenset({"NoSuchUpload", "NoSuchKey", "NotFound", "404"})
_UNKNOWN = frozenset({"NotImplemented", "MethodNotAllowed", "InvalidRequest"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_BUSY = frozenset({"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable"})
_ACCESS = (
    "check the credentials in the environment or the profile, and their region, and that they "
    "allow s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and "
    "s3:ListBucketMultipartUploads there"
)


class UnmetError(StorageError):
    """A condition of a request does not hold."""


class AbsentError(StorageError):
    """An object or an upload does not exist."""


class UnsupportedError(StorageError):
    """The server does not know a kind of request, or does not take it in this case."""


class DeniedError(StorageError):
    """The account may not do this."""


#: What a caller expects, by the codes and the statuses of its answers.
_KINDS: tuple[tuple[type[StorageError], frozenset[str], tuple[int, ...]], ...] = (
    (UnmetError, _UNMET, (412,)),
    (AbsentError, _ABSENT, ()),
    (UnsupportedError, _UNKNOWN, (405, 501)),
)


@dataclass
class S3Service:
    """Changes the objects of one bucket. Any number of threads may use it; it can be pickled.

    `requests` counts what was sent, tries again too; `sent` and `copied` are bytes of parts.
    """

    bucket: str
    patience: Patience = field(default_factory=Patience)
    requests: int = 0
    sent: int = 0
    copied: int = 0
    _client: Any = field(default=None, repr=False)
    _lock: Any = field(default_factory=Lock, repr=False)

    def __reduce__(self) -> tuple[type[S3Service], tuple[str, Patience]]:
        return S3Service, (self.bucket, self.patience)

    def call(self, path: str, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """Make a request about the object at `path`, again where it fails for a moment.

        `operation` is a method of botocore's client; bucket and key are added. Raises
        UnmetError, AbsentError, UnsupportedError, DeniedError, and StorageError for anything else.
        """

        def ask() -> Mapping[str, Any]:
            method: Callable[..., Mapping[str, Any]] = getattr(self._opened(path), operation)
            with _asking(path):
                return method(Bucket=self.bucket, **parameters)

        return retried(path, self.patience, ask, "written")

    def count(self, *, sent: int = 0, copied: int = 0) -> None:
        """Count bytes of parts."""
        with self._lock:
            self.sent += sent
            self.copied += copied

    def _opened(self, path: str) -> Any:
        with self._lock:
            if self._client is None:
                with needed("botocore", "cloud", path):
                    import botocore.session  # noqa: PLC0415 - when a URL asks for it
                try:
                    with _asking(path):
                        self._client = self._made(botocore.session.Session())
                except ValueError:  # an address that is not one
                    raise _configuration(path) from None
            return self._client

    def _made(self, session: Any) -> Any:
        from botocore import UNSIGNED  # noqa: PLC0415 - as above
        from botocore.config import Config  # noqa: PLC0415 - as above

        unsigned = os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true")
        virtual = os.environ.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() in ("1", "true")
        elsewhere = "AWS_ENDPOINT_URL" in os.environ or "AWS_ENDPOINT_URL_S3" in os.environ
        config = Config(
            # Each part has its MD5; checksums of other kinds are not known to every server.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": 1, "mode": "standard"},  # `retry` goes on
            max_pool_connections=_CONNECTIONS,
            read_timeout=_TIMEOUT,
            # As obstore does: a server of one's own rarely has a name for each bucket.
            s3={"addressing_style": "path" if elsewhere and not virtual else "auto"},
            **({"signature_version": UNSIGNED} if unsigned else {}),
        )
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
        client = session.create_client("s3", region_name=region, config=config)
        client.meta.events.register("before-send.s3", self._count_request)
        return client

    def _count_request(self, **_: object) -> None:
        with self._lock:
            self.requests += 1


@contextmanager
def _asking(path: str) -> Iterator[None]:
    """Raise what botocore raises as errors that name the path and nothing of the request."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("botocore"):
            raise
        raise _failed(path, error) from None


def _failed(path: str, error: Any) -> Exception:
    from botocore import exceptions  # noqa: PLC0415 - it is loaded where it has failed

    if isinstance(error, exceptions.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return _refused(path, code, status)
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return TransientError("the connection to the object store failed")
    credentials = (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.ProfileNotFound,
        exceptions.SSOError,
    )
    if isinstance(error, credentials):
        return _storage(path, "no credentials are found", _ACCESS)
    return _configuration(path)


def _refused(path: str, code: str, status: int | None) -> Exception:
    """Return the error for an answer that is one, by its code, else by its status."""
    if code in _EXPIRED:
        return _storage(path, "the session token has expired", "renew it, and run it again")
    if code == "NoSuchBucket":
        return _storage(path, "the bucket does not exist", "make it first, or check its name")
    if status in (401, 403):
        return _storage(path, "access denied", _ACCESS, DeniedError)
    if code in _BUSY or status in TRANSIENT:
        return TransientError(f"the object store answers {status}")
    kind = next(
        (kind for kind, codes, own in _KINDS if code in codes or status in own), StorageError
    )
    what = f"the object store answers {status}" + (f" ({code})" if code.isalnum() else "")
    return _storage(path, what, "see the log of the object store for the reason", kind)


def _configuration(path: str) -> StorageError:
    return _storage(
        path, "its configuration is invalid", "check the URL and the configuration of the cloud"
    )


def _storage(
    path: str, what: str, hint: str, kind: type[StorageError] = StorageError
) -> StorageError:
    return kind(f"{shown(path)} cannot be written: {what}", hint=hint, file=path)
