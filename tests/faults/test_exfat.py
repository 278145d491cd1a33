"""exFAT: a filesystem that ignores case, without links, permissions and lasting inode numbers.

It is mounted in user space, which remembers names for a moment after they are gone.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.machinery import (
    STAGING,
    needs_root,
    needs_strace,
    run_here,
    run_program,
)
from tests.support.disks import Disk, mounted_disk
from tests.support.safetensors_files import read_tensors, write_safetensors

pytestmark = [pytest.mark.faults, needs_root]

INDEX = "model.safetensors.index.json"
#: Tensors that a merge puts into another order.
HELD = {f"layer.{number}.weight": bytes([number]) * (500 + number) for number in (10, 9, 2, 1)}
COMMANDS = {
    "merge": ("merge", "--order", "natural"),
    "split": ("split", "--num-shards", 3),
}
#: What moves a file, by whichever call works there.
_MOVES = "rename,renameat,renameat2"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk, mounted."""
    with mounted_disk("exfat", tmp_path) as disk:
        yield disk


@pytest.fixture
def model(disk: Disk) -> Path:
    """A checkpoint of one file whose name differs from the usual one in case only."""
    return write_safetensors(disk.mounted / "m" / "Model.safetensors", HELD).parent


@pytest.mark.parametrize("command", COMMANDS)
def test_the_only_copy_is_never_removed(model: Path, command: str) -> None:
    """A replacement in place under a name that is the old one in another spelling keeps the
    weights, and leaves nothing of the old.
    """
    name, *options = COMMANDS[command]
    run_here(name, model, model, *options, "--replace").expect(0)
    assert read_tensors(model) == HELD
    assert not (model / STAGING).exists()
    assert "Model.safetensors" not in os.listdir(model)


def test_other_files_are_replaced_in_any_spelling(disk: Disk) -> None:
    """A companion and a list of checksums take the place of those of another case."""
    model, target = disk.mounted / "m", disk.mounted / "t"
    write_safetensors(model / "model.safetensors", HELD)
    (model / "config.json").write_text("{}")
    target.mkdir()
    (target / "Config.JSON").write_text("old")
    line = f"{'0' * 64}  data.tar\n"
    (target / "sha256sums").write_text(line)
    options = ("--num-shards", 2, "--checksums", "--replace", "--replace-companions")
    run_here("split", model, target, *options).expect(0)
    assert {"config.json", "SHA256SUMS"} < set(os.listdir(target))
    assert (target / "config.json").read_text() == "{}"
    assert (target / "SHA256SUMS").read_text().startswith(line)


@needs_strace
@pytest.mark.parametrize("command", COMMANDS)
def test_a_kill_before_each_rename(disk: Disk, command: str) -> None:
    """Wherever a replacement is killed, the same command again completes it, without a loss."""
    name, *options = COMMANDS[command]
    for moment in itertools.count(1):
        model = disk.mounted / str(moment)
        write_safetensors(model / "Model.safetensors", HELD)
        arguments = (name, model, model, *options, "--replace", "-j", 1)
        under = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={_MOVES}"]
        under += ["-e", f"inject={_MOVES}:signal=KILL:when={moment}"]
        ended = run_program(*arguments, under=under).code
        run_here(*arguments).expect(0)
        assert read_tensors(model) == HELD, f"before rename {moment}"
        assert not (model / STAGING).exists()
        if ended not in (-signal.SIGKILL, 128 + signal.SIGKILL):
            break
    assert ended == 0
    assert moment > 3


def test_a_run_is_resumed_after_a_remount(disk: Disk, model: Path, tmp_path: Path) -> None:
    """With other inode numbers a source is the same and a target up to date, also where the record
    is all that is looked at.
    """
    write_safetensors(disk.mounted / "other" / "1", {})
    command = ("split", model, disk.mounted / "t", "--num-shards", 3)
    elsewhere = ("split", model, tmp_path / "t", "--num-shards", 3)
    run_here(*command).expect(0)
    run_here(*elsewhere).expect(0)
    disk.unmount()
    disk.mount()
    for again in (command, elsewhere):
        said = run_here(*again).expect(0).stderr
        assert "up to date" in said
        assert "compared" not in said


@needs_strace
def test_finished_shards_are_kept_over_a_remount(disk: Disk, model: Path) -> None:
    """The shards of an interrupted run are gone on with, though their inode numbers are others."""
    target = disk.mounted / "t"
    command = ("split", model, target, "--num-shards", 3, "-j", 1)
    shard = target / STAGING / "files" / "model-00003-of-00003.safetensors"
    under = ["strace", "-f", "-qq", "-o", os.devnull, "-P", str(shard)]
    under += ["-e", "inject=fsync:error=EIO"]
    run_program(*command, under=under).expect(5)
    kept = target / STAGING / "files" / "model-00001-of-00003.safetensors"
    written = kept.stat().st_mtime_ns
    disk.unmount()
    disk.mount()
    run_here(*command).expect(0)
    assert (target / "model-00001-of-00003.safetensors").stat().st_mtime_ns == written
    assert read_tensors(target) == HELD
