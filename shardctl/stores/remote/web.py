"""Files of web servers: `https://` and `http://`, for each a file, or an index beside its shards.

A web server lists no files: what lies beside a file is known only by an index, or by being asked
for. A user and a password in the URL, and its query (where signed URLs have their signature), go
with every request to that server and are not part of any path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from shardctl.errors import MissingError, ShardctlError, StorageError, UsageError
from shardctl.model import Version
from shardctl.stores.faults import shown
from shardctl.stores.remote.client import Answer
from shardctl.stores.remote.http import Http, RefusedError, Response, basic, check_host, escaped
from shardctl.stores.remote.reader import changed
from shardctl.stores.remote.store import RemoteStore

#: A range of a file, and the size of one that does not have the range (RFC 9110, 14.4).
_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", re.IGNORECASE)
_UNSATISFIED = re.compile(r"bytes \*/([0-9]{1,19})", re.IGNORECASE)
_SIZE = re.compile(r"[0-9]{1,19}")
#: What of a URL's path stays as it was given; names from an index are quoted.
_AS_GIVEN = "/%:@!$&'()*+,;=~"
#: Values of `Content-Encoding` with which the bytes are others than those of the file.
_COMPRESSED = re.compile(r"gzip|compress|deflate|br\b|zstd", re.IGNORECASE)
_FETCH = "download the file first, or use a server that answers requests for ranges"


def open_web(url: str) -> tuple[RemoteStore, str]:
    """Return the store of a web server, and the path that a URL means: without query and user."""
    try:
        parts = urlsplit(url)
        check_host(parts)
        url.encode()
    except ValueError:
        # The URL is not quoted: what is wrong with it may be a password.
        raise UsageError(
            f"a URL of {url.partition(':')[0].lower()}:// does not name a web server",
            hint="name a weights file, or an index that lies beside its shards, as "
            "https://HOST/PATH",
        ) from None
    host = parts.netloc.rpartition("@")[2]
    base = f"{parts.scheme}://{host}"
    path = f"{base}{parts.path}"
    if not parts.path.strip("/") or parts.path.endswith("/"):
        raise UsageError(
            f"{shown(path)} does not name a file, and a web server does not list its files",
            hint="name a weights file, or an index that lies beside its shards",
            file=path,
        )
    return RemoteStore(base, WebClient(base, escaped(parts.query), basic(parts), path)), path


@dataclass
class WebClient:
    """Asks one web server. `query` and `headers` go along with every request; both are secret.

    `given` is the path that the user named, in the escapes of a URL; other names are not escaped.
    """

    base: str
    query: str = field(default="", repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    given: str = ""
    http: Http = field(default_factory=Http, repr=False)

    @property
    def at_once(self) -> int:
        """As many as servers take from one client without refusing it."""
        return 16

    @property
    def requests(self) -> int:
        """How many requests were sent, those for redirects too."""
        return self.http.requests

    @property
    def nbytes(self) -> int:
        """How many bytes came in."""
        return self.http.nbytes

    @contextmanager
    def ranged(
        self, path: str, offset: int, length: int, expected: Version | None
    ) -> Iterator[Answer]:
        """Ask for a range; the version is the size and the ETag, or the time of the last change."""
        query = f"?{self.query}" if self.query else ""
        url = f"{self.base}{self._escaped(path)}{query}"
        with ranged(self.http, url, path, (offset, length), self.headers) as (answer, _):
            if expected is not None and answer.version != expected:
                raise changed(path)
            yield answer

    def _escaped(self, path: str) -> str:
        directory = f"{self.given.rpartition('/')[0]}/"
        begin = path if path == self.given or not path.startswith(directory) else directory
        return quote(begin.removeprefix(self.base), safe=_AS_GIVEN) + quote(
            path.removeprefix(begin), safe=_AS_GIVEN.replace("%", "")
        )

    def version(self, path: str) -> Version:
        """Return the version that a file has now."""
        with self.ranged(path, 0, 1, None) as answer:
            for _ in answer.chunks:
                pass
            return answer.version

    def entries(self, directory: str) -> None:
        """Return None: a web server lists no files."""


@contextmanager
def ranged(
    http: Http, url: str, path: str, extent: tuple[int, int], headers: dict[str, str]
) -> Iterator[tuple[Answer, str]]:
    """Ask a URL for `extent`, offset and length; errors name `path` and nothing of the URL.

    Yields the answer, and the URL that it came from after every redirect. Raises as
    `Client.ranged` does.
    """
    offset, length = extent
    asked = {**headers, "Range": f"bytes={offset}-{offset + length - 1}"}
    try:
        with http.get(url, asked) as response:
            yield _answer(response, path, offset, length), response.url
    except RefusedError as error:
        raise StorageError(
            f"{shown(path)} cannot be read: {error}", hint="check the URL", file=path
        ) from error


def _answer(response: Response, path: str, offset: int, length: int) -> Answer:
    mark = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    said = response.headers.get("Content-Range", "")
    coding = response.headers.get("Content-Encoding", "")
    if response.status in (200, 206) and _COMPRESSED.search(coding):
        raise StorageError(
            f"{shown(path)} cannot be read: the server compresses it for the transfer, although "
            "that was not asked for",
            hint=_FETCH,
            file=path,
        )
    if response.status == 206 and (found := _RANGE.fullmatch(said)):
        begin, last, size = map(int, found.groups())
        if begin == offset and last - begin < length:
            return Answer(Version(size, mark), response.body)
    elif response.status == 416 and (found := _UNSATISFIED.fullmatch(said)):
        # An empty file has none, nor has one that became shorter.
        return Answer(Version(int(found[1]), mark), iter(()))
    elif response.status == 200 and _SIZE.fullmatch(response.headers.get("Content-Length", "")):
        # Without ranges a file is read only where it is asked for whole.
        size = int(response.headers["Content-Length"])
        if offset == 0 and size <= length:
            return Answer(Version(size, mark), response.body)
        raise StorageError(
            f"{shown(path)} cannot be read in parts: the server sends only whole files",
            hint=_FETCH,
            file=path,
        )
    raise _refused(response.status, path)


def _refused(status: int, path: str) -> ShardctlError:
    if status in (404, 410):
        return MissingError(
            f"{shown(path)} does not exist on the server", hint="check the URL", file=path
        )
    if status in (401, 403, 407):
        return StorageError(
            f"{shown(path)} cannot be read: the server answers {status}, access denied",
            hint="check that your account may read it, and that your token or the signature of the "
            "URL is valid and has not expired",
            file=path,
        )
    return StorageError(
        f"{shown(path)} cannot be read: the server answers {status}, and not with a range",
        hint=_FETCH,
        file=path,
    )
