"""Directories that hold no checkpoint themselves: what they are, and what is said of them."""

from __future__ import annotations

import pytest

from shardctl.errors import InputError, MissingError, UsageError
from shardctl.source.locate import find_source
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights

CACHE = "hub/models--org--name"


def cache(*revisions: str, main: str | None = None) -> MemoryStore:
    """A model in the hub's cache with these snapshots."""
    store = MemoryStore()
    put(store, f"{CACHE}/blobs/x", b"")
    for revision in revisions:
        put(store, f"{CACHE}/snapshots/{revision}/model.safetensors", weights({"a": b"1"}))
    if main is not None:
        put(store, f"{CACHE}/refs/main", main.encode())
    return store


@pytest.mark.parametrize(
    ("revisions", "main", "taken"),
    [(("aa", "bb"), "bb\n", "bb"), (("aa",), None, "aa"), (("aa",), "gone", "aa")],
)
def test_a_model_in_the_hubs_cache_is_its_snapshot(
    revisions: tuple[str, ...], main: str | None, taken: str
) -> None:
    """The revision of main is read, or the only one, with a note."""
    located = find_source(cache(*revisions, main=main), CACHE)
    assert located.files == (f"{CACHE}/snapshots/{taken}/model.safetensors",)
    assert f"reading snapshot {taken}" in located.notes[0]


@pytest.mark.parametrize("main", [None, "gone", "../../x", ""])
def test_several_snapshots_are_listed(main: str | None) -> None:
    """Where main does not say which one, it is exit 2 with the paths to name."""
    with pytest.raises(UsageError, match="2 snapshots") as caught:
        find_source(cache("aa", "bb", main=main), CACHE)
    assert f"{CACHE}/snapshots/aa; {CACHE}/snapshots/bb" in caught.value.hint


def test_a_cache_without_a_snapshot_names_unfinished_downloads() -> None:
    """What is only half there is named."""
    store = cache()
    put(store, f"{CACHE}/snapshots/x", b"")
    put(store, f"{CACHE}/blobs/4d4d.incomplete", b"12")
    with pytest.raises(MissingError, match=r"1 unfinished download: 4d4d\.incomplete"):
        find_source(store, CACHE)


def test_unfinished_downloads_are_named() -> None:
    """A directory of half a download says so."""
    store = MemoryStore()
    put(store, "m/model.safetensors.incomplete", b"12")
    with pytest.raises(MissingError, match="no checkpoint, but 1 unfinished download") as caught:
        find_source(store, "m")
    assert "download finish" in caught.value.hint


@pytest.mark.parametrize("place", ["m/archive", "m"])
def test_an_unpacked_torch_file_is_recognised(place: str) -> None:
    """The directory that an archive was unpacked to, or the one above it, says how to pack it."""
    store = MemoryStore()
    for name in ("data.pkl", "version", "data/0"):
        put(store, f"m/archive/{name}", b"3")
    with pytest.raises(InputError, match="'m/archive' is an unpacked file") as caught:
        find_source(store, place)
    assert "zip -0 -r archive.bin archive" in caught.value.hint


@pytest.mark.parametrize("name", ["x.pth.tar", "x.th", "x.pkl", "x", "checkpoint.best"])
def test_the_only_weights_file_is_found_by_its_contents(name: str) -> None:
    """A file of any name is taken where nothing else has weights in it."""
    store = MemoryStore()
    put(store, f"m/{name}", weights({"a": b"1"}, "bin"))
    put(store, "m/vocab.txt", b"a")
    put(store, "m/spiece.model", b"\n\x0b\n\x05<unk>")
    put(store, "m/notes.pkl", b"\x80\x02K\x01.")
    assert find_source(store, "m").files == (f"m/{name}",)
