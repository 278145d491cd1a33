"""Object stores: a bucket of a real S3 server passes the suites, and its faults are survived."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardctl.errors import MissingError, ShardctlError, StorageError, UsageError
from shardctl.stores.base import Store
from shardctl.stores.registry import open_store
from shardctl.testing.suites.capabilities import LocksSuite
from shardctl.testing.suites.fixtures import DATA, Fill
from shardctl.testing.suites.remote import RemoteSuite
from shardctl.testing.suites.stores import StoreSuite
from shardctl.testing.suites.uploads import CopiesPartsSuite, UploadsSuite
from tests.support.radosgw import needs_radosgw, radosgw
from tests.support.s3_server import SECRET, SETTINGS, make_bucket, needs_cloud, s3_server
from tests.support.web_server import Fault, WebServer, web

pytestmark = needs_cloud


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an S3 server, in another process."""
    with s3_server(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Made-up credentials, in the environment alone."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


class TestS3Store(StoreSuite, RemoteSuite, LocksSuite, UploadsSuite, CopiesPartsSuite):
    """A bucket of a server of moto."""

    @pytest.fixture
    def bucket(self, s3: str, settings: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
        """The URL of a bucket for this test."""
        settings.setenv("AWS_ENDPOINT_URL", s3)
        url = f"{s3}/{re.sub('[^a-z0-9]+', '-', request.node.name.lower()).strip('-')[:60]}"
        make_bucket(url)
        return url

    @pytest.fixture
    def root(self, bucket: str) -> str:
        """A directory in it."""
        return f"s3://{bucket.rpartition('/')[2]}/models/mine"

    @pytest.fixture
    def store(self, root: str) -> Store:
        """The store of the bucket."""
        return open_store(root)[0]

    @pytest.fixture
    def fill(self, bucket: str) -> Fill:
        """What sends an object to the server."""
        import obstore
        from obstore.store import from_url

        place = from_url(f"s3://{bucket.rpartition('/')[2]}")

        def fill(path: str, data: bytes) -> str:
            obstore.put(place, path.removeprefix("s3://").partition("/")[2], data)
            return path

        return fill

    def test_a_changed_file_is_not_copied(  # type: ignore[override] # see the sentence
        self, store: Store, path: str, fill: Fill
    ) -> None:
        """Neither server compares versions here; what a run compares before its commit is another
        one then.
        """
        version = store.version(path)
        fill(path, DATA[::-1])
        assert store.version(path) != version

    def test_a_missing_bucket(self, s3: str, settings: pytest.MonkeyPatch) -> None:
        """A bucket that does not exist is a missing input."""
        settings.setenv("AWS_ENDPOINT_URL", s3)
        store, path = open_store("s3://nowhere-at-all/m")
        with pytest.raises(MissingError, match="bucket"):
            store.list(path)


@needs_radosgw
@pytest.mark.slow
class TestCephStore(TestS3Store):
    """A bucket of Ceph's gateway, on a cluster of one disk in memory."""

    @pytest.fixture(scope="class")
    def s3(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        """The URL of the gateway."""
        with radosgw(tmp_path_factory.mktemp("ceph")) as url:
            yield url


@pytest.fixture
def server(tmp_path: Path, settings: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server that answers for objects as S3 does, and can fail."""
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "a.bin").write_bytes(DATA)
    with web(tmp_path) as server:
        settings.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


@pytest.mark.parametrize(
    "fault", [Fault("a.bin", 2, 503), Fault("a.bin", 2, 429), Fault("a.bin", 2, cut=3000)]
)
def test_a_busy_server_is_asked_again(server: WebServer, fault: Fault) -> None:
    """Answers that may pass delay and do not fail."""
    server.faults.append(fault)
    store, path = open_store("s3://bucket/a.bin")
    with store.open(path) as reader:
        assert reader.read(0, len(DATA)) == DATA
    assert fault.times == 0


@pytest.mark.parametrize("status", [401, 403, 400])
def test_no_error_has_a_secret(server: WebServer, status: int) -> None:
    """A refusal names the object, and neither the request nor what signed it."""
    server.faults.append(Fault("a.bin", 99, status))
    store, path = open_store("s3://bucket/a.bin")
    with pytest.raises(StorageError) as caught:
        store.open(path)
    assert caught.value.file == path
    error: BaseException | None = caught.value
    while error is not None:
        text = repr((error, error.__dict__))
        assert SECRET not in text
        assert "Signature" not in text
        error = error.__cause__


@pytest.mark.parametrize("url", ["s3://", "s3:///a", "s3://key:s3cr3t@bucket/a", "gs://", "az://"])
def test_a_url_needs_a_bucket_and_has_no_secret(url: str) -> None:
    """A URL without a bucket, or with credentials in it, is refused and not repeated."""
    with pytest.raises(UsageError) as caught:
        open_store(url)
    assert "s3cr3t" not in repr(caught.value.__reduce__())
    assert "BUCKET" in caught.value.hint


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without obstore the error says which extra to install."""
    for name in ("obstore", "obstore.store"):
        monkeypatch.setitem(sys.modules, name, None)
    store, path = open_store("gs://bucket/a")
    with pytest.raises(ShardctlError, match="needs obstore") as caught:
        store.open(path)
    assert "shardctl[cloud]" in caught.value.hint
