"""What a store asks a client for, and how often; and what it does not write."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from shardctl.errors import (
    InputError,
    MissingError,
    ShardctlError,
    StorageError,
    TargetError,
)
from shardctl.model import Extent, Version
from shardctl.stores.base import Entry
from shardctl.stores.remote.client import Answer, TransientError
from shardctl.stores.remote.store import RemoteStore
from shardctl.stores.remote.tree import Tree
from tests.unit.stores.remote.conftest import QUICK

BASE = "https://host/models"
FILES = {"m/model.safetensors": b"weights" * 10, "m/deep/config.json": b"{}", "top.bin": b"top"}


@dataclass
class Memory:
    """A client of files in memory, which notes what it is asked for and can fail.

    `extra` bytes come after each range.
    """

    listed: bool = True
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    asked: list[str] = field(default_factory=list)
    failures: int = 0
    cut: int = 0
    extra: int = 0
    at_once: int = 8
    requests: int = 0
    nbytes: int = 0

    def _ask(self, what: str, path: str) -> str:
        self.asked.append(f"{what} {path.removeprefix(f'{BASE}/')}")
        self.requests += 1
        if self.failures:
            self.failures -= 1
            raise TransientError("the server is busy")
        return path.removeprefix(BASE).strip("/")

    def _found(self, path: str) -> bytes:
        if path not in self.files:
            raise MissingError(f"'{path}' does not exist", hint="look", file=path)
        return self.files[path]

    @contextmanager
    def ranged(
        self, path: str, offset: int, length: int, expected: Version | None
    ) -> Iterator[Answer]:
        """Answer with a range, of which `cut` bytes are missing once."""
        data = self._found(self._ask("range", path))
        part = data[offset : offset + length]
        part, self.cut = part[: len(part) - self.cut] + bytes(self.extra), 0
        self.nbytes += len(part)
        assert expected is None or expected.size == len(data)
        yield Answer(Version(len(data), "v"), iter([part]))

    def version(self, path: str) -> Version:
        """Answer with the version of a file."""
        return Version(len(self._found(self._ask("version", path))), "v")

    def entries(self, directory: str) -> Sequence[Entry] | None:
        """Answer with a listing, where the place has them."""
        path = self._ask("list", directory)
        if not self.listed:
            return None
        versions = {name: Version(len(data), "v") for name, data in self.files.items()}
        return Tree(versions).entries(path)


@pytest.fixture
def client() -> Memory:
    """A place that lists its files."""
    return Memory()


def opened(client: Memory) -> RemoteStore:
    """A store of it, which knows nothing yet."""
    return RemoteStore(BASE, client, QUICK)


def test_a_directory_is_listed_once(client: Memory) -> None:
    """What its names lead to follows from that, and nothing is asked again."""
    store = opened(client)
    assert [(each.name, each.kind) for each in store.list(f"{BASE}/m")] == [
        ("deep", "directory"),
        ("model.safetensors", "file"),
    ]
    before = list(client.asked)
    kinds = [store.kind(f"{BASE}/m{name}") for name in ("", "/", "/deep", "/model.safetensors")]
    assert kinds == ["directory", "directory", "directory", "file"]
    assert store.kind(f"{BASE}/m/nothing") is None
    assert client.asked.count("list m") == 1
    assert len(client.asked) <= len(before) + 1
    store.forget()
    store.list(f"{BASE}/m")
    assert client.asked.count("list m") == 2


def test_what_is_outside(client: Memory) -> None:
    """Nothing is asked about another place, and nothing is there."""
    store = opened(client)
    for path in ("https://host/other/a", "https://host/modelsandmore", "m/model.safetensors"):
        assert store.kind(path) is None
        with pytest.raises(MissingError):
            store.open(path)
    assert client.asked == []
    assert store.kind("") == store.kind(BASE) == "directory"


def test_opening_takes_one_request(client: Memory) -> None:
    """The beginning and the version come together; what was opened is opened again for nothing."""
    store, path = opened(client), f"{BASE}/m/model.safetensors"
    with store.open(path) as reader:
        assert reader.version == Version(70, "v")
        assert reader.read(7, 7) == b"weights"
    assert client.asked == ["range m/model.safetensors"]
    with store.open(path) as reader:
        assert reader.version == Version(70, "v")
    assert len(client.asked) == 1
    assert store.version(path) == Version(70, "v")
    assert client.asked[1:] == ["version m/model.safetensors"]
    assert (store.traffic().requests, store.traffic().nbytes) == (2, 70)


def test_a_place_that_lists_nothing() -> None:
    """A name is a file if it can be opened, which is then not asked again, and a directory if a
    file was found below it.
    """
    client = Memory(listed=False)
    store = opened(client)
    path = f"{BASE}/m/model.safetensors"
    assert store.kind(path) == "file"
    asked = client.asked.count("range m/model.safetensors")
    with store.open(path) as reader:
        assert reader.read(0, 7) == b"weights"
    assert client.asked.count("range m/model.safetensors") == asked == 1
    assert store.kind(f"{BASE}/m") == "directory"
    assert [each.name for each in store.list(f"{BASE}/m")] == ["model.safetensors"]
    for _ in range(2):
        assert store.kind(f"{BASE}/m/other") is None
    assert client.asked.count("range m/other") == 1


def test_a_failure_that_passes(client: Memory) -> None:
    """A busy server, and an answer that is too short, are asked again; not for ever."""
    client.failures, client.cut = 2, 3
    with opened(client).open(f"{BASE}/top.bin") as reader:
        assert reader.read(0, 3) == b"top"
    assert client.asked == ["range top.bin"] * 4
    client.failures = 99
    with pytest.raises(StorageError, match=r"the server is busy \(4 tries in a row\)"):
        opened(client).list(f"{BASE}/m")


def test_answers_that_are_too_long(client: Memory) -> None:
    """They are refused, not taken for the range, when a file is opened, read or streamed."""
    client.files["long"] = bytes(300_000)
    path = f"{BASE}/long"
    reader = opened(client).open(path)
    client.extra = 1
    for read in (
        lambda: opened(client).open(path),
        lambda: reader.read(150_000, 8),
        lambda: reader.read(150_000, 10_000),
        lambda: b"".join(reader.stream(Extent(path, 150_000, 100_000))),
    ):
        with pytest.raises(StorageError, match="more bytes than were asked for"):
            read()


@pytest.mark.parametrize("listed", [True, False])
def test_a_directory_is_no_file(listed: bool) -> None:
    """To open one says so, and a file has no names in it."""
    client = Memory(listed=listed)
    store = opened(client)
    assert store.kind(f"{BASE}/m/deep/config.json") == "file"
    with pytest.raises(InputError) as caught:
        store.open(f"{BASE}/m/deep")
    assert caught.value.code == "file-not-regular"
    with pytest.raises(InputError, match="is not a directory"):
        store.list(f"{BASE}/m/deep/config.json")
    with pytest.raises(MissingError):
        store.list(f"{BASE}/nothing")


@pytest.mark.parametrize(
    "write",
    [
        lambda store, path: store.create(path, 3),
        lambda store, path: store.make_directory(path),
        lambda store, path: store.rename(f"{BASE}/top.bin", path),
        lambda store, path: store.remove(path),
    ],
)
def test_nothing_is_written(client: Memory, write: Callable[[RemoteStore, str], object]) -> None:
    """Every change is refused with what to do, and nothing is asked."""
    with pytest.raises(TargetError, match="only read") as caught:
        write(opened(client), f"{BASE}/new")
    assert "choose a directory of this machine" in caught.value.hint
    assert client.asked == []


def test_paths_and_copies(client: Memory) -> None:
    """Paths are URLs; a copy in another process is equal, and knows nothing yet."""
    store = opened(client)
    path = store.join(BASE, "m", "deep")
    assert (path, store.split(f"{path}/")) == (f"{BASE}/m/deep", (f"{BASE}/m", "deep"))
    assert store.same(path, f"{path}/")
    assert not store.same(path, f"{BASE}/m")
    other: RemoteStore = pickle.loads(pickle.dumps(store))
    assert other == store
    assert hash(other) == hash(store)
    assert other.list(path) == store.list(path)
    refusal: ShardctlError = other.refusal(path)
    assert "https://" in refusal.message
