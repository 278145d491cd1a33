"""The same command again: what it keeps, what it refuses, and what is left after it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.machinery import (
    STAGING,
    digests,
    forget_records,
    injected,
    left_behind,
    needs_strace,
    run_here,
    run_program,
    tensors,
)
from tests.support.safetensors_files import read_tensors, write_safetensors

pytestmark = pytest.mark.faults

SHARD = "model-0000{}-of-00003.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkpoint of one file with a config beside it."""
    write_safetensors(tmp_path / "source" / "model.safetensors", tensors())
    (tmp_path / "source" / "config.json").write_text("{}")
    return tmp_path / "source"


def _interrupted(source: Path, target: Path, *options: str) -> None:
    """Split, and have the third shard fail to be synced: two shards are finished then."""
    under = injected("fsync", "error=EIO", target / STAGING / "files" / SHARD.format(3))
    run_program("split", source, target, "--num-shards", 3, "-j", 1, *options, under=under).expect(
        5
    )


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


@needs_strace
def test_finished_shards_are_kept(source: Path, tmp_path: Path) -> None:
    """The same command again goes on: the shards that were finished are the very files that were
    written then.
    """
    target = tmp_path / "target"
    _interrupted(source, target)
    assert digests(target) == {}
    kept = {
        name: _identity(target / STAGING / "files" / name)
        for name in (SHARD.format(1), SHARD.format(2))
    }
    assert not (target / STAGING / "files" / SHARD.format(3)).exists()
    run_here("split", source, target, "--num-shards", 3).expect(0)
    assert {name: _identity(target / name) for name in kept} == kept
    assert read_tensors(target) == tensors()


@needs_strace
def test_a_receipt_never_outlives_its_file(source: Path, tmp_path: Path) -> None:
    """A finished file that the user removed is written again, also where that try was cut short."""
    target = tmp_path / "target"
    _interrupted(source, target)
    (target / STAGING / "files" / SHARD.format(1)).unlink()
    shard = target / STAGING / "files" / SHARD.format(1)
    killed = run_program(
        "split",
        source,
        target,
        "--num-shards",
        3,
        "-j",
        1,
        under=injected("pwrite64", "signal=KILL", shard),
    )
    assert killed.code in (137, -9)
    assert shard.stat().st_size
    run_here("split", source, target, "--num-shards", 3).expect(0)
    assert read_tensors(target) == tensors()


@needs_strace
def test_another_option_is_refused_with_both_ways_out(source: Path, tmp_path: Path) -> None:
    """An unfinished run of another plan is always refused, with the difference and both hints."""
    target = tmp_path / "target"
    _interrupted(source, target)
    for _ in range(2):
        refused = run_here("split", source, target, "--num-shards", 2).expect(4)
        assert "num-shards was 3, is 2" in refused.stderr
        assert "--restart" in refused.stderr
        assert "earlier command" in refused.stderr
    run_here("split", source, target, "--num-shards", 3).expect(0)


@needs_strace
def test_a_run_that_finished_nothing_is_refused_the_same(source: Path, tmp_path: Path) -> None:
    """A run that was killed before its first file was finished is not forgotten by a command that
    is refused.
    """
    target = tmp_path / "target"
    first = injected("fsync", "signal=KILL", target / STAGING / "files" / SHARD.format(1))
    assert run_program("split", source, target, "--num-shards", 3, "-j", 1, under=first).code in (
        137,
        -9,
    )
    for _ in range(2):
        run_here("split", source, target, "--num-shards", 2).expect(4)
    run_here("split", source, target, "--num-shards", 2, "--restart").expect(0)
    assert read_tensors(target) == tensors()


@needs_strace
def test_a_changed_source_is_refused_by_name(source: Path, tmp_path: Path) -> None:
    """A source that has changed since is named, and --restart takes it as it is now."""
    target = tmp_path / "target"
    _interrupted(source, target)
    other = {name: bytes(len(data)) for name, data in tensors().items()}
    write_safetensors(source / "model.safetensors", other)
    refused = run_here("split", source, target, "--num-shards", 3).expect(4)
    assert "'model.safetensors' has changed" in refused.stderr
    run_here("split", source, target, "--num-shards", 3, "--restart").expect(0)
    assert read_tensors(target) == other


@needs_strace
def test_restart_begins_anew(source: Path, tmp_path: Path) -> None:
    """With --restart nothing of the unfinished run is used."""
    target = tmp_path / "target"
    _interrupted(source, target)
    before = _identity(target / STAGING / "files" / SHARD.format(1))
    run_here("split", source, target, "--num-shards", 3, "--restart").expect(0)
    assert _identity(target / SHARD.format(1)) != before
    assert read_tensors(target) == tensors()


@needs_strace
def test_a_failure_over_a_finished_run_leaves_no_half_done_one(
    source: Path, tmp_path: Path
) -> None:
    """Where nothing was finished, a failed run leaves the set as it was, and does not stand in the
    way of the next.
    """
    target = tmp_path / "target"
    run_here("split", source, target, "--num-shards", 3).expect(0)
    before = digests(target)
    # One file: of several, another could be finished by the time that the failure is noticed.
    file = target / STAGING / "files" / "model.safetensors"
    again = ("merge", source, target, "--replace", "--no-companions")
    run_program(*again, under=injected("pwrite64", "error=EIO", file)).expect(5)
    assert not (target / STAGING).exists()
    assert digests(target) == before
    run_here("split", source, target, "--num-shards", 4, "--replace").expect(0)
    assert read_tensors(target) == tensors()


def test_up_to_date(source: Path, tmp_path: Path) -> None:
    """A run whose result is there says so, prints the path, and writes nothing."""
    target = tmp_path / "target"
    first = run_here("split", source, target, "--num-shards", 3).expect(0)
    before = {path: _identity(path) for path in target.rglob("*")}
    again = run_here("split", source, target, "--num-shards", 3).expect(0)
    assert "up to date" in again.stderr
    assert again.stdout == first.stdout == f"{target}/model.safetensors.index.json\n"
    assert {path: _identity(path) for path in target.rglob("*")} == before


def test_up_to_date_without_a_record(source: Path, tmp_path: Path) -> None:
    """Where the record is lost, the target is compared with the source, and nothing is written."""
    target = tmp_path / "target"
    again = ("split", source, target, "--num-shards", 3)
    run_here(*again).expect(0)
    before = {path: _identity(path) for path in target.rglob("*")}
    forget_records()
    assert "compared with the source" in run_here(*again).expect(0).stderr
    assert {path: _identity(path) for path in target.rglob("*")} == before


def test_check_says_whether_there_is_work(source: Path, tmp_path: Path) -> None:
    """--check prints and writes nothing: 1 where there is work, 0 where there is none, be it that
    the source was touched, and 1 where its contents changed.
    """
    target = tmp_path / "target"
    check = ("split", source, target, "--num-shards", 3, "--check", "--replace")
    assert run_here(*check).expect(1).stdout == ""
    assert not target.exists()
    run_here("split", source, target, "--num-shards", 3).expect(0)
    assert run_here(*check).expect(0).stdout == ""
    os.utime(source / "model.safetensors")
    assert run_here(*check).expect(0).stdout == ""
    other = {name: bytes(len(data)) for name, data in tensors().items()}
    write_safetensors(source / "model.safetensors", other)
    assert run_here(*check).expect(1).stdout == ""


def test_nothing_but_the_checkpoint_is_left(source: Path, tmp_path: Path) -> None:
    """After success the target holds the new files and the companions, and nothing of the run."""
    target = tmp_path / "target"
    run_here("split", source, target, "--num-shards", 3).expect(0)
    wanted = {*(SHARD.format(number) for number in (1, 2, 3)), INDEX, "config.json"}
    assert {path.name for path in target.iterdir()} == wanted


def test_no_record(source: Path, tmp_path: Path) -> None:
    """With --no-record the next run has no record to believe, and compares the contents."""
    target = tmp_path / "target"
    run_here("split", source, target, "--num-shards", 3, "--no-record").expect(0)
    again = run_here("split", source, target, "--num-shards", 3).expect(0)
    assert "compared with the source" in again.stderr


@needs_strace
def test_no_record_also_where_another_run_finishes(source: Path, tmp_path: Path) -> None:
    """A run without a record that was killed while files took their names is finished, and leaves
    no record either.
    """
    target = tmp_path / "target"
    again = ("split", source, target, "--num-shards", 3, "--no-record")
    second = injected("renameat2", "signal=KILL", SHARD.format(2))
    assert run_program(*again, under=second).code in (137, -9)
    run_here(*again).expect(0)
    assert read_tensors(target) == tensors()
    assert not (target / STAGING).exists()
    assert "compared with the source" in run_here(*again).expect(0).stderr


@needs_strace
def test_a_file_that_was_replaced_by_several_is_found_in_them(source: Path) -> None:
    """Where the command named the file that is gone since the commit, finishing it is still a
    success.
    """
    command = ("split", source / "model.safetensors", source, "--num-shards", 3, "--replace")
    last = injected("unlinkat", "signal=KILL", "commit.json")
    assert run_program(*command, under=last).code in (137, -9)
    assert not (source / "model.safetensors").exists()
    assert INDEX in run_here(*command).expect(0).stdout
    assert read_tensors(source) == tensors()
    assert not (source / STAGING).exists()


@needs_strace
def test_a_run_for_one_file_is_resumed(source: Path, tmp_path: Path) -> None:
    """The work of a run for a target file is kept beside it, where the same command finds it."""
    target = tmp_path / "target" / "whole.safetensors"
    command = ("merge", source, target)
    killed = injected("renameat2", "signal=KILL", target.name)
    assert run_program(*command, under=killed).code in (137, -9)
    assert {"commit.json", "files"} <= left_behind(target.parent)
    assert not target.exists()
    run_here(*command).expect(0)
    assert read_tensors(target.parent) == tensors()
    assert not (target.parent / STAGING).exists()


def _unsorted(directory: Path) -> dict[str, bytes]:
    """Make a checkpoint of three shards that packing again in natural order changes; return its
    tensors.
    """
    names = [f"layer.{number}.weight" for number in (10, 9, 2, 1, 11, 3)]
    held = {name: bytes([number + 1]) * (500 + 97 * number) for number, name in enumerate(names)}
    write_safetensors(directory.parent / "single" / "model.safetensors", held)
    run_here("split", directory.parent / "single", directory, "--num-shards", 3).expect(0)
    return held


@needs_strace
def test_a_half_replaced_source_is_refused(tmp_path: Path) -> None:
    """While a replacement is unfinished, other commands refuse its mixed files as a source."""
    model = tmp_path / "model"
    held = _unsorted(model)
    order = ("split", model, model, "--num-shards", 3, "--replace", "--order", "natural")
    # Shard 2 is moved twice: aside, and into place.
    second = injected("renameat2", "signal=KILL", SHARD.format(2), "2")
    assert run_program(*order, under=second).code in (137, -9)
    assert sorted(digests(model)) == [SHARD.format(1)]
    for command in (("merge", model, tmp_path / "other"), ("index", model)):
        refused = run_here(*command).expect(3)
        assert "interrupted" in refused.stderr
    assert run_here("verify", model).code == 1
    run_here(*order, "--dry-run").expect(4)
    assert not (tmp_path / "other").exists()
    run_here(*order).expect(0)
    assert read_tensors(model) == held
    assert not (model / STAGING).exists()
