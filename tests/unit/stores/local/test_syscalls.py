"""System calls, and what is done where a system lacks one."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from shardctl.stores.local import syscalls
from shardctl.stores.local.syscalls import Descriptor
from tests.unit.stores.local.local_calls import failing, posix

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Descriptor, Descriptor]:
    """A file of ten bytes to read, and an empty one to write."""
    (tmp_path / "a").write_bytes(b"0123456789")
    return (
        syscalls.open_to_read(str(tmp_path / "a")),
        syscalls.open_new(str(tmp_path / "b")),
    )


@pytest.mark.parametrize("positioned", [True, False])
def test_positioned_reads_and_writes(
    pair: tuple[Descriptor, Descriptor], monkeypatch: pytest.MonkeyPatch, *, positioned: bool
) -> None:
    """With and without positioned calls, bytes come from where they are asked for."""
    if not positioned:
        for name in ("pread", "preadv", "pwrite"):
            monkeypatch.delattr(os, name, raising=False)
    source, target = pair
    assert source.pread(3, 8) == b"89"
    assert source.pread(3, 10) == b""
    memory = memoryview(bytearray(4))
    assert source.pread_into(memory, 7) == 3
    assert bytes(memory) == b"789\0"
    assert source.pread_into(memory, 10) == 0
    assert target.pwrite(memoryview(b"xy"), 1) == 2
    assert os.fstat(target.number).st_size == 3


def test_a_call_takes_no_more_than_the_system_does(
    pair: tuple[Descriptor, Descriptor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer ranges are done in part, and the number says how far."""
    monkeypatch.setattr(syscalls, "MAX_CALL", 4)
    source, target = pair
    assert source.pread(9, 0) == b"0123"
    assert source.pread_into(memoryview(bytearray(9)), 0) == 4
    assert target.pwrite(memoryview(b"abcdef"), 0) == 4


def test_a_descriptor_is_closed_once(pair: tuple[Descriptor, Descriptor]) -> None:
    """Closed again, it closes no other file that has its number by now."""
    source, target = pair
    number = source.number
    source.close()
    again = os.dup2(target.number, number)
    source.close()
    os.fstat(again)
    os.close(again)


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="needs copy_file_range")
@pytest.mark.parametrize("number", [*FULL, errno.EXDEV, errno.EINVAL, errno.EIO, errno.EPERM])
def test_only_a_full_target_stops_a_copy(
    pair: tuple[Descriptor, Descriptor], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Every other answer means to go on in another way."""
    monkeypatch.setattr(os, "copy_file_range", failing(number))
    source, target = pair
    if number in FULL:
        with pytest.raises(OSError, match=os.strerror(number)):
            syscalls.copy_range(source.number, 0, target.number, 0, 5)
    else:
        assert syscalls.copy_range(source.number, 0, target.number, 0, 5) == 0


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="needs copy_file_range")
def test_a_copy_goes_on_until_the_kernel_copies_no_more(
    pair: tuple[Descriptor, Descriptor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short copies and interruptions are gone on from, and the end of the file ends it."""
    asked: list[tuple[int, int, int]] = []
    steps: list[int | None] = [3, None, 4, 0]

    def some(_: int, __: int, count: int, begin: int, place: int) -> int:
        asked.append((count, begin, place))
        step = steps[len(asked) - 1]
        if step is None:
            raise InterruptedError
        return step

    monkeypatch.setattr(os, "copy_file_range", some)
    source, target = pair
    assert syscalls.copy_range(source.number, 2, target.number, 50, 20) == 7
    assert asked == [(20, 2, 50), (17, 5, 53), (17, 5, 53), (13, 9, 57)]


@pytest.mark.skipif(sys.platform != "linux", reason="needs FICLONERANGE")
@pytest.mark.parametrize(
    ("number", "raised"),
    [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EXDEV, False), (errno.EOPNOTSUPP, False)],
)
def test_blocks_that_cannot_be_shared_are_copied(
    pair: tuple[Descriptor, Descriptor],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    *,
    raised: bool,
) -> None:
    """Only a full disk is an error."""
    monkeypatch.setattr("fcntl.ioctl", failing(number))
    source, target = pair
    if raised:
        with pytest.raises(OSError, match=os.strerror(number)):
            syscalls.share_range(source.number, 0, target.number, 0, 4096)
    else:
        assert not syscalls.share_range(source.number, 0, target.number, 0, 4096)


@posix
def test_new_files_take_no_name_that_is_taken(tmp_path: Path) -> None:
    """Not even that of a link to nothing."""
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(FileExistsError):
        syscalls.open_new(str(tmp_path / "link"))
    assert not (tmp_path / "gone").exists()


@pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="needs SEEK_HOLE")
def test_holes_are_found(tmp_path: Path) -> None:
    """What was never written is a hole where the filesystem keeps holes, up to the end."""
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.write(b"x" * 65536)
        file.truncate(1 << 20)
    number = os.open(path, os.O_RDONLY)
    try:
        found = list(syscalls.holes(number))
    finally:
        os.close(number)
    assert sum(length for _, length in found) in (0, (1 << 20) - 65536)
    for begin, length in found:
        assert path.read_bytes()[begin : begin + length] == bytes(length)


@pytest.mark.parametrize(
    ("number", "raised"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)]
)
def test_filesystems_that_do_not_sync_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, raised: bool
) -> None:
    """That they lack the call is fine; that it failed is not."""
    monkeypatch.setattr(syscalls, "sync_file", failing(number))
    if raised:
        with pytest.raises(OSError, match=os.strerror(number)):
            syscalls.sync_directory(str(tmp_path))
    else:
        syscalls.sync_directory(str(tmp_path))
