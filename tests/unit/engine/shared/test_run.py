"""A run that several processes share: whatever they do to each other, the bytes are the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from shardctl.engine.commit.guards import Surroundings
from shardctl.engine.commit.staging import Staging
from shardctl.engine.journal.interrupted import how_far
from shardctl.engine.journal.journal import COMMITTING, LOCK, Journal, RunIdentity
from shardctl.engine.run import Job, RunOptions, execute
from shardctl.engine.shared import run as shared
from shardctl.engine.shared.run import shared_run, write_part
from shardctl.engine.shared.share import PartDone
from shardctl.engine.task import ShardTask
from shardctl.engine.workers import executors
from shardctl.engine.workers.executors import Threads
from shardctl.errors import (
    LockedError,
    ShardctlError,
    SourceChangedError,
    TargetError,
    TargetExistsError,
)
from shardctl.layout import LayoutBuilder
from shardctl.model import Extent, Version
from shardctl.stores.faults import writing
from shardctl.stores.local.store import LocalStore
from shardctl.streams.progress import Silent

STORE = LocalStore()
ONE, RESTART = RunOptions(jobs=1), RunOptions(jobs=1, restart=True)
SHARDS = ("a", "b", "c", "d")
INDEX = "index"
BYTES = b"what the source holds"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the source `s`; the target is `t` in it. No test waits for long."""
    monkeypatch.setattr(shared, "_RECEIPT_SECONDS", 1)
    (tmp_path / "s").write_bytes(BYTES)
    return tmp_path


def job(root: Path, plan_id: str = "id", *, is_shared: bool = True, digest: bool = False) -> Job:
    """A job that writes the source, one byte further on in each shard, and a file after them."""
    source, target = str(root / "s"), str(root / "t")
    sources = {source: STORE.version(source)}
    tasks = []
    for number, name in enumerate((*SHARDS, INDEX)):
        builder = LayoutBuilder()
        builder.copy(Extent(source, number, len(BYTES) - number))
        staged = os.path.join(target, ".shardctl", "files", name)
        tasks.append(ShardTask(name, staged, builder.build(), sources, digest))
    around = Surroundings.of(STORE, target, [*SHARDS, INDEX], weights=True)
    marks = {"s": Version(len(BYTES), "its contents")} if is_shared else sources
    identity = RunIdentity(plan_id, {}, marks, shared=is_shared)
    staged_by_parts = frozenset(SHARDS) if is_shared else frozenset[str]()
    return Job(identity, target, tuple(tasks), sources, around, staged=staged_by_parts)


def part(root: Path, *mine: str, work: Job | None = None, options: RunOptions = ONE) -> PartDone:
    """Write these shards."""
    return write_part(work or job(root), mine, STORE, STORE, options, Threads, Silent())


def commit(root: Path, work: Job | None = None, options: RunOptions = ONE) -> None:
    """Give all files their names."""
    execute(work or job(root), STORE, STORE, options, Threads, Silent())


def check(root: Path) -> None:
    """The target holds what one run would have written, and nothing else."""
    expected = {name: BYTES[number:] for number, name in enumerate((*SHARDS, INDEX))}
    assert {path.name: path.read_bytes() for path in (root / "t").iterdir()} == expected


def staged(root: Path, *names: str) -> Path:
    """A path in the staging directory."""
    return root.joinpath("t", ".shardctl", *names)


# parts, and the commit


@pytest.mark.parametrize("order", [("ab", "cd"), ("cd", "ab"), ("d", "c", "b", "a"), ("abcd",)])
def test_parts_and_a_commit_are_one_run(root: Path, order: tuple[str, ...]) -> None:
    """In any order and any number, parts give the files of one run, and nothing else is left."""
    done = 0
    for names in order:
        said = part(root, *names)
        done += len(names)
        assert [receipt.filename for receipt in said.written] == list(names)
        assert (said.kept, len(said.missing)) == ((), len(SHARDS) - done)
        assert os.listdir(root / "t") == [".shardctl"]
    commit(root)
    check(root)


def test_a_part_that_is_repeated_keeps_what_is_there(root: Path) -> None:
    """A second time nothing is written, and the file stays the one that it was."""
    part(root, "a", "b")
    inode = staged(root, "files", "a").stat().st_ino
    said = part(root, "a", "b", "c")
    assert [receipt.filename for receipt in said.kept] == ["a", "b"]
    assert [receipt.filename for receipt in said.written] == ["c"]
    assert said.states(SHARDS) == {"a": "kept", "b": "kept", "c": "written", "d": "missing"}
    assert staged(root, "files", "a").stat().st_ino == inode
    assert part(root, "d").states(SHARDS) == dict.fromkeys("abc", "done") | {"d": "written"}
    commit(root)
    check(root)


@pytest.mark.parametrize("again", range(3))
def test_equal_parts_at_once(root: Path, again: int) -> None:
    """Several processes with the same part all end well, and each shard is there once."""
    barrier = Barrier(4)

    def work(_: int) -> PartDone:
        barrier.wait()
        return part(root, *SHARDS[again:])

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(work, range(4)))
    assert all(set(each.missing) <= set(SHARDS[:again]) for each in said)
    assert sorted(os.listdir(staged(root, "files"))) == list(SHARDS[again:])
    assert not staged(root, "parts").exists() or not os.listdir(staged(root, "parts"))
    part(root, *SHARDS)
    commit(root)
    check(root)


def test_a_commit_needs_every_shard(root: Path) -> None:
    """Where shards are missing, that is an error which names them, and nothing changes."""
    with pytest.raises(TargetError, match=r"0 of 4 shards are done in .*; missing: a, b, c, d"):
        commit(root)
    assert not (root / "t").exists()
    part(root, "a", "c")
    with pytest.raises(TargetError, match=r"2 of 4 .* missing: b, d") as caught:
        commit(root)
    assert caught.value.code == "parts-missing"
    assert sorted(os.listdir(staged(root, "files"))) == ["a", "c"]
    part(root, "b", "d")
    commit(root)
    check(root)


def forget_receipt(root: Path) -> None:
    """What a process leaves that is killed between the file and its receipt."""
    staged(root, "receipts", "b").unlink()


def forget_file(root: Path) -> None:
    """A receipt of a file that another program removed."""
    staged(root, "files", "b").unlink()


def other_file(root: Path) -> None:
    """Another file of the same size under the name."""
    path = staged(root, "files", "b")
    path.unlink()
    path.write_bytes(bytes(len(BYTES) - 1))


def torn_receipt(root: Path) -> None:
    """A receipt that is cut off."""
    path = staged(root, "receipts", "b")
    path.write_bytes(path.read_bytes()[:-10])


def other_runs_receipt(root: Path) -> None:
    """A receipt that another plan's run left under the name of this one's."""
    path = staged(root, "receipts", "b")
    path.write_text(json.dumps({**json.loads(path.read_text()), "run": "0" * 64}))


def other_sample(root: Path) -> None:
    """A receipt whose file was made from other bytes of the source."""
    path = staged(root, "receipts", "b")
    path.write_text(json.dumps({**json.loads(path.read_text()), "sample": "0" * 64}))


@pytest.mark.parametrize(
    "damage",
    [forget_receipt, forget_file, other_file, torn_receipt, other_runs_receipt],
)
def test_receipts_and_files_belong_together(root: Path, damage: Callable[[Path], None]) -> None:
    """A file without its receipt, and the reverse, are not committed; the part that is repeated
    writes that shard again.
    """
    part(root, *SHARDS)
    damage(root)
    with pytest.raises(TargetError, match="missing: ") as caught:
        commit(root)
    assert "b" in caught.value.message.split("missing: ")[1]
    assert os.listdir(root / "t") == [".shardctl"]
    assert "b" in {receipt.filename for receipt in part(root, *SHARDS).written}
    commit(root)
    check(root)


def test_a_digest_is_compared(root: Path) -> None:
    """Where digests are taken, the commit reads every shard once more."""
    work = job(root, digest=True)
    part(root, *SHARDS, work=work)
    path = staged(root, "files", "c")
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"X")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    receipt = staged(root, "receipts", "c")
    document = json.loads(receipt.read_text())
    document["seen"]["ctime_ns"] = path.stat().st_ctime_ns
    receipt.write_text(json.dumps(document))
    with pytest.raises(TargetError, match="missing: c"):
        commit(root, work)


def test_a_source_that_changes_is_noticed(root: Path) -> None:
    """A part stops where its source is another file by now; finished shards are not committed."""
    part(root, "a", "b")
    before = job(root)
    (root / "s").write_bytes(BYTES[::-1])
    with pytest.raises(SourceChangedError):
        part(root, "c", work=before)
    said = part(root, *SHARDS)
    assert len(said.written) == len(SHARDS)


def written_again(root: Path) -> None:
    """Other contents of the source."""
    (root / "s").write_bytes(BYTES[::-1])


@pytest.mark.parametrize("change", [written_again, other_sample])
def test_a_commit_says_that_the_source_changed(root: Path, change: Callable[[Path], None]) -> None:
    """Shards of other contents than the source has now are not committed, and the error does not
    only say that they are missing; what it advises ends whole.
    """
    part(root, *SHARDS)
    change(root)
    with pytest.raises(TargetError, match="contents of the source changed") as caught:
        commit(root)
    assert "0 of 4 shards are done" in caught.value.message
    assert "`apply_part`" in (caught.value.hint or "")
    assert len(part(root, *SHARDS).written) == len(SHARDS)
    commit(root)
    assert (root / "t" / "a").read_bytes() == (root / "s").read_bytes()


# other runs


def test_another_plan_is_refused(root: Path) -> None:
    """Parts of two plans do not meet in a target; what the first did is kept, unless it is
    discarded.
    """
    part(root, "a")
    with pytest.raises(TargetExistsError, match=r"1 of 4 shards done"):
        part(root, "a", work=job(root, "other"))
    with pytest.raises(TargetExistsError, match="by parts of the plan id: 1 of 4"):
        commit(root, job(root, is_shared=False))
    assert staged(root, "files", "a").exists()
    assert part(root, "b", options=RESTART).states(SHARDS)["a"] == "done"
    said = part(root, "b", work=job(root, "other"), options=RESTART)
    assert said.missing == ("a", "c", "d")
    assert os.listdir(staged(root, "files")) == ["b"]


def test_a_run_in_one_go_is_not_continued_by_parts(root: Path) -> None:
    """Parts do not go on with what a run left that was to write everything, nor the reverse."""
    with Staging.make(STORE, _made(root)) as staging:
        Journal(staging).begin(job(root, is_shared=False).identity, SHARDS)
    with pytest.raises(TargetExistsError, match="an unfinished run that is not by parts"):
        part(root, "a")


def test_restart_discards_parts(root: Path) -> None:
    """A run in one go discards the parts, with what their processes were writing."""
    part(root, "a")
    staged(root, "parts", "0" * 16).mkdir(parents=True)
    staged(root, "parts", "0" * 16, "b").write_bytes(b"half")
    commit(root, job(root, is_shared=False), RESTART)
    check(root)


@pytest.mark.parametrize("end", ["discarded", "finished"])
def test_a_part_of_a_run_that_ended_is_stopped(
    root: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that finishes a shard after the run was discarded, or committed by others, says so
    and leaves nothing.
    """
    work, late = job(root), job(root)
    real = executors.carry_out

    def slow(*arguments: object) -> None:
        monkeypatch.setattr(shared, "carry_out", real)
        if end == "discarded":
            with Staging.make(STORE, late.directory) as staging:
                Journal(staging).end()
        else:
            part(root, *SHARDS)
            commit(root)
        (root / "t").mkdir(exist_ok=True)
        real(*arguments)  # type: ignore[arg-type] # those of the function that it replaces

    monkeypatch.setattr(shared, "carry_out", slow)
    with pytest.raises(TargetExistsError, match="finished or discarded while this part"):
        part(root, "a", work=work)
    left = [path for path in root.joinpath("t").rglob("*") if path.is_file()]
    assert sorted(path.name for path in left) == (
        [] if end == "discarded" else sorted((*SHARDS, INDEX))
    )
    if end == "finished":
        check(root)


def _made(root: Path) -> str:
    (root / "t").mkdir()
    return str(root / "t")


def test_a_run_that_is_at_work_is_waited_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that begin while another process holds the target wait, and say who holds it."""
    monkeypatch.setattr(shared, "_LOCK_SECONDS", 0.2)
    with (
        Staging.make(STORE, _made(root)) as staging,
        STORE.lock(staging.path(LOCK)),
        pytest.raises(LockedError, match=f"process {os.getpid()}"),
    ):
        part(root, "a")
    part(root, "a")


@pytest.mark.parametrize("error", [FileExistsError, FileNotFoundError])
def test_parts_that_begin_at_one_moment(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    """Where locks do not keep them apart, the one that finds the other's file tries again."""
    begin, met = Journal.begin, [error] * 3

    def meeting(journal: Journal, *arguments: object) -> None:
        if met:
            with writing("plan.json.new"):
                raise met.pop()
        begin(journal, *arguments)  # type: ignore[arg-type] # those of the method

    monkeypatch.setattr(Journal, "begin", meeting)
    part(root, *SHARDS)
    assert met == []
    commit(root)
    check(root)
    met += [error] * 30
    for path in (root / "t").iterdir():
        path.unlink()
    with pytest.raises(ShardctlError):
        part(root, *SHARDS)


def test_one_commit_at_a_time(root: Path) -> None:
    """A commit on another machine, where the kernel's lock may not be seen, keeps others out."""
    part(root, *SHARDS)
    with STORE.lease(str(staged(root, COMMITTING))), pytest.raises(LockedError):
        commit(root)
    commit(root)
    check(root)


def test_how_far_a_run_by_parts_came(root: Path) -> None:
    """What is done is counted by its receipts, and the run is known as one by parts."""
    assert how_far(STORE, str(root / "t")) is None
    assert shared_run(STORE, str(root / "t")) is None
    part(root, "a", "b", "c")
    found = how_far(STORE, str(root / "t"))
    assert found is not None
    assert found.plan_id == "id"
    assert shared_run(STORE, str(root / "t")) == job(root).identity
    commit(root, replace(job(root), staged=frozenset()))
    check(root)
    assert how_far(STORE, str(root / "t")) is None
