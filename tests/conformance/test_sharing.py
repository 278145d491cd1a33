"""Sharing blocks, on real filesystems that can: what is shared, what room it takes, and that it
loads as ever.

Source of the ioctl and its flags: <linux/fiemap.h>.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.write import write
from shardctl.engine.run import RunOptions
from shardctl.planning.request import Limits, WriteOptions
from shardctl.stores.base import Copied
from shardctl.stores.local.store import LocalStore
from shardctl.streams.progress import Silent
from shardctl.verify.run import Thoroughness, verify
from tests.support.disks import Disk, mounted_disk

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to mount an image"
    ),
]

_FIEMAP, _SYNC, _SHARED, _LAST = 0xC020660B, 1, 0x2000, 1
BLOCK = 4096
TENSORS, ELEMENTS = 8, 250_001
#: Bytes of one tensor, which fills no whole number of blocks.
NBYTES = 2 * ELEMENTS


def shared_bytes(path: Path) -> int:
    """The bytes of a file that lie on blocks of other files as well."""
    shared, start = 0, 0
    with path.open("rb") as file:
        while True:
            found = bytearray(
                struct.pack("=QQIIII", start, 2**64 - 1 - start, _SYNC, 0, 64, 0) + bytes(64 * 56)
            )
            fcntl.ioctl(file, _FIEMAP, found)
            count = struct.unpack_from("=I", found, 20)[0]
            if not count:
                return shared
            for number in range(count):
                logical, _, length, _, _, flags = struct.unpack_from(
                    "=QQQQQI", found, 32 + 56 * number
                )
                shared += length if flags & _SHARED else 0
                start = logical + length
                if flags & _LAST:
                    return shared


def used_bytes(disk: Disk) -> int:
    """What is written on the disk, all of it synced."""
    os.sync()
    status = os.statvfs(disk.mounted)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


@pytest.fixture(params=["xfs", "btrfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A small disk that can share blocks, of each kind."""
    with mounted_disk(request.param, tmp_path) as disk:
        yield disk


def make_source(directory: Path, format_name: str) -> Path:
    """A checkpoint of random 16-bit tensors, saved by its own library."""
    import torch
    from safetensors.torch import save_file

    directory.mkdir()
    weights = {
        f"layer.{number}.weight": torch.randint(-(2**15), 2**15 - 1, (ELEMENTS,), dtype=torch.int16)
        for number in range(TENSORS)
    }
    if format_name == "bin":
        torch.save(weights, directory / "pytorch_model.bin")
    else:
        save_file(weights, directory / "model.safetensors", {"format": "pt"})
    return directory


def convert(source: Path, target: Path, options: WriteOptions) -> Copied:
    """Write a checkpoint, see that it is whole and equal, and return the ways that its
    bytes took.
    """
    store = LocalStore()
    prepared = prepare(store, str(source), store, str(target), options, finish=True)
    receipts = write(store, store, prepared, RunOptions(jobs=2), Silent())
    copied = sum((receipt.copied for receipt in receipts), Copied())
    assert verify(store, str(target), Thoroughness(deep=True, strict=True, against=str(source))).ok
    return copied


def load(directory: Path) -> dict[str, object]:
    """All tensors of a directory, by upstream's loaders; torch files mapped and not."""
    import torch
    from safetensors.torch import load_file

    found: dict[str, object] = {}
    for path in sorted(directory.iterdir()):
        if path.suffix == ".safetensors":
            found |= load_file(path)
        elif path.suffix == ".bin":
            plain, mapped = torch.load(path), torch.load(path, mmap=True)
            assert all(torch.equal(plain[name], mapped[name]) for name in plain)
            found |= plain
    return found


@pytest.mark.parametrize("format_name", ["safetensors", "bin"])
def test_split_and_merge_share_blocks(disk: Disk, format_name: str) -> None:
    """On a filesystem that can, shards and the file merged from them take no room but for headers
    and edges.
    """
    import torch

    source = make_source(disk.mounted / "source", format_name)
    before = used_bytes(disk)
    split = disk.mounted / "split"
    copied = convert(source, split, WriteOptions(limits=Limits(max_shard_bytes=2 * NBYTES)))
    merged = disk.mounted / "merged"
    again = convert(split, merged, WriteOptions(limits=Limits()))
    edges = 2 * BLOCK * TENSORS
    for result in (copied, again):
        assert result.shared >= TENSORS * NBYTES - edges
        assert result.kernel + result.buffered < edges + 64 * 1024
    shards = [path for path in split.iterdir() if path.suffix in (".safetensors", ".bin")]
    assert len(shards) == TENSORS // 2
    assert sum(map(shared_bytes, shards)) >= TENSORS * NBYTES - edges
    # Two copies of 4 MB in less than a quarter of one: filesystems' own records are in it too.
    assert used_bytes(disk) - before < TENSORS * NBYTES / 4
    original = load(source)
    for directory in (split, merged):
        loaded = load(directory)
        assert loaded.keys() == original.keys()
        assert all(torch.equal(loaded[name], original[name]) for name in original)


def test_another_format_shares_what_can_be_padded(disk: Disk) -> None:
    """From safetensors into `.bin` records are padded until they share; every checksum is the right
    one.
    """
    source = make_source(disk.mounted / "source", "safetensors")
    copied = convert(source, disk.mounted / "bin", WriteOptions(limits=Limits(), format="bin"))
    assert copied.shared >= TENSORS * (NBYTES - 2 * BLOCK)


def test_compact_is_a_choice(disk: Disk) -> None:
    """With the compact layout the file is the one that is written anywhere else."""
    source = make_source(disk.mounted / "source", "bin")
    convert(
        source,
        disk.mounted / "compact",
        WriteOptions(limits=Limits(), layout="compact", stem="model"),
    )
    elsewhere = disk.mounted.parent / "elsewhere"
    convert(source, elsewhere, WriteOptions(limits=Limits(), stem="model"))
    compact = (disk.mounted / "compact" / "model.bin").read_bytes()
    assert compact == (elsewhere / "model.bin").read_bytes()
    assert not shared_bytes(disk.mounted / "compact" / "model.bin")


@pytest.mark.parametrize("disk", ["xfs"], indirect=True)
def test_a_nearly_full_disk_is_enough(disk: Disk) -> None:
    """Room for the headers is all that a split needs where blocks are shared."""
    source = make_source(disk.mounted / "source", "safetensors")
    free = os.statvfs(disk.mounted)
    left = 3 * 1024 * 1024
    ballast = free.f_bavail * free.f_frsize - left
    with (disk.mounted / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, ballast)
    assert left < TENSORS * NBYTES
    convert(source, disk.mounted / "split", WriteOptions(limits=Limits(num_shards=3)))
