"""Requests that change a bucket: what fails is named, and nothing of the request is."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from shardctl.errors import MissingError, StorageError, UsageError
from shardctl.model import Extent, Version
from shardctl.stores.remote.retry import Patience
from shardctl.stores.remote.s3.service import (
    AbsentError,
    DeniedError,
    S3Service,
    UnmetError,
    UnsupportedError,
)
from shardctl.stores.remote.s3.uploads import S3Uploads
from shardctl.stores.uploads import Upload
from tests.support.s3_server import SECRET, SETTINGS, needs_cloud

pytestmark = needs_cloud
PATH = "s3://bucket/a"
QUICK = Patience(tries=2, first=0.01)


class Answers(ThreadingHTTPServer):
    """A server that answers every request alike, and counts them."""

    status = 200
    code = ""
    count = 0
    failures = 1_000


class Handler(BaseHTTPRequestHandler):
    """Answers as S3 does."""

    server: Answers

    def do_PUT(self) -> None:
        """Read what is sent, and answer."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.count += 1
        if self.server.count > self.server.failures:
            self.server.status, self.server.code = 200, ""
        body = f"<Error><Code>{self.server.code}</Code><Message>{SECRET}</Message></Error>"
        data = body.encode() if self.server.code else b""
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", '"x"')
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        """Answer a question in the same way."""
        self.do_PUT()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """The server that is asked, with made-up credentials."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    with Answers(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def put(service: S3Service) -> None:
    """Write an object."""
    service.call(PATH, "put_object", Key="a", Body=b"data")


def test_requests_are_counted(server: Answers) -> None:
    """Each request that is sent counts, and a service that went elsewhere does the same."""
    service = S3Service("bucket", QUICK)
    put(service)
    assert service.requests == server.count == 1
    other = pickle.loads(pickle.dumps(service))
    put(other)
    assert (other.requests, server.count) == (1, 2)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (412, "PreconditionFailed", UnmetError),
        (409, "ConditionalRequestConflict", UnmetError),
        (404, "NoSuchKey", AbsentError),
        (404, "NoSuchUpload", AbsentError),
        (403, "AccessDenied", DeniedError),
        (400, "InvalidRequest", UnsupportedError),
        (501, "NotImplemented", UnsupportedError),
        (405, "MethodNotAllowed", UnsupportedError),
    ],
)
def test_answers_that_a_caller_expects(
    server: Answers, status: int, code: str, kind: type[Exception]
) -> None:
    """Each has its exception, and is not tried again."""
    server.status, server.code = status, code
    with pytest.raises(kind):
        put(S3Service("bucket", QUICK))
    assert server.count == 1


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "AccessDenied", "access denied"),
        (403, "SignatureDoesNotMatch", "access denied"),
        (400, "ExpiredToken", "the session token has expired"),
        (404, "NoSuchBucket", "the bucket does not exist"),
        (400, "EntityTooLarge", r"answers 400 \(EntityTooLarge\)"),
        (400, "an odd code", "answers 400$"),
        (503, "SlowDown", r"answers 503 \(2 tries in a row\)"),
    ],
)
def test_what_fails_is_named(server: Answers, status: int, code: str, words: str) -> None:
    """The error has the path, the reason and a hint, and no word of the request or the answer."""
    server.status, server.code = status, code
    with pytest.raises(StorageError, match=words) as caught:
        put(S3Service("bucket", QUICK))
    assert caught.value.file == PATH
    assert caught.value.hint
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in repr((error, error.__dict__))
        error = error.__cause__ or error.__context__ if not error.__suppress_context__ else None


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (429, ""), (500, "InternalError")])
def test_a_busy_server_is_asked_again(server: Answers, status: int, code: str) -> None:
    """An answer that may be another in a moment delays a request, and does not fail it."""
    server.status, server.code, server.failures = status, code, 1
    put(S3Service("bucket", QUICK))
    assert server.count == 2


@pytest.mark.usefixtures("server")
def test_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none are found, the error says so."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StorageError, match="no credentials"):
        put(S3Service("bucket", QUICK))


def test_without_a_server(server: Answers) -> None:
    """A connection that fails is tried again, and then named."""
    server.server_close()
    with pytest.raises(StorageError, match="connection to the object store failed"):
        put(S3Service("bucket", QUICK))


@pytest.mark.usefixtures("server")
def test_a_setting_that_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    """What botocore does not understand is said to be the configuration."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nowhere")
    with pytest.raises(StorageError, match="configuration is invalid"):
        put(S3Service("bucket", QUICK))


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without botocore the error says which extra to install."""
    import sys

    for name in ("botocore", "botocore.session"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match="needs botocore") as caught:
        put(S3Service("bucket", QUICK))
    assert "shardctl[cloud]" in caught.value.hint


def test_an_upload_that_another_program_aborted(server: Answers) -> None:
    """Parts that cannot be sent are a failure to write; parts that are looked for are missing."""
    server.status, server.code = 404, "NoSuchUpload"
    uploads, upload = S3Uploads("s3://bucket", S3Service("bucket", QUICK)), Upload(PATH, "1")
    with pytest.raises(StorageError, match="is gone") as caught:
        uploads.send(upload, 1, b"data")
    assert "run the same command again" in caught.value.hint
    with pytest.raises(StorageError, match="is gone"):
        uploads.copy(upload, 1, Extent("s3://bucket/b", 0, 1), Version(1, "x"))
    with pytest.raises(MissingError, match="is gone"):
        uploads.parts(upload)
