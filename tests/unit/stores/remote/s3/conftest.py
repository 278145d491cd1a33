"""A bucket of a real S3 server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from shardctl.stores.registry import open_store
from shardctl.stores.remote.s3.store import S3Store
from tests.support.s3_server import SETTINGS, make_bucket, s3_server


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the server, in another process."""
    with s3_server(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
def bucket(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> S3Store:
    """An empty bucket."""
    for name, value in {**SETTINGS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60]
    make_bucket(f"{endpoint}/{name}")
    store, _ = open_store(f"s3://{name}")
    assert isinstance(store, S3Store)
    return store


@pytest.fixture
def other(bucket: S3Store) -> S3Store:
    """The same bucket, as another program has it open."""
    store, _ = open_store(bucket.base)
    assert isinstance(store, S3Store)
    return store
