"""What TARGET means, and whether it is the source."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.commands.target.resolve import Route, Target, resolve_target
from shardctl.errors import UsageError
from shardctl.source.locate import find_source
from shardctl.stores.base import Store
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, sample, weights


def route(store: Store, target: str, source: str = "m") -> Route:
    """From a source to a target in the same store."""
    place = resolve_target(store, target, one_file=True)
    return Route(store, find_source(store, source), store, place)


@pytest.mark.parametrize("text", ["new", "new/", "m", "a.b"])
def test_a_directory(text: str) -> None:
    """A directory that exists, and any new name without a weights suffix, is a directory."""
    store = MemoryStore()
    sample(store)
    place = resolve_target(store, text, one_file=False)
    assert (place.directory, place.filename, place.format) == (text, None, None)


@pytest.mark.parametrize(
    ("text", "container"),
    [
        ("out/x.safetensors", "safetensors"),
        ("x.bin", "bin"),
        ("x.pt", "bin"),
        ("x.pth", "bin"),
        ("x.ckpt", "bin"),
    ],
)
def test_a_file(text: str, container: str) -> None:
    """A weights suffix makes it a file in a directory."""
    store = MemoryStore()
    place = resolve_target(store, text, one_file=True)
    directory, name = store.split(text)
    assert place == Target(directory, name)
    assert place.format == container


def test_a_directory_with_a_weights_suffix_is_a_directory() -> None:
    """What is there counts more than how it is called."""
    store = MemoryStore()
    store.make_directory("odd.bin")
    assert resolve_target(store, "odd.bin", one_file=False).filename is None


def test_a_file_for_several_is_refused() -> None:
    """One file cannot hold what may be several, and the hint says how to get one."""
    with pytest.raises(UsageError, match="may be several") as caught:
        resolve_target(MemoryStore(), "x.safetensors", one_file=False)
    assert "`write(single=True)`" in caught.value.hint
    assert caught.value.file == "x.safetensors"


def test_any_other_file_is_refused() -> None:
    """A file that exists and has no weights suffix is not a target."""
    store = MemoryStore()
    put(store, "notes.txt", b"mine")
    with pytest.raises(UsageError, match="is a file") as caught:
        resolve_target(store, "notes.txt", one_file=True)
    assert caught.value.file == "notes.txt"


@pytest.mark.parametrize("one_file", [True, False])
@pytest.mark.parametrize(
    "text", ["x.gguf", "out/x.onnx", "x.h5", "x.npz", "x.distcp", "x.safetensors.index.json"]
)
def test_a_name_of_weights_that_are_not_written_is_refused(text: str, one_file: bool) -> None:
    """No directory gets the name of a file that the user hoped for; one that is there is meant."""
    store = MemoryStore()
    with pytest.raises(UsageError, match="has the name of a file") as caught:
        resolve_target(store, text, one_file=one_file)
    assert caught.value.file == text
    assert "name a directory" in caught.value.hint
    store.make_directory(text)
    assert resolve_target(store, text, one_file=one_file).filename is None


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    """A link that leads to nothing is neither a directory nor a file to write."""
    link = tmp_path / "out"
    link.symlink_to("gone")
    with pytest.raises(UsageError, match="does not exist") as caught:
        resolve_target(LocalStore(), str(link), one_file=True)
    assert caught.value.file == str(link)


def test_in_place() -> None:
    """The source's directory and its file are the source itself; another file beside it is not."""
    store = MemoryStore()
    sample(store)
    for text, itself in (
        ("m", True),
        ("m/", True),
        ("m/model.safetensors", True),
        ("m/x.bin", False),
        ("n", False),
    ):
        assert route(store, text).in_place is itself


def test_in_place_through_a_link(tmp_path: Path) -> None:
    """A link to the source's directory is the source itself."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.safetensors").write_bytes(weights({"a": b"1"}))
    (tmp_path / "link").symlink_to(tmp_path / "m")
    store = LocalStore()
    assert route(store, str(tmp_path / "link"), str(tmp_path / "m")).in_place


@pytest.mark.parametrize(
    "target", [".shardctl", "m/.shardctl", "m/.shardctl/files", "m/.Shardctl/x.safetensors"]
)
def test_the_state_of_runs_is_no_target(target: str) -> None:
    """A later run would take the files there for those that it has left."""
    with pytest.raises(UsageError, match="where runs keep their state"):
        resolve_target(MemoryStore(), target, one_file=True)
