"""Files of web servers."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from shardctl.errors import InputError, MissingError, ShardctlError, StorageError, UsageError
from shardctl.stores.base import Entry, Reader
from shardctl.stores.registry import open_store
from shardctl.stores.remote.http import basic
from shardctl.stores.remote.store import RemoteStore
from shardctl.stores.remote.web import WebClient, open_web
from tests.support.web_server import Fault, WebServer, web
from tests.unit.stores.remote.conftest import QUICK

Open = Callable[[str], Reader]


@pytest.fixture
def open_it(server: WebServer) -> Open:
    """What opens a file by its path on the server."""
    return lambda path: open_store(f"{server.url}{path}")[0].open(f"{server.url}{path}")


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https://host",
        "https://host/",
        "https://host/dir/",
        "https://h:x/a",
        "https://h:0/a",
        "https://[::1/a",
        "https://a..b/a",
        "https://host/\udcff",
    ],
)
def test_a_url_must_name_a_file(url: str) -> None:
    """What cannot be a file is a usage error that says what to name."""
    with pytest.raises(UsageError) as caught:
        open_web(url)
    assert "weights file, or an index" in caught.value.hint


def test_secrets_are_no_part_of_a_path() -> None:
    """User, password and query stay out of the path, of errors, and of what is printed."""
    url = "https://me:s3cr3t@host:8443/dir/m.safetensors?X-Amz-Signature=s3cr3t#s3cr3t"
    store, path = open_web(url)
    assert path == "https://host:8443/dir/m.safetensors"
    assert "s3cr3t" not in f"{store!r} {store.__dict__} {store.join(store.split(path)[0], 'x')}"
    for refused in (url.replace("m.safetensors", ""), url.replace("https", "ftp")):
        with pytest.raises(UsageError) as caught:
            open_store(refused)
        assert "s3cr3t" not in repr((caught.value.__reduce__(), str(caught.value)))


def test_secrets_go_to_their_server(server: WebServer) -> None:
    """User and query go with every request to the server, also from another process."""
    server.users = ("Basic bWU6czNjIHIzdA==",)
    url = server.url.replace("//", "//me:s3c%20r3t@") + "/a.bin?sig=x%2Fy"
    store, path = open_store(url)
    copy = pickle.loads(pickle.dumps(store))
    for each in (store, copy):
        each.open(path).read(0, 5)
    assert {request.query for request in server.requests} == {"sig=x%2Fy"}
    with pytest.raises(StorageError, match="401, access denied") as caught:
        open_store(f"{server.url}/a.bin?sig=s3cr3t")[0].open(path)
    assert "s3cr3t" not in repr(caught.value.__reduce__())


def test_no_error_has_a_secret(server: WebServer) -> None:
    """Whatever fails, neither the error nor what it was raised from has the query or the user."""
    client = WebClient(server.url, "sig=s3cr3t", {"Authorization": "Basic s3cr3t\n"})
    sound = WebClient(server.url, "sig=s3cr3t", {"Authorization": "Basic s3cr3t"})
    server.redirects["/out"] = "ftp://host/s3cr3t"
    server.redirects["/circle"] = "/circle?sig=s3cr3t"
    server.faults.append(Fault("busy", times=99, status=503))
    failures = [(client, "/a.bin"), (sound, "/out"), (sound, "/circle"), (sound, "/busy")]
    failures += [(sound, "/missing"), (sound, "/a\x00b")]
    for each, path in failures:
        with pytest.raises(ShardctlError) as caught:
            RemoteStore(server.url, each, QUICK).open(server.url + path)
        error: BaseException | None = caught.value
        while error is not None:
            assert "s3cr3t" not in repr((error, error.__dict__))
            error = error.__cause__


def test_a_server_lists_nothing(server: WebServer) -> None:
    """A directory shows the files that were asked for; one that is absent is asked for once."""
    store, path = open_store(f"{server.url}/a.bin")
    assert store.kind(path) == "file"
    assert store.list(server.url) == [Entry("a.bin", "file", None, 300_000)]
    for _ in range(3):
        assert store.kind(f"{server.url}/missing") is None
    store.open(path)
    assert [request.path for request in server.requests] == ["/a.bin", "/missing"]
    with pytest.raises(InputError, match="not a directory"):
        store.list(path)


@pytest.mark.parametrize("size", [0, 1, 99_999])
def test_without_ranges_small_files_are_read(server: WebServer, open_it: Open, size: int) -> None:
    """A server without ranges is good enough for an index."""
    server.ranges = False
    (server.root / "small").write_bytes(bytes(size))
    assert open_it("/small").read(0, size) == bytes(size)


def test_without_ranges_large_files_are_refused(server: WebServer, open_it: Open) -> None:
    """Nothing large is fetched again and again: the error says what to do instead."""
    server.ranges = False
    with pytest.raises(StorageError, match="only whole files") as caught:
        open_it("/a.bin")
    assert "download" in caught.value.hint


@pytest.mark.parametrize("status", [400, 403, 405, 451, 501])
def test_a_refusal_is_not_tried_again(server: WebServer, open_it: Open, status: int) -> None:
    """What another try would not change is an error at once, which names file and status."""
    server.faults.append(Fault("a.bin", times=9, status=status))
    with pytest.raises(StorageError, match=str(status)) as caught:
        open_it("/a.bin")
    assert caught.value.file == f"{server.url}/a.bin"
    assert len(server.requests) == 1


def test_names_are_quoted_once(server: WebServer) -> None:
    """A name from an index is quoted; what the user's URL has stays as it is."""
    (server.root / "ä b?#.bin").write_bytes(b"1")
    (server.root / "c d").write_bytes(b"22")
    store, path = open_store(f"{server.url}/c%20d")
    assert store.version(path).size == 2
    assert store.version(f"{server.url}/ä b?#.bin").size == 1


def test_a_percent_sign_in_a_name_is_no_escape(server: WebServer) -> None:
    """In the user's URL it is one; in names that lie beside the file there, it is a character."""
    directory = server.root / "a b"
    directory.mkdir()
    for name in ("100%.bin", "a%20b.bin", "x%2Fy"):
        (directory / name).write_bytes(name.encode())
    store, path = open_store(f"{server.url}/a%20b/100%25.bin?key=a b%20c")
    assert store.version(path).size == len("100%.bin")
    for name in ("100%.bin", "a%20b.bin", "x%2Fy"):
        assert store.version(store.join(store.split(path)[0], name)).size == len(name)
    assert {request.query for request in server.requests} == {"key=a%20b%20c"}


@pytest.mark.parametrize("coding", ["gzip", "br", "X-GZip", "aws, zstd"])
@pytest.mark.parametrize("status", [200, 206])
def test_compressed_answers_are_refused(
    server: WebServer, open_it: Open, status: int, coding: str
) -> None:
    """Their bytes are others than those of the file."""
    headers = {"Content-Encoding": coding, "Content-Range": "bytes 0-16/17"}
    server.faults.append(Fault("a.bin", status=status, headers=headers))
    with pytest.raises(StorageError, match="compresses it"):
        open_it("/a.bin")


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ("Bytes 0-16/17", 17),
        ("bytes 1-17/18", None),
        ("bytes 0-16/*", None),
        (f"bytes 0-16/{'9' * 5000}", None),
        ("bytes 0-16/²", None),
        ("bytes 0-9/10", None),
    ],
)
def test_which_ranges_are_taken(
    server: WebServer, open_it: Open, said: str, size: int | None
) -> None:
    """The one that was asked for, with as many bytes as it promises; anything else is an error."""
    server.faults.append(Fault("a.bin", status=206, headers={"Content-Range": said}))
    if size is not None:
        assert open_it("/a.bin").version.size == size
        return
    with pytest.raises(StorageError, match="cannot be read") as caught:
        open_it("/a.bin")
    assert caught.value.file == f"{server.url}/a.bin"


def test_another_server_gets_no_secret(server: WebServer) -> None:
    """A redirect to another server takes neither password nor query along, one to the same does."""
    with web(server.root) as other:
        server.redirects = {"/moved": "/there", "/there": f"{other.url}/a.bin"}
        client = WebClient(server.url, "sig=1", {"Authorization": "Basic s3cr3t"})
        RemoteStore(server.url, client).open(f"{server.url}/moved").read(0, 10)
        assert [r.headers["authorization"] for r in server.requests] == ["Basic s3cr3t"] * 2
        assert [(r.headers.get("authorization"), r.query) for r in other.requests] == [(None, "")]


def test_a_missing_file(open_it: Open) -> None:
    """A file that the server does not have is missing."""
    with pytest.raises(MissingError):
        open_it("/missing")


def test_the_header_of_a_user() -> None:
    """Without a user nothing is sent (RFC 7617)."""
    from urllib.parse import urlsplit

    assert basic(urlsplit("https://host/a")) == {}
    assert basic(urlsplit("https://Aladdin:open%20sesame@host/a")) == {
        "Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    }
