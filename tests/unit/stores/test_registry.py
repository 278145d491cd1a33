"""Which store a path or a URL means."""

from __future__ import annotations

import pytest

from shardctl.errors import UsageError
from shardctl.stores.base import Store
from shardctl.stores.local.store import LocalStore
from shardctl.stores.registry import open_store, open_together, register
from shardctl.testing.memory import MemoryStore


@pytest.mark.parametrize(
    "path",
    [
        "",
        "model",
        "/data/m",
        "C:\\x",
        "C:/x",
        "c://x",
        "a:b",
        "s3:x",
        "s3:/x",
        "./s3://x",
        "-s3://x",
    ],
)
def test_a_path_is_local(path: str) -> None:
    """What does not begin with a scheme is a path of this machine, as it is."""
    store, found = open_store(path)
    assert type(store) is LocalStore
    assert found == path


def test_an_unknown_scheme_names_what_is_known() -> None:
    """A URL that no store is known for is a usage error, with the schemes that can be used."""
    with pytest.raises(UsageError, match="unknown scheme, ftp://") as caught:
        open_store("ftp://bucket/m")
    assert caught.value.file == "ftp://bucket/m"
    assert "a path of this machine" in caught.value.hint
    undo = register("Mem", lambda url: (MemoryStore(), url))
    try:
        with pytest.raises(UsageError) as caught:
            open_store("ftp://bucket/m")
    finally:
        undo()
    assert "mem://" in caught.value.hint


def test_a_scheme_is_registered_and_undone() -> None:
    """A loader is called for each URL of its scheme, in any case, until that is undone."""
    asked: list[str] = []
    memory = MemoryStore()

    def load(url: str) -> tuple[Store, str]:
        asked.append(url)
        return memory, url.partition("://")[2]

    undo = register("mem", load)
    try:
        assert asked == []
        assert open_store("MEM://a/b") == (memory, "a/b")
        assert asked == ["MEM://a/b"]
        with pytest.raises(ValueError, match="'mem'"):
            register("mem", load)
    finally:
        undo()
    with pytest.raises(UsageError):
        open_store("mem://a/b")
    undo()


@pytest.mark.parametrize("scheme", ["", "c", "a b", "1a", "s3:", "s3://"])
def test_what_cannot_be_a_scheme_is_refused(scheme: str) -> None:
    """A scheme that no URL could have is a mistake of the program that registers it."""
    with pytest.raises(ValueError, match="not a scheme"):
        register(scheme, lambda url: (MemoryStore(), url))


def test_files_of_different_places_are_not_joined() -> None:
    """One URL among several sources is refused, by its address without what may be secret."""
    with pytest.raises(UsageError, match="only on this machine") as caught:
        open_together(["a.safetensors", "https://me:secret@host/b.safetensors?token=x"])
    assert caught.value.file == "https://host/b.safetensors"
    store, paths = open_together(["a", "b"])
    assert type(store) is LocalStore
    assert paths == ["a", "b"]
