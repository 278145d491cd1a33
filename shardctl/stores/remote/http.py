"""Requests over HTTP: connections that are kept, redirects, proxies, and no secret in any error.

Python's own client is enough for ranges: one request after another goes over each connection, and
large answers are read as they come. Source: RFC 9110 (semantics), RFC 9112 (HTTP/1.1).
"""

from __future__ import annotations

import base64
import http.client
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Lock
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from shardctl._version import __version__
from shardctl.stores.remote.client import CHUNK_BYTES, TOO_EARLY, TransientError

#: Seconds without a byte after which a connection counts as broken.
_TIMEOUT = 30
_MOST_REDIRECTS = 8
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Answers that may be others in a moment: too slow, too many, and the server's own failures.
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
#: What is for the one server that it was meant for, and never goes to another.
_SECRETS = frozenset({"authorization", "cookie"})
#: Characters with a meaning in URLs, which stay as they are where the others are escaped.
_IN_URLS = "%/:=&?~#+!$,;'@()*[]"
#: Connections to one server that are kept for the next requests.
_MOST_IDLE = 32


class RefusedError(Exception):
    """An answer that another try would not change; its text has no part of the URL's query."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: its status, its headers, and its body, still to be read.

    `url` is where it came from, after every redirect.

    Reading raises TransientError where the connection breaks off.
    """

    url: str
    status: int
    headers: http.client.HTTPMessage
    body: Iterator[bytes]


class Http:
    """Sends requests, each once; counts them and the bytes of the answers.

    Any number of threads may use it at once.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.nbytes = 0
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Http], tuple[()]]:
        return Http, ()

    def __del__(self) -> None:
        for idle in self._idle.values():
            for connection in idle:
                connection.close()

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[Response]:
        """Send GET, and follow redirects, without secrets where they lead to another server.

        The connection is kept where the body was read to its end. Raises TransientError and
        RefusedError.
        """
        for _ in range(_MOST_REDIRECTS):
            parts = urlsplit(url)
            connection, answer = self._ask(parts, headers)
            try:
                if answer.status not in _REDIRECTS:
                    yield self._response(url, answer)
                    return
                target = _redirect(url, answer.headers.get("Location", ""))
                headers = _for(headers, parts, urlsplit(target))
                url = target
                for _ in self._body(answer):  # so that the connection can be kept
                    pass
            finally:
                self._put_back(parts, connection, answer)
        raise RefusedError("the server redirects in a circle")

    def _response(self, url: str, answer: http.client.HTTPResponse) -> Response:
        if answer.status in TRANSIENT:
            raise TransientError(
                f"the server answers {answer.status} {answer.reason}",
                seconds(answer.headers.get("Retry-After")),
            )
        return Response(url, answer.status, answer.headers, self._body(answer))

    def _body(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        while True:
            try:
                data = answer.read1(CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _broken(error) from error
            if not data:
                if answer.length:
                    raise TransientError(TOO_EARLY)
                # Of a body whose length is known the library does not see that it has ended.
                answer.close()
                return
            with self._lock:
                self.nbytes += len(data)
            yield data

    def _ask(
        self, parts: SplitResult, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send one request; on a kept connection that the server has closed, once more."""
        while True:
            connection, kept = self._connection(parts)
            with self._lock:
                self.requests += 1
            try:
                target = _target(parts, proxied=_is_proxied(parts) and parts.scheme == "http")
                sent = {"User-Agent": f"shardctl/{__version__}", "Accept-Encoding": "identity"}
                connection.request("GET", target, headers={**sent, **headers})
                return connection, connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if isinstance(error, http.client.InvalidURL):
                    raise RefusedError("the URL has characters that are not allowed") from None
                if isinstance(error, ssl.SSLCertVerificationError):
                    message = f"its certificate is not trusted: {error.verify_message}"
                    raise RefusedError(message) from error
                if not kept:
                    raise _broken(error) from error
            except ValueError:
                # The error of the library quotes the header.
                connection.close()
                raise RefusedError("its credentials have characters that are not allowed") from None

    def _connection(self, parts: SplitResult) -> tuple[http.client.HTTPConnection, bool]:
        """Return a connection, and whether it is one that was kept."""
        with self._lock:
            idle = self._idle.get((parts.scheme, parts.netloc))
            if idle:
                return idle.pop(), True
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        proxy = urlsplit(urllib.request.getproxies()[parts.scheme]) if _is_proxied(parts) else None
        via_host, via_port = (
            (host, port) if proxy is None else (proxy.hostname or "", proxy.port or 80)
        )
        if parts.scheme == "http":
            return http.client.HTTPConnection(via_host, via_port, timeout=_TIMEOUT), False
        connection = http.client.HTTPSConnection(
            via_host, via_port, timeout=_TIMEOUT, context=ssl.create_default_context()
        )
        if proxy is not None:
            connection.set_tunnel(host, port, basic(proxy, "Proxy-Authorization"))
        return connection, False

    def _put_back(
        self,
        parts: SplitResult,
        connection: http.client.HTTPConnection,
        answer: http.client.HTTPResponse,
    ) -> None:
        """Keep a connection whose answer was read to its end, and that the server leaves open."""
        with self._lock:
            idle = self._idle.setdefault((parts.scheme, parts.netloc), [])
            if answer.isclosed() and connection.sock is not None and len(idle) < _MOST_IDLE:
                idle.append(connection)
                return
        with suppress(OSError):
            answer.close()
            connection.close()


def basic(parts: SplitResult, header: str = "Authorization") -> dict[str, str]:
    """Return the header for the user and the password in a URL; none where it has none."""
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return {header: f"Basic {base64.b64encode(pair).decode('ascii')}"}


def check_host(parts: SplitResult) -> None:
    """Raise ValueError for a URL whose host or port no connection can be opened to."""
    if not (parts.hostname or "").encode("idna") or parts.port == 0:
        raise ValueError("no host, or no port")


def escaped(text: str | bytes) -> str:
    """Return a part of a URL in which all that a URL may not have is escaped, and nothing else."""
    return quote(text, safe=_IN_URLS)


def _redirect(url: str, location: str) -> str:
    """Return where a redirect leads, with what it should have escaped; raises RefusedError."""
    try:
        # Of a header the library takes each byte for a character; those of a URL are UTF-8.
        target = urljoin(url, escaped(location.encode("latin-1")))
        parts = urlsplit(target)
        if parts.hostname:
            check_host(parts)
    except ValueError:
        raise RefusedError("the server redirects to an address that is not valid") from None
    return target


def _for(headers: Mapping[str, str], origin: SplitResult, target: SplitResult) -> dict[str, str]:
    """Return the headers for where a redirect leads; raises RefusedError for what is not HTTP."""
    if target.scheme not in ("http", "https") or not target.hostname:
        raise RefusedError("the server redirects to something that is not a web server")
    if (origin.scheme, target.scheme) == ("https", "http"):
        raise RefusedError("the server redirects from https:// to http://, which is not safe")
    if (origin.scheme, origin.netloc) == (target.scheme, target.netloc):
        return dict(headers)
    return {name: value for name, value in headers.items() if name.lower() not in _SECRETS}


def _target(parts: SplitResult, *, proxied: bool) -> str:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return f"{parts.scheme}://{parts.netloc}{path}" if proxied else path


def _is_proxied(parts: SplitResult) -> bool:
    proxies = urllib.request.getproxies()
    return parts.scheme in proxies and not urllib.request.proxy_bypass(parts.hostname or "")


def seconds(text: str | None) -> float | None:
    """Return the seconds that `Retry-After` asks for: a number, or a date (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(text))
    with suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    return None


def _broken(error: OSError | http.client.HTTPException) -> TransientError:
    """Return the error for a connection that failed; its text is the system's alone."""
    if isinstance(error, OSError):
        return TransientError(f"the connection failed: {error.strerror or type(error).__name__}")
    return TransientError(f"the connection failed: {type(error).__name__}")
