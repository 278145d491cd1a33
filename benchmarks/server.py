"""A server on this machine that counts what it receives and sends: an S3 of moto, and a hub.

    python -m benchmarks.server SOURCE

It prints its URL, and then answers each line on its standard input with one of JSON: `begin` counts
from there on, with nothing written to `TARGETS`, and `end` says what was counted since. It ends
with its standard input. The files of the directory SOURCE are in the bucket `SOURCES`, and are the
repository `REPOSITORY` of a hub below the path `/hub`.

Bytes are counted at the sockets, with the headers of HTTP.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

#: Buckets: of what is read, and of what is written.
SOURCES, TARGETS = "sources", "targets"
#: The hub's only repository, and its commit.
REPOSITORY, COMMIT = "bench/model", "0" * 40
#: What clients of the server need: made-up credentials, and none of the user's.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Traffic:
    """Bytes that the server's clients received and sent, and their requests."""

    received: int = 0
    sent: int = 0
    requests: int = 0


class Counter:
    """What was counted, from many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._traffic = Traffic()

    def add(self, received: int = 0, sent: int = 0, requests: int = 0) -> None:
        """Count more."""
        with self._lock:
            self._traffic.received += received
            self._traffic.sent += sent
            self._traffic.requests += requests

    def take(self) -> Traffic:
        """Return what was counted, and count from zero."""
        with self._lock:
            taken, self._traffic = self._traffic, Traffic()
        return taken


def counting(counter: Counter) -> type[Any]:
    """Return a handler of Werkzeug's server that counts at the connection."""
    from werkzeug.serving import WSGIRequestHandler

    class Reading(socket.SocketIO):
        def readinto(self, buffer: WriteableBuffer) -> int | None:
            count = super().readinto(buffer)
            counter.add(sent=count or 0)
            return count

    class Writing(io.BufferedIOBase):
        def __init__(self, connection: socket.socket) -> None:
            self._connection = connection

        def writable(self) -> bool:
            return True

        def write(self, data: ReadableBuffer) -> int:
            self._connection.sendall(data)
            count = memoryview(data).nbytes
            counter.add(received=count)
            return count

    class Handler(WSGIRequestHandler):
        def setup(self) -> None:
            super().setup()
            self.rfile = io.BufferedReader(Reading(self.connection, "r"))
            self.wfile = Writing(self.connection)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002
            counter.add(requests=1)

    return Handler


def hub(directory: str) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """Return the hub's application, for the files of a directory: a listing, and their bytes."""
    from werkzeug.utils import send_file
    from werkzeug.wrappers import Request, Response

    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(directory)}
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in sizes}
    siblings = [
        {"rfilename": name, "size": size, "blobId": digests[name]} for name, size in sizes.items()
    ]
    listing = {"id": REPOSITORY, "sha": COMMIT, "siblings": siblings}
    tree = [
        {"type": "file", "path": name, "size": size, "oid": digests[name]}
        for name, size in sizes.items()
    ]

    @Request.application
    def answer(request: Request) -> Response:
        if request.path.startswith(f"/hub/api/models/{REPOSITORY}"):
            document = tree if "/tree/" in request.path else listing
            return Response(json.dumps(document), mimetype="application/json")
        base, _, name = request.path.rpartition("/")
        if base != f"/hub/{REPOSITORY}/resolve/{COMMIT}" or name not in digests:
            return Response(status=404, headers={"X-Error-Code": "EntryNotFound"})
        path = os.path.join(os.path.abspath(directory), name)
        found = send_file(path, request.environ, etag=digests[name], max_age=0)
        found.headers["X-Repo-Commit"] = COMMIT
        return found

    return answer


def main(source: str) -> None:
    """Serve until the standard input ends."""
    import boto3  # all are of the group `cloud`
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    os.environ.update(CREDENTIALS)
    counter, repository = Counter(), hub(source)
    store = DomainDispatcherApplication(create_backend_app)

    def serve(environ: dict[str, Any], respond: Callable[..., Any]) -> Iterable[bytes]:
        application = repository if environ["PATH_INFO"].startswith("/hub/") else store
        return application(environ, respond)

    server = make_server("127.0.0.1", 0, serve, threaded=True, request_handler=counting(counter))
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    client = boto3.resource("s3", endpoint_url=url)
    buckets = [client.create_bucket(Bucket=name) for name in (SOURCES, TARGETS)]
    for name in os.listdir(source):
        buckets[0].upload_file(os.path.join(source, name), f"model/{name}")
    print(url, flush=True)
    for line in sys.stdin:
        if line.strip() == "begin":
            buckets[1].objects.delete()
            counter.take()
            print("{}", flush=True)
        else:
            print(json.dumps(asdict(counter.take())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
