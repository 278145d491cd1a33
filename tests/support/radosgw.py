"""Ceph's S3 gateway on the smallest cluster that it takes: a monitor, an OSD in memory, no mgr."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.s3_server import SETTINGS

PROGRAMS = (
    "ceph",
    "ceph-authtool",
    "ceph-mon",
    "ceph-osd",
    "monmaptool",
    "radosgw",
    "radosgw-admin",
)
#: Seconds in which a part of the cluster must have started.
_PATIENCE = 120
#: Why the tests of a cluster are skipped which did not.
DOES_NOT_START = "Ceph's cluster does not start here in its time"

_CONFIGURATION = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{ports[0]},v1:127.0.0.1:{ports[1]}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
mon allow pool size one = true
mon warn on pool no redundancy = false
mon pg warn min per osd = 0
mon max pg per osd = 2000
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 4294967296
mon data = {directory}/mon
osd data = {directory}/osd
osd journal = {directory}/osd/journal
mgr data = {directory}/mgr
run dir = {directory}
admin socket =
log file = {directory}/$name.log
pid file = {directory}/$name.pid
keyring = {directory}/keyring
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{ports[2]}
rgw data = {directory}/rgw
"""


@contextmanager
def radosgw(directory: Path) -> Iterator[str]:
    """Start a cluster with a gateway, and yield its URL; its logs are in `directory`.

    Skips the test where the cluster does not start in its time.
    """
    with ExitStack() as free:
        sockets = [free.enter_context(socket.socket()) for _ in range(3)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
    fsid = str(uuid.uuid4())
    configuration = directory / "ceph.conf"
    configuration.write_text(_CONFIGURATION.format(fsid=fsid, directory=directory, ports=ports))
    for name in ("mon", "osd", "mgr", "rgw"):
        (directory / name).mkdir()
    common = ["-c", str(configuration)]

    def run(*command: str) -> str:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=_PATIENCE
            )
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            (directory / "failed.log").write_text(f"{error}\n{error.stderr!r}")
            pytest.skip(DOES_NOT_START)
        return done.stdout.strip()

    def start(*command: str) -> None:
        with (directory / f"{command[0]}.out").open("wb") as output:
            process = subprocess.Popen([*command, *common, "-f"], stdout=output, stderr=output)
        running.callback(process.wait)
        running.callback(process.kill)

    with ExitStack() as running:
        address = f"[v2:127.0.0.1:{ports[0]},v1:127.0.0.1:{ports[1]}]"
        monmap, keyring = str(directory / "monmap"), str(directory / "keyring")
        (directory / "keyring").touch()
        for name in ("mon.", "client.admin", "client.rgw", "osd.0"):
            rights = [each for part in ("mon", "osd") for each in ("--cap", part, "allow *")]
            run("ceph-authtool", keyring, "--gen-key", "-n", name, *rights)
        run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monmap)
        run("ceph-mon", *common, "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        start("ceph-mon", "-i", "a")
        osd = run("ceph", *common, "--connect-timeout", "60", "osd", "create", fsid)
        run("ceph-osd", *common, "-i", osd, "--mkfs", "--osd-uuid", fsid)
        start("ceph-osd", "-i", osd)
        start("radosgw", "-n", "client.rgw")
        for _ in range(_PATIENCE * 5):
            with suppress(OSError), socket.create_connection(("127.0.0.1", ports[2]), timeout=5):
                break
            time.sleep(0.2)
        else:
            pytest.skip(DOES_NOT_START)
        keys = ("--access-key", SETTINGS["AWS_ACCESS_KEY_ID"])
        secret = ("--secret", SETTINGS["AWS_SECRET_ACCESS_KEY"])
        user = ("user", "create", "--uid", "tests", "--display-name", "tests")
        run("radosgw-admin", *common, "-n", "client.rgw", *user, *keys, *secret)
        yield f"http://127.0.0.1:{ports[2]}"


needs_radosgw = pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)),
    reason="needs Ceph's radosgw, ceph-mon and ceph-osd",
)
