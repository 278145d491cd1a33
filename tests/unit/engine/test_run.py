"""A job carried out: what is observed, what is left, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from shardctl.engine.commit import exchange
from shardctl.engine.commit.guards import Surroundings
from shardctl.engine.commit.nested import Nested
from shardctl.engine.commit.staging import FILES, Staging
from shardctl.engine.journal.interrupted import unfinished
from shardctl.engine.journal.journal import COMMIT, LOCK, PLAN, Commit, Journal, RunIdentity
from shardctl.engine.journal.receipts import LINES
from shardctl.engine.run import Job, RunOptions, execute
from shardctl.engine.task import ShardTask
from shardctl.engine.workers.executors import Threads, Write, Written
from shardctl.errors import LockedError, SourceChangedError, StorageError, TargetExistsError
from shardctl.layout import Layout, LayoutBuilder, Literal
from shardctl.model import Extent, Version
from shardctl.stores.atomic import make_durably
from shardctl.stores.base import Copied, Store
from shardctl.stores.local.store import LocalStore
from shardctl.streams.progress import Ticks
from shardctl.testing.memory import MemoryReader, MemoryStore
from tests.support.memory_checkpoints import get, put

ONE, RESTART = RunOptions(jobs=1), RunOptions(jobs=1, restart=True)


class Told:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, nbytes: int, files: Mapping[str, int]) -> None:
        self.said.append(f"start {nbytes} {sorted(files)}")

    def advance(self, filename: str, nbytes: int) -> None:
        """Do nothing: how often it is called depends on time."""

    def finished(self, filename: str, nbytes: int, *, kept: bool) -> None:  # noqa: ARG002 - an observer's
        self.said.append(f"{'kept' if kept else 'done'} {filename}")

    def committing(self) -> None:
        self.said.append("committing")


def job(
    store: MemoryStore,
    names: tuple[str, ...] = ("a", "b"),
    plan_id: str = "id",
    *,
    digest: bool = False,
) -> Job:
    """A job that copies the source `s` into each of these names in the directory `t`."""
    builder = LayoutBuilder()
    builder.copy(Extent("s", 0, 9))
    sources = {"s": store.version("s")}
    tasks = tuple(
        ShardTask(name, f"t/.shardctl/files/{name}", builder.build(), sources, digest)
        for name in names
    )
    around = Surroundings.of(store, "t", names, weights=True)
    return Job(RunIdentity(plan_id, {}, sources), "t", tasks, sources, around)


def run(store: MemoryStore, work: Job, options: RunOptions = ONE) -> list[str]:
    """Carry out a job; return what was observed."""
    told = Told()
    execute(work, store, store, options, Threads, told)
    return told.said


def broken(work: Job) -> Job:
    """The job with a last task that fails: its source is another now."""
    last = replace(work.tasks[-1], sources={"s": Version(9, "?")})
    return replace(work, tasks=(*work.tasks[:-1], last))


def names(store: MemoryStore, directory: str) -> list[str]:
    """What is in a directory."""
    return [entry.name for entry in store.list(directory)]


@pytest.fixture
def store() -> MemoryStore:
    """A store with the source `s`."""
    store = MemoryStore()
    put(store, "s", b"some data")
    return store


def test_files_get_their_names_and_nothing_else_stays(store: MemoryStore) -> None:
    """After a run the files have their names, nothing else is left, and the record says so."""
    told = Told()
    done = execute(job(store), store, store, ONE, Threads, told)
    assert told.said == ["start 18 ['a', 'b']", "done a", "done b", "committing"]
    assert names(store, "t") == ["a", "b"]
    assert done.record.written == {"a": store.version("t/a"), "b": store.version("t/b")}
    assert done.record.loads_from == "b"


class AtOnce:
    """Workers whose every task is finished when they are asked for it."""

    def __init__(self) -> None:
        self.ticks = Ticks()

    def write(
        self, write: Write[Written], task: ShardTask, source: Store, target: Store
    ) -> Future[Written]:
        """Carry it out here and now."""
        future: Future[Written] = Future()
        future.set_result(write(task, source, target, self.ticks.of(task.filename)))
        return future

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """Release nothing."""


def test_what_is_finished_at_one_moment_is_noted_in_order(store: MemoryStore) -> None:
    """Files that are finished at one moment are observed and kept in the order of the tasks."""
    wanted = tuple("hgfedcba")
    told = Told()
    execute(job(store, wanted), store, store, ONE, lambda _: AtOnce(), told)
    assert told.said[1:-1] == [f"done {name}" for name in wanted]


def test_signals_are_held_during_the_commit(store: MemoryStore) -> None:
    """The whole commit is within `hold`, and nothing before it."""
    seen: list[list[str]] = []

    @contextmanager
    def hold() -> Iterator[None]:
        seen.append(names(store, "t"))
        yield
        seen.append(names(store, "t"))

    run(store, job(store), RunOptions(jobs=1, hold=hold))
    assert seen[0] == [".shardctl"]
    assert {"a", "b"} <= set(seen[1])


def test_receipts_come_in_the_order_of_the_tasks(store: MemoryStore) -> None:
    """However the threads take turns, the result is in order."""
    wanted = tuple("hgfedcba")
    done = execute(job(store, wanted), store, store, RunOptions(jobs=4), Threads, Told())
    assert tuple(receipt.filename for receipt in done.receipts) == wanted


def test_a_first_failure_leaves_no_trace(store: MemoryStore) -> None:
    """Where nothing was finished, the directories that the run made are gone again."""
    with pytest.raises(SourceChangedError):
        run(store, broken(job(store, ("a",))))
    assert store.kind("t") is None


def test_a_directory_that_was_there_stays(store: MemoryStore) -> None:
    """A failed run removes only the directories that it made."""
    store.make_directory("t")
    with pytest.raises(SourceChangedError):
        run(store, broken(job(store, ("a",))))
    assert names(store, "t") == []


def test_what_was_finished_is_kept_for_the_next_try(store: MemoryStore) -> None:
    """After a failure the finished files stay staged, and the same job goes on from there."""
    with pytest.raises(SourceChangedError):
        run(store, broken(job(store)))
    assert names(store, "t/.shardctl") == [FILES, PLAN, LINES]
    assert names(store, f"t/.shardctl/{FILES}") == ["a"]
    assert run(store, job(store)) == ["start 18 ['a', 'b']", "kept a", "done b", "committing"]


@pytest.mark.parametrize("data", [b"other dat", b"short"])
def test_a_staged_file_that_changed_is_written_again(store: MemoryStore, data: bytes) -> None:
    """A file is only kept where its digest, or at least its size, is that of its receipt."""
    with pytest.raises(SourceChangedError):
        run(store, broken(job(store, digest=True)))
    put(store, "t/.shardctl/files/a", data)
    assert "kept a" not in run(store, job(store, digest=True))
    assert get(store, "t/a") == b"some data"


@pytest.mark.parametrize(("data", "kept"), [(b"some data", True), (b"more data", False)])
def test_a_source_without_versions_is_compared(store: MemoryStore, data: bytes, kept: bool) -> None:
    """Where versions say nothing, a finished file is kept only with the bytes of the source now."""

    class Timeless(MemoryStore):
        """A store of one version of the source, whatever it holds."""

        def open(self, path: str) -> MemoryReader:
            reader = super().open(path)
            reader.version = Version(9, "always")
            reader.current = lambda: reader.version  # type: ignore[method-assign] # (the same)
            return reader

        def version(self, path: str) -> Version:
            return Version(9, "always") if path == "s" else super().version(path)

    source = Timeless()
    put(source, "s", b"some data")
    sources = {"s": Version(9, "always")}
    made = job(store)
    tasks = tuple(replace(task, sources=sources) for task in made.tasks)
    identity = RunIdentity("id", {}, sources)
    work = replace(made, tasks=tasks, sources=sources, identity=identity, compare_kept=True)
    with pytest.raises(SourceChangedError):
        execute(broken(work), source, store, ONE, Threads, Told())
    put(source, "s", data)
    told = Told()
    execute(work, source, store, ONE, Threads, told)
    assert ("kept a" in told.said) is kept
    assert get(store, "t/a") == data


def test_restart_discards_an_unfinished_run(store: MemoryStore) -> None:
    """With `restart` nothing is kept, even of the same plan."""
    with pytest.raises(SourceChangedError):
        run(store, broken(job(store)))
    assert "kept a" not in run(store, job(store), RESTART)


def test_another_plan_is_refused_and_touches_nothing(store: MemoryStore) -> None:
    """An unfinished run of another plan stays as it is, and the error says both ways out."""
    with pytest.raises(SourceChangedError):
        run(store, broken(job(store)))
    with pytest.raises(TargetExistsError, match="another plan") as caught:
        run(store, job(store, plan_id="other"))
    assert (caught.value.code, caught.value.exit_code, caught.value.file) == (
        "half-done",
        4,
        "t/.shardctl",
    )
    assert "`restart`" in caught.value.hint
    assert names(store, "t/.shardctl") == [FILES, PLAN, LINES]
    assert names(store, f"t/.shardctl/{FILES}") == ["a"]
    assert unfinished(store, "t") == ("t/.shardctl", False)
    run(store, job(store, plan_id="other"), RESTART)
    assert unfinished(store, "t") is None


def test_an_empty_staging_directory_is_not_an_unfinished_run(store: MemoryStore) -> None:
    """Only what a run has begun is unfinished, not the directory that it would be in."""
    store.make_directory("t/.shardctl")
    assert unfinished(store, "t") is None


def test_an_interrupted_commit_comes_first(store: MemoryStore) -> None:
    """Not even `restart` discards files that were being renamed."""
    work = job(store)
    put(store, "t/.shardctl/files/a", b"new")
    with Staging.make(store, "t") as staging:
        found = exchange.plan(Nested(staging.target), staging.make_files(), ["a"], [])
        directory = staging.target.own_identity()
        Journal(staging).begin_commit(Commit(work.identity, directory, found, ()))
    with pytest.raises(TargetExistsError, match="half replaced") as caught:
        run(store, work, RESTART)
    assert (caught.value.code, caught.value.file) == ("half-done", "t")
    assert COMMIT in names(store, "t/.shardctl")


def test_a_locked_target_is_refused(store: MemoryStore) -> None:
    """Two runs never work on one target."""
    work = job(store)
    store.make_directory("t/.shardctl")
    with store.lock(f"t/.shardctl/{LOCK}"), pytest.raises(LockedError):
        run(store, work)
    run(store, work)


@pytest.mark.parametrize("name", ["a", "pytorch_model.bin", "model.safetensors.index.json"])
def test_a_rival_that_ended_before_the_lock_is_noticed(store: MemoryStore, name: str) -> None:
    """What came into the target since the run was planned is neither replaced nor mixed, and no
    trace is left.
    """
    work = job(store)
    put(store, f"t/{name}", b"rival")
    with pytest.raises(TargetExistsError, match=name) as caught:
        run(store, work)
    assert (caught.value.code, caught.value.exit_code, caught.value.file) == (
        "target-changed",
        4,
        f"t/{name}",
    )
    assert "again" in caught.value.hint
    assert names(store, "t") == [name]
    assert get(store, f"t/{name}") == b"rival"


def test_a_rival_that_changed_the_replaced_files_is_noticed(store: MemoryStore) -> None:
    """A set that is not the one that was to be replaced stays, and so do files that are gone
    already.
    """
    for name in ("a", "old.bin"):
        put(store, f"t/{name}", b"x")
    work = replace(job(store), superseded=("a", "old.bin"))
    put(store, "t/old.bin", b"y")
    store.remove("t/a")
    with pytest.raises(TargetExistsError, match=r"'t/a' \(and 1 more\) changed"):
        run(store, work)
    assert get(store, "t/old.bin") == b"y"


@pytest.mark.parametrize("name", ["notes.txt", "optimizer.bin"])
def test_other_files_may_come_and_go(store: MemoryStore, name: str) -> None:
    """A run ignores files that are not weights, and training state."""
    work = job(store)
    put(store, f"t/{name}", b"x")
    run(store, work)
    assert get(store, "t/a") == b"some data"


def test_a_run_for_one_file_looks_at_its_own_names_only(store: MemoryStore) -> None:
    """Other weights that appear beside the file that the user named are left alone."""
    work = job(store)
    work = replace(work, surroundings=Surroundings.of(store, "t", ("a", "b"), weights=False))
    put(store, "t/other.bin", b"x")
    run(store, work)
    assert names(store, "t") == ["a", "b", "other.bin"]


def test_a_file_that_appears_while_the_run_writes_is_not_overwritten(store: MemoryStore) -> None:
    """Before files take their names the target is looked at once more; what is finished stays for
    the next try.
    """

    class Intruder(Told):
        def finished(self, filename: str, nbytes: int, *, kept: bool) -> None:
            super().finished(filename, nbytes, kept=kept)
            put(store, "t/a", b"theirs")

    with pytest.raises(TargetExistsError, match="'t/a' appeared"):
        execute(job(store), store, store, ONE, Threads, Intruder())
    assert get(store, "t/a") == b"theirs"
    assert names(store, f"t/.shardctl/{FILES}") == ["a", "b"]
    again = replace(job(store), superseded=("a",))
    assert run(store, again)[1:] == ["kept a", "kept b", "committing"]
    assert get(store, "t/a") == b"some data"


class Recording(MemoryStore):
    """A store that remembers what was made, synced, removed and renamed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def make_directory(self, path: str) -> None:
        """Make a directory, and note it."""
        self.done.append(f"make {path}")
        super().make_directory(path)

    def sync_directory(self, path: str) -> None:
        """Sync a directory, and note it."""
        self.done.append(f"sync {path}")
        super().sync_directory(path)

    def remove(self, path: str) -> None:
        """Remove a file, and note it where there is one."""
        if self.kind(path) == "file":
            self.done.append(f"remove {path}")
        super().remove(path)

    def rename(self, old: str, new: str) -> None:
        """Rename a file, and note its new name."""
        self.done.append(f"rename {new}")
        super().rename(old, new)


def test_new_directories_are_durable_one_by_one() -> None:
    """The name of each new directory, and of its parent, is synced before anything is in it."""
    store = Recording()
    store.make_directory("x")
    put(store, "s", b"some data")
    work = job(store)
    work = replace(work, directory="x/y/t")
    tasks = tuple(
        replace(task, staged=f"x/y/t/.shardctl/files/{task.filename}") for task in work.tasks
    )
    store.done.clear()
    run(store, replace(work, tasks=tasks))
    assert store.done[:7] == [
        "sync ",
        "make x/y",
        "sync x",
        "make x/y/t",
        "sync x/y",
        "make x/y/t/.shardctl",
        "sync x/y/t",
    ]


def test_all_new_directories_go_after_a_first_failure(store: MemoryStore) -> None:
    """Where nothing was finished, the directories on the way that the run made are gone too."""
    work = job(store, ("a",))
    tasks = tuple(
        replace(task, staged=f"x/y/t/.shardctl/files/{task.filename}") for task in work.tasks
    )
    with pytest.raises(SourceChangedError):
        run(store, broken(replace(work, directory="x/y/t", tasks=tasks)))
    assert store.kind("x") is None


def test_a_directory_that_cannot_be_read_is_not_synced(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parent that can be written but not read is not a failure, but a failing disk is."""

    def refusing(error: OSError) -> None:
        def sync(path: str) -> None:
            raise StorageError(path, hint="") from error

        monkeypatch.setattr(store, "sync_directory", sync)

    refusing(PermissionError())
    assert make_durably(store, "p/t") == ("p/t", "p")
    refusing(OSError())
    with pytest.raises(StorageError):
        make_durably(store, "q/t")


class Full(MemoryStore):
    """A store with little room."""

    def free_bytes(self, directory: str) -> int | None:  # noqa: ARG002 - equal for all
        """A thousand bytes."""
        return 1000


def test_too_little_room_is_said_before_anything_is_written() -> None:
    """Where the files cannot fit, the error says how much is missing."""
    store = Full()
    put(store, "s", b"some data")
    with pytest.raises(StorageError, match=r"1\.0 KB free") as caught:
        run(store, replace(job(store), superseded=("old",)))
    assert caught.value.code == "disk-full"
    assert "replaced files" in caught.value.message
    assert store.kind("t") is None


def test_a_source_that_changed_meanwhile_stops_before_the_commit(store: MemoryStore) -> None:
    """Every source is looked at again when the last file is written, also one that no task read."""
    work = job(store)
    put(store, "other", b"1")
    work = replace(work, sources={**work.sources, "other": Version(1, "?")})
    with pytest.raises(SourceChangedError, match="'other'"):
        run(store, work)
    assert names(store, "t") == [".shardctl"]


def test_superseded_files_are_removed(store: MemoryStore) -> None:
    """The old set is gone afterwards, and what is not there need not be removed."""
    for name in ("old", "mine"):
        put(store, f"t/{name}", b"x")
    run(store, replace(job(store), superseded=("old", "gone")))
    assert names(store, "t") == ["a", "b", "mine"]


def test_an_old_index_leaves_first() -> None:
    """The old index is moved away before any shard, and removed after all have their names."""
    store = Recording()
    for name in ("s", "t/a", "t/old.index.json"):
        put(store, name, b"some data")
    run(store, replace(job(store), superseded=("a", "old.index.json")))
    aside = "t/.shardctl/old"
    steps = [
        f"rename {aside}/old.index.json",
        f"rename {aside}/a",
        "rename t/a",
        "rename t/b",
        f"remove {aside}/old.index.json",
    ]
    assert [step for step in store.done if step in steps] == steps


def test_checksums_are_put_in_place_with_the_files(store: MemoryStore) -> None:
    """Digests that were taken join the lines that stay; a list without lines goes."""
    put(store, "t/SHA256SUMS", b"old")
    run(
        store,
        replace(
            job(store, ("a",), digest=True),
            checksums={"SHA256SUMS": f"{'0' * 64}  mine\n".encode()},
        ),
    )
    lines = get(store, "t/SHA256SUMS").decode().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["mine", "a"]
    run(store, replace(job(store, ("b",)), checksums={"SHA256SUMS": b""}))
    assert store.kind("t/SHA256SUMS") is None


def test_checksums_go_with_the_files_that_they_list(store: MemoryStore) -> None:
    """Where the last line of a list goes, so do the replaced files, and nothing else."""
    for name in ("SHA256SUMS", "old", "mine"):
        put(store, f"t/{name}", b"x")
    run(store, replace(job(store), superseded=("old",), checksums={"SHA256SUMS": b""}))
    assert names(store, "t") == ["a", "b", "mine"]


@pytest.mark.parametrize("kept", [b"line\n", b""])
def test_nothing_but_checksums_changes(store: MemoryStore, kept: bytes) -> None:
    """A run may write no file but lists of checksums, also in sub-directories, or remove them."""
    every = {"SHA256SUMS": kept, "s/SHA256SUMS": kept}
    for name in every:
        put(store, f"t/{name}", b"old")
    run(store, replace(job(store, ()), checksums=every))
    assert [store.kind(f"t/{name}") for name in every] == ["file" if kept else None] * 2
    assert not kept or get(store, "t/s/SHA256SUMS") == kept
    assert ".shardctl" not in names(store, "t")


@pytest.mark.parametrize("name", ["lock", "receipts.jsonl", "files", "files/a"])
def test_links_in_the_staging_directory_are_refused(tmp_path: Path, name: str) -> None:
    """A link under any name that the run uses for itself never has the file changed to which it
    leads.
    """
    precious, staging = tmp_path / "precious", tmp_path / "t" / ".shardctl"
    precious.write_bytes(b"mine")
    (staging / name).parent.mkdir(parents=True)
    (staging / name).symlink_to(precious)
    task = ShardTask("a", f"{staging}/files/a", Layout((Literal(b"x"),), 1), {})
    around = Surroundings.of(LocalStore(), str(staging.parent), ("a",), weights=True)
    work = Job(RunIdentity("id", {}, {}), str(staging.parent), (task,), {}, around)
    # A link that is not followed is removed like a file, or refused.
    with suppress(TargetExistsError, StorageError):
        execute(work, LocalStore(), LocalStore(), RESTART, Threads, Told())
    assert precious.read_bytes() == b"mine"


def test_staging_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """A hidden directory that is a link, as a download may contain it, removes nothing
    away there.
    """
    precious, target = tmp_path / "precious", tmp_path / "t"
    precious.mkdir()
    target.mkdir()
    (precious / "thesis").write_bytes(b"mine")
    (target / ".shardctl").symlink_to(precious)
    staging = str(target / ".shardctl")
    task = ShardTask("a", f"{staging}/a", Layout((Literal(b"x"),), 1), {})
    around = Surroundings.of(LocalStore(), str(target), ("a",), weights=True)
    work = Job(RunIdentity("id", {}, {}), str(target), (task,), {}, around)
    with pytest.raises(TargetExistsError, match="is a link"):
        execute(work, LocalStore(), LocalStore(), RESTART, Threads, Told())
    assert (precious / "thesis").read_bytes() == b"mine"
    assert [path.name for path in precious.iterdir()] == ["thesis"]


def test_the_way_of_the_bytes_is_on_the_receipts(store: MemoryStore) -> None:
    """Receipts of kept files say how their bytes came, as those of new ones do."""
    with pytest.raises(SourceChangedError):
        run(store, broken(job(store)))
    done = execute(job(store), store, store, ONE, Threads, Told())
    assert [receipt.copied for receipt in done.receipts] == [Copied(buffered=9)] * 2
