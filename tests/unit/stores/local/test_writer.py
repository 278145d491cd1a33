"""New local files: created once, as long as they will be, and a failed sync is final."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from shardctl.errors import StorageError, TargetExistsError
from shardctl.model import Extent
from shardctl.stores.base import Copied
from shardctl.stores.local import mounts, syscalls
from shardctl.stores.local import writer as module
from shardctl.stores.local.files import LocalReader
from shardctl.stores.local.writer import LocalWriter
from shardctl.testing.builders import BytesReader
from tests.unit.stores.local.local_calls import DATA, failing


def test_a_new_file_is_as_long_as_it_will_be(tmp_path: Path) -> None:
    """From the start, in zeros; bytes go where they are put, from any buffer."""
    path = tmp_path / "f"
    with LocalWriter(str(path), 10) as writer:
        assert path.read_bytes() == bytes(10)
        writer.write(8, b"ab")
        writer.write(0, memoryview(bytearray(b"cd")))
        writer.sync()
    assert path.read_bytes() == b"cd" + bytes(6) + b"ab"


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    """By a file or by a link to nothing; neither changes."""
    path, link = tmp_path / "f", tmp_path / "link"
    path.write_bytes(b"mine")
    link.symlink_to("gone")
    for taken in (path, link):
        with pytest.raises(TargetExistsError):
            LocalWriter(str(taken), 1)
    assert path.read_bytes() == b"mine"
    assert not (tmp_path / "gone").exists()


def test_a_file_that_cannot_be_as_long_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the filesystem refuses the size, no file stays."""
    monkeypatch.setattr("os.ftruncate", failing(errno.EFBIG))
    with pytest.raises(StorageError, match="cannot be written"):
        LocalWriter(str(tmp_path / "f"), 1)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the byte of the file at which it failed."""
    with LocalWriter(str(tmp_path / "f"), 10) as writer:
        monkeypatch.setattr("os.pwrite", failing(errno.ENOSPC))
        with pytest.raises(StorageError) as caught:
            writer.write(7, b"x")
        assert (caught.value.code, caught.value.offset) == ("disk-full", 7)


def test_a_failed_sync_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel drops what it could not write, so no later sync may succeed."""
    with LocalWriter(str(tmp_path / "f"), 1) as writer:
        with monkeypatch.context() as broken:
            broken.setattr(syscalls, "sync_file", failing(errno.EIO))
            with pytest.raises(StorageError):
                writer.sync()
        with pytest.raises(StorageError):
            writer.sync()


def test_a_failed_write_back_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the early write-back reports, the sync of the file reports again."""
    monkeypatch.setattr(module, "_WORTH_WRITING", 1)
    with LocalWriter(str(tmp_path / "f"), 10) as writer:
        with monkeypatch.context() as broken:
            broken.setattr(syscalls, "start_writing", failing(errno.EIO))
            with pytest.raises(StorageError):
                writer.write(0, b"abc")
        with pytest.raises(StorageError):
            writer.sync()


def test_write_back_is_waited_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many bytes wait for the disk; the oldest are waited for first, small pieces never."""
    calls: list[tuple[str, int, int]] = []
    monkeypatch.setattr(syscalls, "start_writing", lambda _, at, n: calls.append(("start", at, n)))
    monkeypatch.setattr(syscalls, "finish_writing", lambda _, at, n: calls.append(("wait", at, n)))
    monkeypatch.setattr(module, "_WORTH_WRITING", 4)
    monkeypatch.setattr(module, "_AHEAD_BYTES", 8)
    with LocalWriter(str(tmp_path / "f"), 20) as writer:
        for at, data in ((0, b"abcd"), (4, b"abcd"), (8, b"abc"), (12, b"abcd")):
            writer.write(at, data)
    assert calls == [("start", 0, 4), ("start", 4, 4), ("start", 12, 4), ("wait", 0, 4)]


@pytest.mark.parametrize("late", [False, True])
def test_large_pieces_get_their_place_beforehand(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    """Where that is quicker: those that are copied, and not those that share their blocks."""
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(syscalls, "reserve", lambda _, at, n: calls.append((at, n)))
    monkeypatch.setattr(syscalls, "share_range", lambda *_: False)
    monkeypatch.setattr(mounts, "allocates_late", lambda _: late)
    monkeypatch.setattr(module, "_WORTH_WRITING", 100)
    with LocalReader(path) as reader, LocalWriter(str(tmp_path / "f"), 1000) as writer:
        writer.copy(0, reader, Extent(path, 0, 99))
        writer.copy(99, reader, Extent(path, 0, 200))
        monkeypatch.setattr(writer, "_share", lambda _, __, extent: (0, extent.length))
        writer.copy(500, reader, Extent(path, 0, 200))
    assert calls == [(99, 200)] * late


@pytest.mark.skipif(sys.platform != "linux", reason="needs fallocate")
def test_a_place_changes_nothing_else(tmp_path: Path) -> None:
    """Neither bytes nor the size, and no error is raised where the system refuses it."""
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    with path.open("r+b") as file:
        syscalls.reserve(file.fileno(), 0, 100_000)
    assert path.read_bytes() == b"abc"
    syscalls.reserve(-1, 0, 1)


def test_bytes_of_another_store_are_copied(tmp_path: Path) -> None:
    """They pass through a buffer, and are counted so."""
    path = tmp_path / "f"
    with LocalWriter(str(path), 12) as writer:
        copied = writer.copy(2, BytesReader("m", b"0123456789"), Extent("m", 1, 8))
    assert copied == Copied(buffered=8)
    assert path.read_bytes() == b"\0\0" + b"12345678" + b"\0\0"


@pytest.mark.parametrize("kernel", [0, 100, len(DATA)])
def test_what_the_kernel_does_not_copy_is_copied_all_the_same(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: int
) -> None:
    """However far the kernel comes, the file has all bytes, and both ways are counted."""
    monkeypatch.setattr(syscalls, "share_range", lambda *_: False)
    whole = syscalls.copy_range
    monkeypatch.setattr(
        syscalls, "copy_range", lambda s, so, t, to, n: whole(s, so, t, to, min(n, kernel))
    )
    monkeypatch.setattr(mounts, "copies_in_page_cache", lambda _: False)
    target = tmp_path / "f"
    with LocalReader(path) as reader, LocalWriter(str(target), len(DATA)) as writer:
        copied = writer.copy(0, reader, Extent(path, 0, len(DATA)))
    assert target.read_bytes() == DATA
    assert copied.total == len(DATA)
    assert copied.kernel <= kernel


def test_an_error_in_the_block_is_not_hidden_by_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first error counts."""
    writer = LocalWriter(str(tmp_path / "f"), 1)
    monkeypatch.setattr(writer._descriptor, "close", failing(errno.EIO))
    with pytest.raises(KeyError), writer:
        raise KeyError
    monkeypatch.undo()
    writer.close()


def test_a_close_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some filesystems report a failed write only then."""
    writer = LocalWriter(str(tmp_path / "f"), 1)
    monkeypatch.setattr(writer._descriptor, "close", failing(errno.EIO))
    with pytest.raises(StorageError), writer:
        pass
    monkeypatch.undo()
    writer.close()
