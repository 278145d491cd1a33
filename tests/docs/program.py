"""The program as a server, so that a page of examples does not wait for imports at each line.

The `shardctl` that it puts on the PATH hands its arguments, environment, streams and `ulimit -f`
over, and ends with the exit code that comes back. The server has everything imported, and forks for
each call.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.program import ROOT

SHIM = """\
#!{python} -IS
import json, os, resource, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({path!r})
    call = {{"arguments": sys.argv[1:], "directory": os.getcwd(), "environment": dict(os.environ)}}
    call["largest_file"] = resource.getrlimit(resource.RLIMIT_FSIZE)
    socket.send_fds(server, [b"-"], [0, 1, 2])
    server.sendall(json.dumps(call).encode() + b"\\n")
    sys.exit(int(server.recv(16) or b"70"))
"""


@contextmanager
def served(directory: Path) -> Iterator[Path]:
    """A server at work; gives the directory for the PATH that has `shardctl` in it."""
    binaries, path = directory / "bin", directory / "socket"
    binaries.mkdir(parents=True)
    shim = binaries / "shardctl"
    shim.write_text(SHIM.format(python=sys.executable, path=str(path)))
    python = binaries / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n')
    for script in (shim, python):
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        command = [sys.executable, "-m", "tests.docs.program", str(listening.fileno())]
        server = subprocess.Popen(command, cwd=ROOT, pass_fds=[listening.fileno()])
        try:
            yield binaries
        finally:
            server.terminate()
            server.wait()


def serve(listening: socket.socket) -> None:
    """Answer calls until a signal ends the process, each in a fork."""
    signal.signal(
        signal.SIGCHLD, signal.SIG_IGN
    )  # without waiting: the exit code goes over the socket
    while True:
        connection, _ = listening.accept()
        with connection:
            if os.fork() == 0:
                listening.close()
                _answer(connection)


def _answer(connection: socket.socket) -> None:
    from shardctl.cli.app import app
    from shardctl.cli.exits import run

    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as lines:
        call = json.loads(lines.readline())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2)
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, call["largest_file"])
    os.chdir(call["directory"])
    os.environ.clear()
    os.environ.update(call["environment"])
    code = run(app, call["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(str(code).encode())
    os._exit(0)


def main() -> None:
    """Import all that a command imports, then serve."""
    import rich.console
    import rich.table
    import rich.tree

    import shardctl.cli.commands.apply
    import shardctl.cli.commands.readers
    import shardctl.cli.commands.writers
    import shardctl.cli.output.documents
    import shardctl.cli.output.render
    import shardctl.cli.progress.observers
    import shardctl.commands.write
    import shardctl.verify.run

    assert rich.console
    assert shardctl.commands.write
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
