"""Power cuts: a filesystem in an image file loses what it has not written, and is mounted again.

ext4 and XFS are shut down by an ioctl; of btrfs, which has none, the image is copied as it is at
that moment.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.faults.machinery import (
    STAGING,
    digests,
    injected,
    needs_root,
    needs_strace,
    run_here,
    run_program,
    tensors,
)
from tests.support.disks import Disk, mounted_disk
from tests.support.safetensors_files import read_tensors, write_safetensors

pytestmark = [pytest.mark.faults, needs_root]


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A small disk of each kind, mounted."""
    with mounted_disk(request.param, tmp_path) as disk:
        yield disk


def _settle() -> None:
    os.sync()


def _check(target: Path, old: dict[str, str], new: dict[str, str]) -> None:
    """Each name has its old file or its new one, and an index names only shards of its set."""
    found = digests(target)
    for name, digest in found.items():
        assert digest in (old.get(name), new.get(name)), f"'{name}' is neither old nor new"
    for index in (name for name in found if name.endswith(".index.json")):
        shards = set(json.loads((target / index).read_text())["weight_map"].values())
        assert any(
            all(state.get(one) == found.get(one) for one in (index, *shards))
            for state in (old, new)
        )


def test_a_finished_split_survives(disk: Disk, tmp_path: Path) -> None:
    """When the command has returned, its result is on the disk."""
    source = write_safetensors(tmp_path / "source" / "model.safetensors", tensors())
    target = disk.mounted / "deep" / "target"
    run_here("split", source, target, "--num-shards", 3, "--checksums").expect(0)
    before = digests(target)
    disk.cut_power()
    assert digests(target) == before
    assert read_tensors(target) == tensors()
    run_here("verify", target, "--deep").expect(0)
    run_here("split", source, target, "--num-shards", 3, "--checksums").expect(0)
    assert digests(target) == before


def test_a_finished_replacement_survives(disk: Disk) -> None:
    """When a replacement in place has returned, the new set is whole, and the command again finds
    nothing to do.
    """
    model = disk.mounted / "model"
    write_safetensors(model / "model.safetensors", tensors())
    _settle()
    run_here("split", model, model, "--num-shards", 3, "--replace").expect(0)
    before = digests(model)
    disk.cut_power()
    assert read_tensors(model) == tensors()
    assert before.items() <= digests(model).items()
    run_here("split", model, model, "--num-shards", 3, "--replace").expect(0)
    assert digests(model) == before


_SHARD = "model-0000{}-of-00003.safetensors"
_NEW: tuple[str, ...] = ()
_REPLACED: tuple[str, ...] = ("--replace",)
_REORDERED: tuple[str, ...] = ("--replace", "--order", "natural")
_MOMENTS = [
    ("fsync", f"files/{_SHARD.format(2)}"),
    ("write", "receipts.jsonl"),
    ("rename", "commit.json.new"),
    ("renameat2", _SHARD.format(1)),
    ("renameat2", _SHARD.format(3)),
    ("renameat2", "model.safetensors.index.json"),
    ("unlinkat", "plan.json"),
    ("unlinkat", "commit.json"),
    ("unlink", "lock"),
]


@needs_strace
@pytest.mark.parametrize("command", ["new", "replace", "same names"])
def test_cut_in_the_middle(disk: Disk, tmp_path: Path, command: str) -> None:
    """At any moment a power cut leaves old files, new files or none, and the same command again
    completes the set.
    """
    source = tmp_path / "source" / "model.safetensors"
    write_safetensors(source, dict(sorted(tensors().items(), reverse=True)))
    # The reference is made on another filesystem, which may share no blocks.
    options: Sequence[object] = ("--num-shards", 3, "-j", 1, "--layout", "compact", "--quiet")
    for number, (call, name) in enumerate(_MOMENTS):
        target = disk.mounted / str(number)
        read, more = (source, _NEW) if command == "new" else (target, _REPLACED)
        if command == "replace":
            target.mkdir()
            shutil.copy(source, target)
        elif command == "same names":
            run_here("split", source, target, *options, "--no-record").expect(0)
            more = _REORDERED
        reference = tmp_path / f"reference-{number}"
        run_here(
            "split", source, reference, *options, "--order", more[-1] if len(more) > 1 else "source"
        ).expect(0)
        _settle()
        old, new = digests(target), digests(reference)
        again = ("split", read, target, *options, *more)
        when = "2" if call == "write" else "1"
        path = name if call in ("renameat2", "unlinkat") else target / STAGING / name
        killed = run_program(*again, under=injected(call, "signal=KILL", path, when))
        assert killed.code in (137, -9), (call, name)
        disk.cut_power()
        _check(target, old, new)
        run_here(*again).expect(0)
        assert read_tensors(target) == tensors(), (call, name)
        assert digests(target) == new, (call, name)
