"""What obstore is asked, and what its answers and errors become.

obstore asks a directory of this machine as it asks a bucket: by versions, ranges and prefixes.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shardctl.errors import (
    MissingError,
    ShardctlError,
    SourceChangedError,
    StorageError,
    UsageError,
)
from shardctl.model import Version
from shardctl.stores.base import Entry
from shardctl.stores.remote.client import TransientError
from shardctl.stores.remote.cloud import CloudClient, open_cloud
from shardctl.stores.remote.s3.store import S3Store
from shardctl.stores.remote.store import RemoteStore

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("obstore") is None, reason="needs obstore, of the extra `cloud`"
)
DATA = bytes(range(200))
REQUEST = "https://key:s3cr3t@host/?X-Amz-Signature=abc"


@pytest.fixture
def base(tmp_path: Path) -> str:
    """The URL of a place with `a`, `empty`, and `d/b`."""
    (tmp_path / "d").mkdir()
    (tmp_path / "a").write_bytes(DATA)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "d" / "b").write_bytes(b"b")
    return f"file://{tmp_path}"


@pytest.fixture
def client(base: str) -> CloudClient:
    """What asks it."""
    return CloudClient(base)


def read(client: CloudClient, path: str, offset: int, length: int, seen: Version | None) -> bytes:
    """The bytes of a range."""
    with client.ranged(path, offset, length, seen) as answer:
        return b"".join(answer.chunks)


# URLs


@pytest.mark.parametrize(
    ("url", "base", "path"),
    [
        ("s3://bucket", "s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket", "s3://bucket"),
        ("S3://bucket/a/b", "s3://bucket", "s3://bucket/a/b"),
        ("gs://my.bucket-1/a//b/", "gs://my.bucket-1", "gs://my.bucket-1/a/b"),
        ("az://container/A%20b?c#d", "az://container", "az://container/A%20b?c#d"),
    ],
)
def test_a_url_names_a_bucket_and_a_path(url: str, base: str, path: str) -> None:
    """The scheme may be in any case, and slashes count once; of the key every character does."""
    store, found = open_cloud(url)
    assert (store.base, found) == (base, path)  # type: ignore[attr-defined] # all of these have it
    assert isinstance(store, S3Store) is base.startswith("s3:")
    assert isinstance(store, RemoteStore) is not base.startswith("s3:")


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///a", "s3://key:s3cr3t@bucket/a", "s3://-a/b", "gs://buck et", "az://?x"]
)
def test_a_url_without_a_bucket_is_not_repeated(url: str) -> None:
    """What is wrong with it may be a password."""
    with pytest.raises(UsageError, match="does not name a bucket") as caught:
        open_cloud(url)
    assert "s3cr3t" not in f"{caught.value.message} {caught.value.hint} {caught.value.file}"


@pytest.mark.parametrize("key", ["a\tb", "a/./b", "../a", "a/..", "a//b", "\udcff", "a\x7f"])
def test_a_name_that_obstore_does_not_take(client: CloudClient, base: str, key: str) -> None:
    """It is an error that names it, for a file and for a directory."""
    for ask in (client.version, client.entries):
        with pytest.raises(StorageError, match="the name of an object there") as caught:
            ask(f"{base}/{key}")
        assert caught.value.file == f"{base}/{key}"


@pytest.mark.parametrize("key", ["a..b", ".a", "a.", "...", "a b", "ä", "?#%&+=;'\"*\\", "n/.b/c"])
def test_a_name_with_any_other_character(base: str, tmp_path: Path, key: str) -> None:
    """It is looked for, and found."""
    path = tmp_path / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"12")
    assert CloudClient(base).version(f"{base}/{key}").size == 2


@pytest.mark.parametrize("address", ["nonsense", "localhost:9000", "http://h:99999", "http://[::1"])
def test_an_address_that_is_none(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], address: str
) -> None:
    """A setting that obstore panics at is an error of ours, and nothing else is printed."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    with pytest.raises(StorageError, match="its configuration is invalid"):
        CloudClient("s3://bucket").version("s3://bucket/a")
    assert capfd.readouterr() == ("", "")


# answers


def test_a_version_is_size_and_mark(client: CloudClient, base: str, tmp_path: Path) -> None:
    """Another content is another version."""
    before = client.version(f"{base}/a")
    assert before.size == len(DATA)
    assert before.mark
    assert client.version(f"{base}/a") == before
    (tmp_path / "a").write_bytes(DATA + b"!")
    assert client.version(f"{base}/a") != before


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 200, DATA), (5, 10, DATA[5:15]), (190, 100, DATA[190:]), (199, 1, DATA[199:])],
)
def test_a_range_is_what_there_is_of_it(
    client: CloudClient, base: str, offset: int, length: int, expected: bytes
) -> None:
    """Fewer bytes come where the object ends, and what came is counted."""
    version = client.version(f"{base}/a")
    with client.ranged(f"{base}/a", offset, length, version) as answer:
        assert answer.version == version
        assert b"".join(answer.chunks) == expected
    assert client.nbytes == len(expected)
    assert read(client, f"{base}/a", offset, length, None) == expected


def test_an_object_of_another_version_is_not_read(client: CloudClient, base: str) -> None:
    """That is known before any byte comes."""
    other = replace(client.version(f"{base}/a"), mark='"other"')
    with pytest.raises(SourceChangedError) as caught:
        read(client, f"{base}/a", 0, 10, other)
    assert caught.value.file == f"{base}/a"
    assert client.nbytes == 0


def test_an_empty_object_has_no_ranges(client: CloudClient, base: str) -> None:
    """Whatever the server says to that, there is an answer of no bytes."""
    with client.ranged(f"{base}/empty", 0, 100, None) as answer:
        assert (answer.version.size, list(answer.chunks)) == (0, [])


def test_a_range_after_the_end_is_an_error(client: CloudClient, base: str) -> None:
    """Only an empty object is answered all the same."""
    with pytest.raises(StorageError) as caught:
        read(client, f"{base}/a", 500, 10, None)
    assert caught.value.file == f"{base}/a"


def test_what_does_not_exist_is_missing(client: CloudClient, base: str) -> None:
    """With its path."""
    for ask in (
        lambda: client.version(f"{base}/none"),
        lambda: read(client, f"{base}/none", 0, 1, None),
    ):
        with pytest.raises(MissingError) as caught:
            ask()
        assert caught.value.file == f"{base}/none"


@pytest.mark.parametrize("end", ["", "/"])
def test_a_directory_is_listed(client: CloudClient, base: str, end: str) -> None:
    """With the next part of each key, and of one that does not exist nothing."""
    found = sorted(client.entries(f"{base}{end}"), key=lambda entry: entry.name)
    assert found == [
        Entry("a", "file", None, 200),
        Entry("d", "directory", None, 0),
        Entry("empty", "file", None, 0),
    ]
    assert client.entries(f"{base}/d{end}") == [Entry("b", "file", None, 1)]
    assert client.entries(f"{base}/none{end}") == []


def test_requests_are_counted(client: CloudClient, base: str) -> None:
    """Each question is one."""
    client.version(f"{base}/a")
    client.entries(base)
    read(client, f"{base}/a", 0, 1, None)
    assert client.requests == 3
    assert client.at_once > 1


def test_another_process_starts_over(client: CloudClient, base: str) -> None:
    """A client that was sent there has its place, and counts from zero."""
    client.version(f"{base}/a")
    sent = pickle.loads(pickle.dumps(client))
    assert (sent.base, sent.requests) == (base, 0)
    assert sent.version(f"{base}/a") == client.version(f"{base}/a")
    assert "s3cr3t" not in repr(CloudClient("s3://bucket"))


# errors


def generic(text: str) -> Exception:
    """An error of obstore's, as it quotes a request."""
    from obstore.exceptions import GenericError

    error: Exception = GenericError(
        f"Generic S3 error: Error performing GET {REQUEST} in 1ms - {text}"
    )
    return error


def failing(
    client: CloudClient, base: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> Exception:
    """What an error of obstore becomes."""
    import obstore

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(obstore, "head", fail)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of several kinds
        client.version(f"{base}/a")
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Server returned non-2xx status code: 500 Internal Server Error: busy", "answers 500"),
        ("Server returned non-2xx status code: 503 Service Unavailable: SlowDown", "answers 503"),
        ("Server returned non-2xx status code: 429 Too Many Requests", "answers 429"),
        ("HTTP error: error sending request", "the connection"),
        ("HTTP error: request or response body error: operation timed out", "the connection"),
    ],
)
def test_what_may_pass_is_tried_again(
    client: CloudClient, base: str, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    """A busy server, and a connection that failed."""
    error = failing(client, base, monkeypatch, generic(text))
    assert isinstance(error, TransientError)
    assert reason in error.reason


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("status code: 404 Not Found: NoSuchBucket", MissingError, "the bucket of"),
        ("status code: 403 Forbidden: AccessDenied", StorageError, "access denied"),
        ("status code: 401 Unauthorized", StorageError, "access denied"),
        (
            "error sending request for url (http://169.254.169.254/latest)",
            StorageError,
            "access denied",
        ),
        (
            "error sending request for url (http://metadata.google.internal/)",
            StorageError,
            "access denied",
        ),
        ("status code: 400 Bad Request", StorageError, "answers 400"),
        ("Missing region", StorageError, "its configuration is invalid"),
        ("Received non-partial response when range requested", StorageError, "other bytes"),
        ("Requested 0..10, got 1..11", StorageError, "other bytes"),
    ],
)
def test_what_does_not_pass_is_named(
    client: CloudClient,
    base: str,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    kind: type[ShardctlError],
    words: str,
) -> None:
    """With the path, the reason, and where to look."""
    error = failing(client, base, monkeypatch, generic(text))
    assert isinstance(error, kind)
    assert words in error.message
    assert error.file == f"{base}/a"
    assert ("credentials" in error.hint) is (words == "access denied")


def test_other_exceptions_are_told_by_their_names(
    client: CloudClient, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their texts differ between the clouds."""
    from obstore import exceptions

    expected: list[tuple[type[Exception], type[Exception], str]] = [
        (exceptions.PermissionDeniedError, StorageError, "access denied"),
        (exceptions.UnauthenticatedError, StorageError, "access denied"),
        (exceptions.PreconditionError, SourceChangedError, "changed on the server"),
        (FileNotFoundError, MissingError, "does not exist"),
        (exceptions.InvalidPathError, StorageError, "the name of an object there"),
    ]
    for raised, kind, words in expected:
        error = failing(client, base, monkeypatch, raised("no"))
        assert isinstance(error, kind)
        assert words in str(error)


def test_a_panic_is_an_error(
    client: CloudClient, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Rust raises then is not an Exception."""
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    error = failing(client, base, monkeypatch, panic("s3cr3t"))
    assert isinstance(error, StorageError)


@pytest.mark.parametrize("make", [lambda: KeyError("x"), MemoryError])
def test_what_is_not_obstores_is_not_hidden(
    client: CloudClient,
    base: str,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[], Exception],
) -> None:
    """A fault of the program stays one."""
    raised = make()
    assert failing(client, base, monkeypatch, raised) is raised
