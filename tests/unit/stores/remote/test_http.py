"""Requests over HTTP: kept connections, redirects, and what is and is not told to whom."""

from __future__ import annotations

import pickle
import socket
from collections import deque
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from shardctl.stores.remote.client import TransientError
from shardctl.stores.remote.http import Http, RefusedError, basic
from tests.support.web_server import Fault, WebServer, web

DATA = bytes(range(250)) * 1200
SECRET = {"Authorization": "Bearer s3cr3t", "Cookie": "a=b", "X-Other": "c"}


def fetched(http: Http, url: str, **headers: str) -> bytes:
    """The body of an answer."""
    with http.get(url, headers) as response:
        return b"".join(response.body)


def test_a_body_is_counted_as_it_comes(server: WebServer) -> None:
    """Requests and bytes of all answers are counted, and another process begins at zero."""
    http = Http()
    assert fetched(http, f"{server.url}/a.bin") == DATA
    assert (http.requests, http.nbytes) == (1, len(DATA))
    assert fetched(http, f"{server.url}/a.bin", Range="bytes=0-9") == DATA[:10]
    assert (http.requests, http.nbytes) == (2, len(DATA) + 10)
    again: Http = pickle.loads(pickle.dumps(http))
    assert (again.requests, again.nbytes) == (0, 0)


def test_a_connection_is_kept(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that was read to its end leaves the connection for the next request, and one that was
    not does not.
    """
    opened: list[object] = []
    connect = socket.create_connection

    def counted(*arguments: object, **options: object) -> socket.socket:
        opened.append(arguments)
        return connect(*arguments, **options)  # type: ignore[arg-type] # those of its caller

    monkeypatch.setattr(socket, "create_connection", counted)
    http = Http()
    for _ in range(3):
        fetched(http, f"{server.url}/a.bin")
    assert len(opened) == 1
    with http.get(f"{server.url}/a.bin", {}) as response:
        next(response.body)
    fetched(http, f"{server.url}/a.bin")
    assert len(opened) == 2


def test_a_redirect_to_another_server_gets_no_secrets(server: WebServer, tmp_path: Path) -> None:
    """Credentials go to the server that they are for; within it they go along."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.bin").write_bytes(b"there")
    with web(tmp_path / "other") as other:
        server.redirects = {"/here": "/a.bin", "/away": f"{other.url}/b.bin"}
        http = Http()
        with http.get(f"{server.url}/here", SECRET) as response:
            assert b"".join(response.body) == DATA
            assert response.url == f"{server.url}/a.bin"
        assert server.requests[-1].headers["authorization"] == "Bearer s3cr3t"
        with http.get(f"{server.url}/away", SECRET) as response:
            assert (response.url, b"".join(response.body)) == (f"{other.url}/b.bin", b"there")
        (seen,) = other.requests
        assert seen.headers["x-other"] == "c"
        assert not seen.headers.keys() & {"authorization", "cookie"}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/a.bin", "in a circle"),
        ("ftp://host/x", "not a web server"),
        ("file:///etc/passwd", "not a web server"),
        ("https://", "not a web server"),
        ("http://[::1/x", "not valid"),
        ("http://host:99999/x", "not valid"),
        ("http://a..b/x", "not valid"),
    ],
)
def test_a_redirect_that_is_not_followed(server: WebServer, target: str, message: str) -> None:
    """A circle, and what leads to no web server, is refused."""
    server.redirects = {"/a.bin": target}
    with pytest.raises(RefusedError, match=message):
        fetched(Http(), f"{server.url}/a.bin")


@pytest.mark.parametrize("location", ["/ä b.bin", "/%C3%A4%20b.bin", "/%c3%a4 b.bin#x"])
def test_a_redirect_with_characters_that_should_be_escaped(
    server: WebServer, tmp_path: Path, location: str
) -> None:
    """It is followed as a browser follows it, and what is escaped already stays so."""
    (tmp_path / "ä b.bin").write_bytes(b"there")
    server.redirects = {"/here": location.encode().decode("latin-1")}
    assert fetched(Http(), f"{server.url}/here") == b"there"


@pytest.mark.parametrize(("after", "seconds"), [(None, None), ("3", 3.0), ("-1", 0.0), ("x", None)])
def test_an_answer_that_may_pass(
    server: WebServer, after: str | None, seconds: float | None
) -> None:
    """The error has the status, and how long the server asks to wait, where it says so."""
    headers = {} if after is None else {"Retry-After": after}
    server.faults.append(Fault("a.bin", status=503, headers=headers))
    with pytest.raises(TransientError, match="503") as caught:
        fetched(Http(), f"{server.url}/a.bin")
    assert caught.value.after == seconds


def test_a_date_to_wait_for(server: WebServer) -> None:
    """`Retry-After` may be a date, and one that has passed asks for no time."""
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    server.faults.append(Fault("a.bin", status=429, headers={"Retry-After": date}))
    with pytest.raises(TransientError) as caught:
        fetched(Http(), f"{server.url}/a.bin")
    assert caught.value.after == 0.0


def test_a_body_that_breaks_off(server: WebServer) -> None:
    """A connection that is cut raises what can be tried again, after the bytes that came."""
    server.faults.append(Fault("a.bin", cut=70_000))
    http, got = Http(), bytearray()
    with http.get(f"{server.url}/a.bin", {}) as response, pytest.raises(TransientError):
        deque(map(got.extend, response.body))
    assert DATA.startswith(got)
    assert len(got) == http.nbytes <= 70_000
    assert fetched(http, f"{server.url}/a.bin") == DATA


def test_no_server_at_all() -> None:
    """A refused connection may pass, too, and its error is the system's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(TransientError, match="the connection failed: Connection refused"):
        fetched(Http(), f"http://127.0.0.1:{port}/a")


def test_a_kept_connection_that_the_server_closed() -> None:
    """It is replaced by another one, and the caller sees nothing of it."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for _ in range(2):  # a connection for each request, though it promises to stay
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    thread = Thread(target=answer)
    thread.start()
    http = Http()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    with listening:
        assert [fetched(http, url) for _ in range(2)] == [b"ok", b"ok"]
        thread.join()
    assert http.requests in (2, 3)


@pytest.mark.parametrize(
    ("url", "headers"),
    [("http://127.0.0.1:9/a b", {}), ("http://127.0.0.1:9/", {"Authorization": "s3cr3t\n"})],
)
def test_what_cannot_be_sent(url: str, headers: dict[str, str]) -> None:
    """It is refused, and the error repeats nothing of it."""
    with pytest.raises(RefusedError, match="not allowed") as caught, Http().get(url, headers):
        pass
    assert "s3cr3t" not in repr(caught.value)


def test_the_credentials_of_a_url() -> None:
    """A user and a password are a header, decoded; without a user there is none."""
    assert basic(urlsplit("https://host/a")) == {}
    assert basic(urlsplit("https://me:p%40ss@host/a")) == {"Authorization": "Basic bWU6cEBzcw=="}
    assert basic(urlsplit("http://me@proxy"), "Proxy-Authorization") == {
        "Proxy-Authorization": "Basic bWU6"
    }
