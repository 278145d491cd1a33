"""A commit only goes forward: repeated from wherever it was interrupted, it ends the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shardctl.engine.commit import commit as commits
from shardctl.engine.commit import exchange
from shardctl.engine.commit.nested import Nested
from shardctl.engine.commit.staging import Staging
from shardctl.engine.journal.interrupted import is_half_replaced
from shardctl.engine.journal.journal import COMMIT, LOCK, PLAN, Commit, Journal, RunIdentity
from shardctl.engine.journal.receipts import Receipt
from shardctl.errors import LockedError, StorageError, TargetExistsError
from shardctl.model import Version
from shardctl.naming import STAGING
from shardctl.stores.base import Copied, Store
from shardctl.stores.local.directories import LocalDirectory
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import get, put

OLD = ("a", "i.index.json", "old")
NEW = ("a", "b", "i.index.json")
RECEIPTS = (Receipt("a", 3, "ab", Copied()), Receipt("b", 3, None, Copied()))
IDENTITY = RunIdentity("id", {"to": "bin"}, {"s": Version(1, "x")})


class CutError(BaseException):
    """The power is gone."""


class Fragile(MemoryStore):
    """A store that fails before a change once as many as `left` were made."""

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


def plan(staging: Staging, *, replaced_source: tuple[str, ...] = ()) -> Commit:
    """The commit of what is staged, for what is there."""
    found = exchange.plan(Nested(staging.target), staging.make_files(), NEW, OLD)
    directory = staging.target.own_identity()
    return Commit(IDENTITY, directory, found, RECEIPTS, replaced_source)


def begun(store: MemoryStore) -> Commit:
    """Make a target `t` with an old set and an old index, and begin a commit in it."""
    for name in OLD:
        put(store, f"t/{name}", b"old")
    for name in NEW:
        put(store, f"t/{STAGING}/files/{name}", b"new")
    with Staging.make(store, "t") as staging:
        journal = Journal(staging)
        journal.begin(IDENTITY, NEW)
        commit = plan(staging)
        journal.begin_commit(commit)
    return commit


def names(store: Store, directory: str) -> list[str]:
    """What is in a directory."""
    return [entry.name for entry in store.list(directory)]


def check_finished(store: MemoryStore) -> None:
    """See that the new set is there, and nothing else."""
    assert names(store, "t") == ["a", "b", "i.index.json"]
    assert {get(store, f"t/{name}") for name in NEW} == {b"new"}


def test_recovery_finishes_what_was_begun() -> None:
    """The new set has its names, the old one is gone, and the record says what was written."""
    store = MemoryStore()
    begun(store)
    found = commits.recover(store, "t")
    check_finished(store)
    assert found is not None
    commit, record = found
    assert commit.loads_from == record.loads_from == "i.index.json"
    assert (record.plan_id, record.options, record.sources) == (
        "id",
        {"to": "bin"},
        IDENTITY.sources,
    )
    assert record.written == {name: store.version(f"t/{name}") for name in NEW}
    assert record.sha256 == {"a": "ab"}
    assert commits.recover(store, "t") is None


@pytest.mark.parametrize("steps", range(14))
def test_interrupted_anywhere(steps: int) -> None:
    """Stopped after any number of changes, and finished by the next, the result is the same; no
    loader finds a mix.
    """
    store = Fragile()
    begun(store)
    store.left = steps
    with pytest.raises(CutError):
        commits.recover(store, "t")
    there = [name for name in NEW if store.kind(f"t/{name}") == "file"]
    assert len({get(store, f"t/{name}") for name in there}) <= 1
    store.left = 1_000
    commits.recover(store, "t")
    check_finished(store)


def test_nothing_to_recover() -> None:
    """Without a staging directory nothing is done; with an unfinished run and no commit in it, no
    lock is taken.
    """
    store = MemoryStore()
    assert commits.recover(store, "t") is None
    put(store, f"t/{STAGING}/{PLAN}", b"?")
    with store.lock(f"t/{STAGING}/{LOCK}"):
        assert commits.recover(store, "t") is None
    assert names(store, f"t/{STAGING}") == [PLAN]


def test_recovery_does_not_wait() -> None:
    """A commit that another run is carrying out is left to it."""
    store = MemoryStore()
    begun(store)
    with store.lock(f"t/{STAGING}/{LOCK}"), pytest.raises(LockedError):
        commits.recover(store, "t")


def test_what_another_run_wrote_stays() -> None:
    """What another run put into the staging directory in the meantime is not removed."""
    store = MemoryStore()
    begun(store)
    put(store, f"t/{STAGING}/files/theirs", b"x")
    commits.recover(store, "t")
    assert get(store, f"t/{STAGING}/files/theirs") == b"x"


def test_a_commit_that_lost_a_new_file_goes_back() -> None:
    """Where neither the staged file nor the final one exists, the old files get their names back,
    and nothing is left to finish.
    """
    store = MemoryStore()
    begun(store)
    store.remove(f"t/{STAGING}/files/b")
    assert commits.recover(store, "t") is None
    assert {name: get(store, f"t/{name}") for name in OLD} == dict.fromkeys(OLD, b"old")
    assert COMMIT not in names(store, f"t/{STAGING}")
    assert commits.recover(store, "t") is None


def test_a_commit_that_can_neither_go_on_nor_back_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where moves fail, also back, the error says "half replaced", and to run the command again."""
    store, target = prepared(tmp_path)
    moved: list[str] = []

    def failing(directory: LocalDirectory, name: str, *_: object) -> None:
        moved.append(name)
        if len(moved) > 2:
            raise StorageError(f"'{name}': the disk fails", hint="repair it")
        real(directory, name, *_)  # type: ignore[arg-type]  # what the engine gives

    real = LocalDirectory.move
    monkeypatch.setattr(LocalDirectory, "move", failing)
    with Staging.make(store, str(target)) as staging:
        journal = Journal(staging)
        journal.begin(IDENTITY, NEW)
        with pytest.raises(StorageError) as caught:
            commits.carry_out(journal, plan(staging))
        assert journal.has_commit()
    assert caught.value.message.endswith(f"the disk fails; '{target}' is half replaced")
    assert "run the interrupted command again" in caught.value.hint
    monkeypatch.undo()
    assert commits.recover(store, str(target)) is not None
    assert sorted(contents(target)) == sorted(NEW)


def prepared(root: Path) -> tuple[LocalStore, Path]:
    """A local target with old files and staged new ones."""
    target = root / "t"
    (target / STAGING / "files").mkdir(parents=True)
    for name in OLD:
        (target / name).write_bytes(b"old")
    for name in NEW:
        (target / STAGING / "files" / name).write_bytes(b"new")
    return LocalStore(), target


def begin_locally(store: LocalStore, target: Path) -> Commit:
    """Write a commit down in a local target."""
    with Staging.make(store, str(target)) as staging:
        journal = Journal(staging)
        journal.begin(IDENTITY, NEW)
        commit = plan(staging)
        journal.begin_commit(commit)
    return commit


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("copy", [shutil.copytree, shutil.move])
def test_a_commit_that_came_with_a_directory(
    tmp_path: Path, copy: Callable[[Path, Path], object]
) -> None:
    """A commit that was copied with its directory changes nothing; one that moved is finished."""
    store, target = prepared(tmp_path)
    begin_locally(store, target)
    copy(target, tmp_path / "copy")
    before = contents(tmp_path / "copy")
    if copy is shutil.move:
        assert commits.recover(store, str(tmp_path / "copy")) is not None
        assert sorted(contents(tmp_path / "copy")) == ["a", "b", "i.index.json"]
        return
    with pytest.raises(TargetExistsError, match="copied, unpacked or downloaded") as caught:
        commits.recover(store, str(tmp_path / "copy"))
    assert contents(tmp_path / "copy") == before
    staging = str(tmp_path / "copy" / STAGING)
    assert (caught.value.code, caught.value.file) == ("half-done", staging)
    assert "move" in caught.value.hint
    assert not is_half_replaced(store, str(tmp_path / "copy"))


def test_a_crafted_commit_removes_nothing(tmp_path: Path) -> None:
    """A commit that names the right directory and other files' identities removes none of them."""
    store, target = prepared(tmp_path)
    begin_locally(store, target)
    for name in OLD:  # as a user's own files of these names would be
        (target / name).write_bytes(b"own")
    before = contents(target)
    with pytest.raises(TargetExistsError, match="appeared or changed"):
        commits.recover(store, str(target))
    assert contents(target) == before


@pytest.mark.parametrize("name", ["", "files", "lock"])
def test_a_link_among_the_own_files_is_refused(tmp_path: Path, name: str) -> None:
    """Where something of the staging directory is a link, nothing is moved or emptied there."""
    store, target = prepared(tmp_path)
    begin_locally(store, target)
    own, elsewhere = target / STAGING / name, tmp_path / "elsewhere"
    if own.exists():
        own.rename(elsewhere)
    else:
        elsewhere.write_bytes(b"mine")
    own.symlink_to(elsewhere)
    before = contents(tmp_path)
    with pytest.raises((TargetExistsError, StorageError)):
        commits.recover(store, str(target))
    assert contents(tmp_path) == before


def test_a_rival_is_noticed_and_the_commit_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a name is taken during the commit, the old set is restored; the new one stays staged."""
    store, target = prepared(tmp_path)
    real = exchange._give_name

    def rival(file: exchange.Named, at: exchange.Places, *, undone: bool) -> None:
        if file.name == "b":
            (target / "b").write_bytes(b"rival")
        real(file, at, undone=undone)

    monkeypatch.setattr(exchange, "_give_name", rival)
    with Staging.make(store, str(target)) as staging:
        journal = Journal(staging)
        journal.begin(IDENTITY, NEW)
        commit = plan(staging)
        with pytest.raises(TargetExistsError):
            commits.carry_out(journal, commit)
        assert not journal.has_commit()
    assert {name: (target / name).read_bytes() for name in OLD} == dict.fromkeys(OLD, b"old")
    assert (target / "b").read_bytes() == b"rival"
    assert (target / STAGING / "files" / "b").read_bytes() == b"new"


@pytest.mark.parametrize(
    "name", ["../mine", "/mine", "", ".", "sub/../../mine", "sub/", "sub//mine", ".shardctl/lock"]
)
def test_a_commit_that_leads_out_is_refused(name: str) -> None:
    """A commit that names files outside its directory is refused before anything is removed."""
    store = MemoryStore()
    begun(store)
    path = f"t/{STAGING}/{COMMIT}"
    text = get(store, path).replace(b'"name":"old"', f'"name":"{name}"'.encode())
    put(store, path, text)
    with pytest.raises(StorageError, match="is not a journal"):
        commits.recover(store, "t")
    assert get(store, "t/old") == b"old"


@pytest.mark.parametrize("left", [(), ("lock",), ("files/", "old/"), ("lock", "lock~", "files/")])
def test_what_a_run_left_in_its_last_steps_is_removed(
    tmp_path: Path, left: tuple[str, ...]
) -> None:
    """A run that was killed while it tidied up leaves nothing for good, though the next one finds
    its result up to date.
    """
    own = tmp_path / STAGING
    own.mkdir()
    for name in left:
        (own / name).mkdir() if name.endswith("/") else (own / name).touch()
    assert commits.recover(LocalStore(), str(tmp_path)) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", ["plan.json", "a file of the user"])
def test_what_more_is_there_stays(tmp_path: Path, kept: str) -> None:
    """An unfinished run stays as it is, and so does what no run wrote."""
    own = tmp_path / STAGING
    (own / "files").mkdir(parents=True)
    (own / kept).touch()
    assert commits.recover(LocalStore(), str(tmp_path)) is None
    assert (own / kept).exists()
    assert (own / "files").exists() == (kept == "plan.json")


def test_a_run_that_is_at_work_is_left_alone(tmp_path: Path) -> None:
    """Where the lock is held, a run is just beginning: its directories stay."""
    own = tmp_path / STAGING
    (own / "files").mkdir(parents=True)
    with LocalStore().lock(str(own / "lock")):
        assert commits.recover(LocalStore(), str(tmp_path)) is None
        assert (own / "files").exists()
