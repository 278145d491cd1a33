"""A server with the interface of Amazon S3 in another process, and what is needed to ask it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.servers import announced

SECRET = "s3cr3t" * 3
#: Made-up credentials, and no others.
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}
#: Skips a module where the server or its clients are missing.
needs_cloud = pytest.mark.skipif(
    not all(importlib.util.find_spec(each) for each in ("moto", "obstore", "botocore", "flask")),
    reason="needs moto and obstore, of the group `cloud`",
)


@contextmanager
def s3_server(directory: Path) -> Iterator[str]:
    """Start a server of moto, and yield its URL; its log is in `directory`."""
    log = directory / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield announced(process, log, r"http://127\S+(?=\n)")
    finally:
        process.kill()
        process.wait()


def make_bucket(url: str) -> None:
    """Make an empty bucket, with the credentials of the environment."""
    import botocore.session

    endpoint, _, name = url.rpartition("/")
    client = botocore.session.Session().create_client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=name)
