"""A small file has its old content or the new, and a name is durable before it is used."""

from __future__ import annotations

import pytest

from shardctl.errors import StorageError, TargetExistsError
from shardctl.stores.atomic import FRESH, make_durably, put, put_beside, write_new
from shardctl.testing.memory import MemoryStore, MemoryWriter
from tests.support.memory_checkpoints import get
from tests.support.memory_checkpoints import put as put_file


class Told(MemoryStore):
    """A store that remembers what was done, and fails at a step that begins so."""

    def __init__(self, fails: str = "-") -> None:
        super().__init__()
        self.steps: list[str] = []
        self.fails = fails

    def _note(self, step: str) -> None:
        self.steps.append(step)
        if step.startswith(self.fails):
            raise StorageError("why", hint="", file="f")

    def create(self, path: str, nbytes: int) -> MemoryWriter:
        """Create a file, and tell when it is synced."""
        self._note(f"create {path}")
        writer = super().create(path, nbytes)
        note = self._note

        class Syncing(MemoryWriter):
            def sync(self) -> None:
                note("sync file")

        return Syncing(path, writer._file)

    def rename(self, old: str, new: str) -> None:
        """Rename a file."""
        self._note(f"rename {old} {new}")
        super().rename(old, new)

    def make_directory(self, path: str) -> None:
        """Make a directory."""
        self._note(f"make {path}")
        super().make_directory(path)

    def sync_directory(self, path: str) -> None:
        """Sync a directory."""
        self._note(f"sync {path or '.'}")
        super().sync_directory(path)


def told(fails: str = "-") -> Told:
    """A store with a directory `d` and a file in it."""
    store = Told()
    put_file(store, "d/a", b"old")
    store.steps.clear()
    store.fails = fails
    return store


def test_new_content_has_its_name_once_it_is_durable() -> None:
    """The bytes are synced before the rename, and the name after it."""
    store = told()
    put(store, "d", "a", b"new")
    assert store.steps == [f"create d/a{FRESH}", "sync file", f"rename d/a{FRESH} d/a", "sync d"]
    assert get(store, "d/a") == b"new"
    assert [entry.name for entry in store.list("d")] == ["a"]


@pytest.mark.parametrize("step", ["create", "sync file", "rename"])
def test_a_failure_leaves_the_old_content(step: str) -> None:
    """Whatever fails before the rename, the file is as it was; what was left over is replaced."""
    store = told(step)
    with pytest.raises(StorageError):
        put(store, "d", "a", b"new")
    assert get(store, "d/a") == b"old"
    store.fails = "-"
    put(store, "d", "a", b"newer")
    assert get(store, "d/a") == b"newer"


@pytest.mark.parametrize("step", ["sync file", "rename"])
def test_a_failure_beside_leaves_nothing(step: str) -> None:
    """In a directory of the user the new file is removed after a failure."""
    store = told(step)
    with pytest.raises(StorageError):
        put_beside(store, "d", "a", b"new")
    assert [entry.name for entry in store.list("d")] == ["a"]
    assert get(store, "d/a") == b"old"


def test_no_file_of_the_user_is_removed_beside() -> None:
    """The fresh name is a random one: a file with the usual one stays."""
    store = told()
    put_file(store, f"d/a{FRESH}", b"mine")
    put_beside(store, "d", "a", b"new")
    assert get(store, f"d/a{FRESH}") == b"mine"
    assert get(store, "d/a") == b"new"
    fresh = [step.split()[1] for step in store.steps if step.startswith("rename")]
    put_beside(store, "d", "a", b"newer")
    assert [step.split()[1] for step in store.steps if step.startswith("rename")] != fresh * 2


def test_a_new_file_takes_no_name_that_is_taken() -> None:
    """It is an error, and the file stays."""
    store = told()
    with pytest.raises(TargetExistsError):
        write_new(store, "d/a", b"new")
    assert get(store, "d/a") == b"old"


def test_directories_are_durable_one_by_one() -> None:
    """Each has a durable name before the next is made in it; those that were missing are returned,
    innermost first.
    """
    store = told()
    assert make_durably(store, "d/x/y") == ("d/x/y", "d/x")
    assert store.steps == ["sync .", "make d/x", "sync d", "make d/x/y", "sync d/x"]
    store.steps.clear()
    assert make_durably(store, "d/x/y") == ()
    assert store.steps == ["sync d/x"]


@pytest.mark.parametrize(("cause", "raised"), [(PermissionError(), False), (OSError(), True)])
def test_a_directory_that_nobody_can_sync(cause: OSError, *, raised: bool) -> None:
    """One that may not be read cannot be synced by anyone; any other failure counts."""

    class Unreadable(MemoryStore):
        def sync_directory(self, path: str) -> None:
            raise StorageError("why", hint="", file=path) from cause

    store = Unreadable()
    if raised:
        with pytest.raises(StorageError):
            make_durably(store, "d")
    else:
        assert make_durably(store, "d") == ("d",)
