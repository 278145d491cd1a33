"""Repositories of the hub."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from shardctl.errors import MissingError, StorageError, UsageError
from shardctl.stores.base import Entry
from shardctl.stores.registry import open_store
from shardctl.stores.remote.client import TransientError
from shardctl.stores.remote.hub import HubClient
from shardctl.stores.remote.store import RemoteStore
from tests.support.web_server import Fault, WebServer
from tests.unit.stores.remote.conftest import QUICK

DATA = b"weights" * 1000
PATH = "hf://org/model/a.bin"


def quick(revision: str | None = None) -> RemoteStore:
    """A store of the repository that does not wait."""
    return RemoteStore("hf://org/model", HubClient("hf://org/model", "org/model", revision), QUICK)


def listings(server: WebServer) -> int:
    """How often the repository was listed; the library asks for other things, too."""
    return sum(request.path.startswith("/api/models/") for request in server.requests)


@pytest.mark.parametrize(
    ("url", "base", "path"),
    [
        ("hf://org/model", "hf://org/model", ""),
        ("hf://org/model/", "hf://org/model", ""),
        ("hf://models/org/model", "hf://org/model", ""),
        ("hf://org/model@v1.0", "hf://org/model@v1.0", ""),
        ("hf://org/model@refs%2Fpr%2F1/sub/a.bin", "hf://org/model@refs%2Fpr%2F1", "/sub/a.bin"),
        ("hf://org/model@refs/pr/1/sub/a.bin", "hf://org/model@refs/pr/1", "/sub/a.bin"),
        ("hf://org/model@refs/pr/12", "hf://org/model@refs/pr/12", ""),
        ("hf://org/model@refs/convert/parquet/a", "hf://org/model@refs/convert/parquet", "/a"),
        ("hf://org/model@refs/pr/1x", "hf://org/model@refs", "/pr/1x"),
    ],
)
def test_what_a_url_means(url: str, base: str, path: str) -> None:
    """A URL has a repository, perhaps a revision, and perhaps a path; nothing is asked for it."""
    store, found = open_store(url)
    assert isinstance(store, RemoteStore)
    assert (store.base, found) == (base, base + path)


@pytest.mark.parametrize(
    "url",
    [
        "hf://",
        "hf://gpt2",
        "hf://a/b@",
        "hf://user:s3cr3t@a/b",
        "hf://user:s3cr3t@a",
        "hf://a/b@main/?token=s3cr3t//",
        "hf://datasets/a/b",
        "hf://a//b",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    """What has no repository is a usage error that says how to write one, and repeats no secret."""
    with pytest.raises(UsageError, match="does not name a repository") as caught:
        open_store(url)
    assert "hf://ORG/NAME@REVISION" in caught.value.hint
    assert "s3cr3t" not in repr(caught.value.__reduce__())


def test_one_request_lists_a_repository(hub_server: WebServer) -> None:
    """Names, kinds and versions of all files take one request together."""
    (hub_server.root / "org/model/sub").mkdir()
    (hub_server.root / "org/model/sub/b").write_bytes(b"1")
    store, path = open_store("hf://org/model")
    assert store.list(path) == [
        Entry("a.bin", "file", None, len(DATA)),
        Entry("sub", "directory", None, 0),
    ]
    assert store.kind(f"{path}/sub/b") == "file"
    assert store.kind(f"{path}/c") is None
    assert store.version(PATH).size == len(DATA)
    assert listings(hub_server) == 1


def test_a_commit_is_read_whatever_the_branch_becomes(hub_server: WebServer) -> None:
    """Once it was listed, the same commit is read, in another process too."""
    store, _ = open_store("hf://org/model@main")
    path = "hf://org/model@main/a.bin"
    version = store.version(path)
    copy = pickle.loads(pickle.dumps(store))
    (hub_server.root / "org/model/a.bin").write_bytes(b"other")
    for each in (store, copy):
        assert each.version(path) == version
        assert each.open(path).read(0, len(DATA)) == DATA
    assert open_store("hf://org/model")[0].version(PATH).size == 5


def test_the_token_is_for_the_hub_alone(hub_server: WebServer) -> None:
    """The token goes to the hub, and never to where it redirects."""
    assert hub_server.hub is not None
    store, _ = open_store("hf://org/model")
    store.open(PATH).read(0, 100)
    assert {r.headers.get("authorization") for r in hub_server.requests} == {"Bearer hf_s3cr3t"}
    assert [r.headers.get("authorization") for r in hub_server.hub.requests] == [None]
    assert "s3cr3t" not in f"{store.__dict__!r}{pickle.dumps(store)!r}"


def test_the_place_of_the_bytes_is_remembered(hub_server: WebServer) -> None:
    """The hub is asked once for a file; where its URL expires, it is asked again."""
    assert hub_server.hub is not None
    (hub_server.root / "org/model/a.bin").write_bytes(bytes(600_000))
    reader = quick().open(PATH)
    hub_server.forget()
    assert reader.read(150_000, 100_000) == bytes(100_000)
    assert hub_server.requests == []
    hub_server.hub.faults.append(Fault(".", status=403))
    assert reader.read(250_000, 100_000) == bytes(100_000)
    assert len(hub_server.requests) == 1


def test_a_hub_that_has_the_bytes_itself(hub_server: WebServer) -> None:
    """It gets the token with every request, not with the first one alone."""
    assert hub_server.hub is not None
    data = bytes(300_000)
    (hub_server.root / "org" / "model" / "b.bin").write_bytes(data)
    store = quick()
    assert store.version("hf://org/model/b.bin").size == len(data)
    (commit,) = hub_server.commits
    place = f"/org/model/resolve/{commit}/b.bin"
    hub_server.users, hub_server.hub = ("Bearer hf_s3cr3t",), None
    target = hub_server.root / place.lstrip("/")
    target.parent.mkdir(parents=True)
    target.write_bytes(data)
    hub_server.forget()
    with store.open("hf://org/model/b.bin") as reader:
        for offset in (0, 120_000, 150_000):
            assert reader.read(offset, 10_000) == bytes(10_000)
    assert [request.path for request in hub_server.requests] == [place] * 3


def test_a_hub_that_says_when_to_come_back(hub_server: WebServer) -> None:
    """The wait is as long as it asks for."""
    headers = {"Retry-After": "17"}
    hub_server.faults.append(Fault("api/models", status=429, headers=headers))
    with pytest.raises(TransientError, match="429") as caught:
        HubClient("hf://org/model", "org/model", None).entries("hf://org/model")
    assert caught.value.after == 17.0


def test_a_file_in_the_cache_is_not_fetched(hub_server: WebServer) -> None:
    """What huggingface_hub has fetched at this commit is read from its cache."""
    from huggingface_hub import constants

    commit = hub_server.commit("org/model")
    snapshot = Path(constants.HF_HUB_CACHE) / "models--org--model" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "a.bin").write_bytes(DATA)

    def asked() -> bool:
        return any("/resolve/" in request.path for request in hub_server.requests)

    store = quick()
    assert store.open(PATH).read(0, 700) == DATA[:700]
    assert not asked()
    (snapshot / "a.bin").write_bytes(b"cut off")
    assert quick().open(PATH).read(0, 700) == DATA[:700]
    assert asked()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("hf://org/missing", "does not exist, or is private"),
        ("hf://org/model@missing", "the revision of 'hf://org/model@missing' does not exist"),
    ],
)
@pytest.mark.usefixtures("hub_server")
def test_what_is_missing_on_the_hub(url: str, words: str) -> None:
    """A repository or a revision that does not exist is a missing input, with a next step."""
    store, path = open_store(url)
    with pytest.raises(MissingError, match=words) as caught:
        store.list(path)
    assert caught.value.hint


@pytest.mark.parametrize(("status", "words"), [(403, "no access"), (418, "answers 418")])
def test_what_the_hub_refuses(hub_server: WebServer, status: int, words: str) -> None:
    """A refusal is a failure of the remote that has neither token nor the library's text."""
    hub_server.faults.append(Fault("/api/", times=9, status=status))
    with pytest.raises(StorageError, match=words) as caught:
        quick().list("hf://org/model")
    assert "s3cr3t" not in repr((caught.value.__reduce__(), caught.value.__cause__))


@pytest.mark.parametrize("pattern", ["/api/", "/resolve/"])
def test_a_busy_hub_is_asked_again(hub_server: WebServer, pattern: str) -> None:
    """Too many requests, for the listing or for a file, delay and do not fail."""
    hub_server.faults.append(Fault(pattern, times=2, status=429, headers={"Retry-After": "0"}))
    assert quick().open(PATH).read(0, 7) == b"weights"


@pytest.mark.usefixtures("hub_server")
def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without huggingface_hub the error says which extra to install."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    store, path = open_store("hf://org/model")
    with pytest.raises(UsageError, match="needs huggingface_hub") as caught:
        store.list(path)
    assert "shardctl[hub]" in caught.value.hint


@pytest.mark.usefixtures("hub_server")
def test_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library must not ask the hub, the error names the setting."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    try:
        with pytest.raises(StorageError, match="HF_HUB_OFFLINE is set"):
            quick().list("hf://org/model")
    finally:
        close_session()
