"""The hidden directory of a run: opened once, and emptied by known names only."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.engine.commit.staging import FILES, OLD, PARTS, Staging
from shardctl.errors import StorageError, TargetExistsError
from shardctl.naming import STAGING
from shardctl.stores.local.directories import LocalDirectory
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put

S = f"t/{STAGING}"


@pytest.fixture
def store() -> MemoryStore:
    """A store with a target directory `t`."""
    store = MemoryStore()
    store.make_directory("t")
    return store


def test_nothing_is_found_where_nothing_is(store: MemoryStore) -> None:
    """A directory without a run, a file, and no directory at all have no staging directory."""
    put(store, "f", b"")
    for directory in ("t", "f", "none"):
        assert Staging.find(store, directory) is None
    assert store.kind(S) is None


def test_it_is_made_once(store: MemoryStore) -> None:
    """Who makes the directory knows it, so that only that one removes it again."""
    with Staging.make(store, "t") as first, Staging.make(store, "t") as second:
        assert (first.made, second.made) == (True, False)
        found = Staging.find(store, "t")
        assert found is not None
        with found:
            assert not found.made


def test_a_new_one_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target is synced after the staging directory was made in it, and only then."""
    synced: list[str] = []
    monkeypatch.setattr(LocalDirectory, "sync", lambda self: synced.append(self.path))
    for expected in ([str(tmp_path)], []):
        synced.clear()
        with Staging.make(LocalStore(), str(tmp_path)):
            assert synced == expected


@pytest.mark.parametrize("how", [Staging.find, Staging.make])
def test_a_directory_of_another_user_is_refused(
    how: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither reading nor writing takes the state of another user, and it is named."""
    (tmp_path / STAGING).mkdir(mode=0o700)
    monkeypatch.setattr(LocalDirectory, "is_ours", lambda _: False)
    assert callable(how)
    with pytest.raises(TargetExistsError, match="belongs to another user") as caught:
        how(LocalStore(), str(tmp_path))
    assert (caught.value.code, caught.value.file) == ("half-done", str(tmp_path / STAGING))


def test_paths_lie_in_the_staging_directory(store: MemoryStore) -> None:
    """Staged files have the names, and the directories, that they will have in the target."""
    with Staging.make(store, "t") as staging:
        assert staging.path("lock") == f"{S}/lock"
        assert staging.staged("sub/a.bin") == f"{S}/{FILES}/sub/a.bin"


def test_staged_files_are_known_by_identity(store: MemoryStore) -> None:
    """A staged file has an identity; a missing one, in a missing directory too, has none."""
    with Staging.make(store, "t") as staging:
        assert staging.files() is None
        assert staging.identity("a") is None
        put(store, f"{S}/{FILES}/a", b"123")
        seen = staging.identity("a")
        assert seen is not None
        assert (seen.kind, seen.size) == ("file", 3)
        assert staging.identity("b") is None


def test_only_known_names_are_removed(store: MemoryStore) -> None:
    """A file that the run did not write stays, and its directory with it."""
    for name in ("a", "sub/b", "stray"):
        put(store, f"{S}/{FILES}/{name}", b"")
    with Staging.make(store, "t") as staging:
        staging.remove_staged(["a", "sub/b", "never-written"])
        assert [entry.name for entry in store.list(f"{S}/{FILES}")] == ["stray"]
        store.remove(f"{S}/{FILES}/stray")
        staging.remove_staged(["a"])
        assert store.kind(f"{S}/{FILES}") is None
        staging.remove_staged(["a"])


def test_empty_directories_go_and_others_stay(store: MemoryStore) -> None:
    """Old files that were moved aside are never removed with their directory."""
    for name in (FILES, OLD, PARTS):
        store.make_directory(f"{S}/{name}")
    put(store, f"{S}/{OLD}/model.bin", b"the only copy")
    with Staging.make(store, "t") as staging:
        staging.remove_empty_directories()
        assert [entry.name for entry in store.list(S)] == [OLD]
        staging.remove()
        assert store.kind(f"{S}/{OLD}/model.bin") == "file"
        store.remove(f"{S}/{OLD}/model.bin")
        staging.remove_empty_directories()
        staging.remove()
    assert store.kind(S) is None
    assert store.kind("t") == "directory"


def test_the_places_of_an_exchange(tmp_path: Path) -> None:
    """An exchange has the target, the staged files, and a directory beside them for the old."""
    (tmp_path / "old.bin").write_bytes(b"1")
    with Staging.make(LocalStore(), str(tmp_path)) as staging:
        (tmp_path / STAGING / FILES).mkdir()
        (tmp_path / STAGING / FILES / "new.bin").write_bytes(b"22")
        places = staging.places()
        for directory, name, size in ((places.target, "old.bin", 1), (places.files, "new.bin", 2)):
            seen = directory.identity(name)
            assert seen is not None
            assert seen.size == size
        assert places.aside.identity("old.bin") is None
        assert (tmp_path / STAGING / OLD).is_dir()
        assert places.inodes is staging.target.keeps_inodes()


def test_what_was_opened_is_closed(tmp_path: Path) -> None:
    """After the run none of the directories that it opened is open, also after a refusal."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("this system does not list open files")
    before = len(list(descriptors.iterdir()))
    with Staging.make(LocalStore(), str(tmp_path)) as staging:
        staging.places()
    (tmp_path / "u").mkdir()
    (tmp_path / "u" / STAGING).write_bytes(b"a file")
    with pytest.raises((TargetExistsError, StorageError)):
        Staging.make(LocalStore(), str(tmp_path / "u"))
    assert len(list(descriptors.iterdir())) == before
