"""Web servers on the loopback device: files with ranges, redirects and faults, and a hub.

Requests and bytes are counted where they arrive.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import pytest

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_RESOLVE = re.compile(r"/(org/\w+)/resolve/([0-9a-f]+)/(.+)")
_LISTING = re.compile(r"/api/models/(org/\w+)(?:/revision/([^?]+))?")


@dataclass
class Fault:
    """What goes wrong with requests whose path matches, as often as `times`.

    `status` is answered instead of the file, with `headers`; or the connection is closed after
    `cut` bytes of the body.
    """

    pattern: str
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    path: str
    query: str
    headers: dict[str, str]

    @property
    def extent(self) -> tuple[int, int] | None:
        """The first and the last byte that were asked for."""
        found = _RANGE.fullmatch(self.headers.get("range", ""))
        return None if found is None else (int(found[1]), int(found[2]))


@dataclass
class WebServer:
    """A server of the files below `root`.

    `ranges` and `etags` say what it knows of HTTP; `redirects` are the targets of paths, `changes`
    what a file becomes once it was asked for. With `hub`
    it answers as the hub does and redirects to that server for the bytes of large files.
    """

    root: Path
    url: str = ""
    ranges: bool = True
    etags: bool = True
    delay: float = 0.0
    users: tuple[str, ...] = ()
    redirects: dict[str, str] = field(default_factory=dict)
    hub: WebServer | None = None
    changes: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    nbytes: int = 0
    most_at_once: int = 0
    at_once: int = 0
    commits: dict[str, dict[str, tuple[str, int]]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def forget(self) -> None:
        """Count from here on."""
        self.requests.clear()
        self.nbytes = 0

    def fault(self, path: str) -> Fault | None:
        """Return what goes wrong now, and count it."""
        with self.lock:
            for each in self.faults:
                if each.times and re.search(each.pattern, path):
                    each.times -= 1
                    return each
        return None

    def commit(self, repo: str) -> str:
        """Keep what a repository has now, and return its commit."""
        root, files = self.root / repo, {}
        for path in sorted(each for each in root.rglob("*") if each.is_file()):
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            blob = self.root / ".blobs" / digest
            blob.parent.mkdir(exist_ok=True)
            blob.write_bytes(data)
            files[str(path.relative_to(root))] = (digest, len(data))
        commit = hashlib.sha1(repr(files).encode(), usedforsecurity=False).hexdigest()
        self.commits[commit] = files
        return commit


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    site: WebServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
        """Print nothing."""

    def do_GET(self) -> None:
        site, parts = self.site, urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        with site.lock:
            site.requests.append(Request(unquote(parts.path), parts.query, headers))
            site.at_once += 1
            site.most_at_once = max(site.most_at_once, site.at_once)
        time.sleep(site.delay)
        try:
            self._answer(unquote(parts.path), headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with site.lock:
                site.at_once -= 1

    def _answer(self, path: str, headers: dict[str, str]) -> None:
        site = self.site
        fault = site.fault(path)
        if fault is not None and fault.status:
            return self._send(fault.status, b"<html>busy</html>", fault.headers)
        if site.users and headers.get("authorization") not in site.users:
            return self._send(401, b"who are you?", {})
        if path in site.redirects:
            return self._send(302, b"moved", {"Location": site.redirects[path]})
        if site.hub is not None:
            return self._hub(path)
        return self._file(site.root / path.lstrip("/"), headers, fault)

    def _hub(self, path: str) -> None:
        site = self.site
        listing, resolve = _LISTING.fullmatch(path), _RESOLVE.fullmatch(path)
        if listing is not None and (site.root / listing[1]).is_dir():
            commit = site.commit(listing[1])
            if listing[2] in site.commits:
                commit = listing[2]
            elif listing[2] not in (None, "main", "refs/pr/1"):
                return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            siblings = [
                {"rfilename": name, "size": size, "blobId": digest}
                for name, (digest, size) in site.commits[commit].items()
            ]
            document = {"id": listing[1], "sha": commit, "siblings": siblings}
            return self._send(200, json.dumps(document).encode(), {})
        if resolve is not None and site.hub is not None:
            _, commit, name = resolve.groups()
            digest, _ = site.commits.get(commit, {}).get(name, ("", 0))
            if digest:
                location = f"{site.hub.url}/.blobs/{digest}?Signature=s3cr3t"
                return self._send(302, b"", {"Location": location, "X-Repo-Commit": commit})
        return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _file(self, path: Path, headers: dict[str, str], fault: Fault | None) -> None:
        if not path.is_file():
            return self._send(404, b"<html>no such page</html>", {})
        data, status = path.read_bytes(), 200
        change = self.site.changes.pop(f"/{path.relative_to(self.site.root)}", None)
        if change is not None:
            path.write_bytes(change)
        sent = {"Accept-Ranges": "bytes"} if self.site.ranges else {}
        if self.site.etags:
            sent["ETag"] = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        found = _RANGE.fullmatch(headers.get("range", ""))
        if found is not None and self.site.ranges:
            first, last = int(found[1]), min(int(found[2]), len(data) - 1)
            if first >= len(data):
                return self._send(416, b"", {**sent, "Content-Range": f"bytes */{len(data)}"})
            sent["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data, status = data[first : last + 1], 206
        return self._send(status, data, sent, None if fault is None else fault.cut)

    def _send(
        self, status: int, data: bytes, headers: dict[str, str], cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        body = data if cut is None else data[:cut]
        # Before they are sent: a client that has them may look at once.
        with self.site.lock:
            self.site.nbytes += len(body)
        self.wfile.write(body)
        if cut is not None:
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: a client that goes away is what some tests are about."""


@contextmanager
def serving(site: WebServer) -> Iterator[WebServer]:
    """Run a server until the block ends."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def web(root: Path) -> Iterator[WebServer]:
    """Run a server of the files below a directory."""
    with serving(WebServer(root)) as site:
        yield site


@contextmanager
def hub(root: Path) -> Iterator[WebServer]:
    """Run a hub of the repositories `org/NAME` below a directory; `hub` has the bytes."""
    with web(root) as place, serving(WebServer(root, hub=place)) as site:
        yield site


def use_hub(monkeypatch: pytest.MonkeyPatch, server: WebServer, home: Path) -> None:
    """Let this process ask a hub of tests, with nothing of the user's."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        server.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_s3cr3t")
