"""A commit only goes forward: repeated from wherever it was interrupted, it ends the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shardctl.engine.commit import check_not_half_replaced, finish, leave_nothing, recover
from shardctl.engine.journal import COMMIT, LOCK, RECORD, Commit, Journal, RunIdentity, RunRecord
from shardctl.engine.receipts import Receipt
from shardctl.errors import InputError, LockedError, StorageError, TargetExistsError
from shardctl.stores.base import Copied
from shardctl.stores.local import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.small import get, put

COMMITTED = Commit(
    identity=RunIdentity("id", {"to": "bin"}, {}),
    remove_first=("i.index.json",),
    renames=("a", "b", "i.index.json"),
    remove_last=("old",),
    receipts=(Receipt("a", 1, "ab", Copied()), Receipt("b", 1, None, Copied())),
)


class CutError(Exception):
    """The power is gone."""


def begin(store: MemoryStore, commit: Commit) -> None:
    """Make a target `t` with an old set and an old index, and begin a commit in `t/.j`."""
    for name in ("a", "i.index.json", "old"):
        put(store, f"t/{name}", b"old")
    for name in commit.renames:
        put(store, f"t/.j/files/{name}", b"new")
    Journal(store, "t/.j").begin_commit(commit)


def begun(commit: Commit = COMMITTED) -> MemoryStore:
    """A store where a commit was begun."""
    store = MemoryStore()
    begin(store, commit)
    return store


def names(store: MemoryStore, directory: str) -> list[str]:
    """What is in a directory."""
    return [entry.name for entry in store.list(directory)]


def check_finished(store: MemoryStore) -> None:
    """See that only the new set is there."""
    assert names(store, "t") == [".j", "a", "b", "i.index.json"]
    assert {get(store, f"t/{name}") for name in COMMITTED.renames} == {b"new"}
    assert names(store, "t/.j") == [RECORD]


def test_recovery_finishes_what_was_begun() -> None:
    """The new set has its names, the old one is gone, and the record says what was written."""
    store = begun()
    record = recover(store, "t", "t/.j")
    check_finished(store)
    assert record == RunRecord(
        plan_id="id",
        options={"to": "bin"},
        sources={},
        written={name: store.version(f"t/{name}") for name in COMMITTED.renames},
        loads_from="i.index.json",
        sha256={"a": "ab"},
    )
    assert recover(store, "t", "t/.j") is None


class Fragile(MemoryStore):
    """A store that fails before a change when as many as `left` were made."""

    left = 1_000

    def _count(self) -> None:
        if self.left == 0:
            raise CutError
        self.left -= 1

    def remove(self, path: str) -> None:
        """Remove a file, if there still is power."""
        self._count()
        super().remove(path)

    def rename(self, old: str, new: str) -> None:
        """Rename a file, if there still is power."""
        self._count()
        super().rename(old, new)


@pytest.mark.parametrize("steps", range(10))
def test_interrupted_anywhere(steps: int) -> None:
    """Stopped after any number of changes, and finished by the next, the result is the same; no
    loader finds a mix.
    """
    store = Fragile()
    begin(store, COMMITTED)
    store.left = steps
    with pytest.raises(CutError):
        recover(store, "t", "t/.j")
    if store.kind("t/i.index.json") == "file":
        sets = {
            get(store, f"t/{name}")
            for name in COMMITTED.renames
            if store.kind(f"t/{name}") == "file"
        }
        assert len(sets) == 1
    store.left = 1_000
    recover(store, "t", "t/.j")
    check_finished(store)


def test_nothing_to_recover() -> None:
    """Without a staging directory or a commit in it, nothing is done and no lock is taken."""
    store = MemoryStore()
    assert recover(store, "t", "t/.j") is None
    store.make_directory("t/.j")
    assert recover(store, "t", "t/.j") is None
    assert names(store, "t/.j") == []


def test_recovery_waits_for_no_one() -> None:
    """A commit that another run is carrying out is left to it."""
    store = begun()
    with store.lock(f"t/.j/{LOCK}"), pytest.raises(LockedError):
        recover(store, "t", "t/.j")


def test_without_a_record_the_staging_directory_goes() -> None:
    """A recovered commit leaves as little as its run would have."""
    store = begun(replace(COMMITTED, record=False))
    assert recover(store, "t", "t/.j") is not None
    assert store.kind("t/.j") is None


def test_a_directory_in_use_again_stays() -> None:
    """What another run put into the staging directory meanwhile is not an error."""
    store = MemoryStore()
    put(store, "t/.j/lock", b"")
    leave_nothing(store, "t/.j", replace(COMMITTED, record=False))
    assert names(store, "t/.j") == ["lock"]


def test_a_staged_file_that_is_gone_is_said() -> None:
    """Where neither the staged file nor the final one is there, the commit cannot be finished."""
    store = begun()
    store.remove("t/.j/files/b")
    with pytest.raises(StorageError, match="staged file is gone") as caught:
        finish(store, "t", Journal(store, "t/.j"), COMMITTED)
    assert caught.value.file == "t/b"
    assert COMMIT in names(store, "t/.j")


def test_a_half_replaced_directory_is_no_source() -> None:
    """While a commit is open the files beside it may be of two sets; afterwards they are one."""
    store = begun()
    with pytest.raises(InputError, match="interrupted") as caught:
        check_not_half_replaced(store, "t/.j")
    assert caught.value.code == "half-done"
    recover(store, "t", "t/.j")
    check_not_half_replaced(store, "t/.j")


@pytest.mark.parametrize("name", ["", "files", "files/a", "lock"])
def test_a_link_in_a_commit_from_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """Where something of the staging directory is a link, nothing is moved or emptied there."""
    store, target, elsewhere = LocalStore(), tmp_path / "t", tmp_path / "elsewhere"
    (target / ".j" / "files").mkdir(parents=True)
    for file in COMMITTED.renames:
        (target / ".j" / "files" / file).write_bytes(b"new")
    Journal(store, str(target / ".j")).begin_commit(COMMITTED)
    own = target / ".j" / name
    if own.exists():
        own.rename(elsewhere)
    else:
        elsewhere.write_bytes(b"mine")
    own.symlink_to(elsewhere)
    before = sorted(
        (str(path), path.stat().st_mode, path.stat().st_size) for path in tmp_path.rglob("*")
    )
    with pytest.raises(TargetExistsError, match="is a link") as caught:
        recover(store, str(target), str(target / ".j"))
    assert caught.value.file == str(own)
    assert (
        sorted(
            (str(path), path.stat().st_mode, path.stat().st_size) for path in tmp_path.rglob("*")
        )
        == before
    )


def test_a_commit_from_elsewhere_touches_nothing_outside() -> None:
    """A commit that names files outside its directory is refused before anything is removed."""
    store = begun(replace(COMMITTED, remove_last=("../mine",)))
    put(store, "mine", b"x")
    with pytest.raises(StorageError):
        recover(store, "t", "t/.j")
    assert get(store, "mine") == b"x"
    assert get(store, "t/a") == b"old"
