"""The local store on systems that lack something, and on disks that fail."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shardctl.errors import StorageError
from shardctl.stores.base import Copied
from shardctl.stores.capabilities import SyncsDirectories
from shardctl.stores.local import syscalls
from shardctl.stores.local import writer as local_writer
from shardctl.stores.local.store import LocalStore
from tests.unit.stores.local.local_calls import DATA, PLACE, STORE, copy, failing, posix

# Systems that lack something


def test_without_positioned_calls(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pread, pwrite and copy_file_range, files are read and written by seeking."""
    for name in (
        "pread",
        "pwrite",
        "copy_file_range",
        "sendfile",
        "posix_fallocate",
        "posix_fadvise",
        "fdatasync",
    ):
        monkeypatch.delattr(os, name, raising=False)
    assert copy(path, tmp_path / "new") == Copied(buffered=len(DATA))
    assert (tmp_path / "new").read_bytes() == bytes(PLACE) + DATA


def test_short_reads_and_writes(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that moves a few bytes at a time is asked until all are moved."""
    monkeypatch.setattr(syscalls, "MAX_CALL", 777)
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    copy(path, tmp_path / "new")
    STORE.append(path, DATA)
    assert (tmp_path / "new").read_bytes() == bytes(PLACE) + DATA
    assert Path(path).read_bytes() == DATA * 2


def test_directories_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where directories cannot be synced the store does not say so, and files still grow."""
    assert isinstance(STORE, SyncsDirectories) == syscalls.DIRECTORIES_SYNC
    monkeypatch.setattr(syscalls, "DIRECTORIES_SYNC", False)
    monkeypatch.setattr(os, "O_DIRECTORY", 0)
    STORE.append(str(tmp_path / "log"), b"x")
    assert (tmp_path / "log").read_bytes() == b"x"


@posix
def test_filesystem_that_syncs_no_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filesystem without a sync of directories is not a failure; a sync that fails is."""
    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
    STORE.sync_directory(str(tmp_path))
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(StorageError):
        STORE.sync_directory(str(tmp_path))


# Faults of the disk


def test_read_error_names_the_byte(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that cannot read is named with the file and the offset."""
    with STORE.open(path) as reader:
        monkeypatch.setattr(syscalls.Descriptor, "pread", failing(errno.EIO))
        with pytest.raises(StorageError) as caught:
            reader.read(300, 10)
    assert (caught.value.file, caught.value.offset) == (path, 300)


def test_full_disk_midway_in_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the middle of a write is named with the offset that was reached."""
    room = [4000]

    def pwrite(_: object, data: memoryview, _offset: int) -> int:
        if not room:
            failing(errno.ENOSPC)()
        return min(len(data), room.pop())

    with STORE.create(str(tmp_path / "new"), 10000) as writer:
        monkeypatch.setattr(syscalls.Descriptor, "pwrite", pwrite)
        with pytest.raises(StorageError) as caught:
            writer.write(100, bytes(9000))
    assert caught.value.code == "disk-full"
    assert (caught.value.file, caught.value.offset) == (str(tmp_path / "new"), 4100)


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "disk-full"), (errno.EFBIG, "storage")]
)
def test_no_room_for_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    """A file that cannot get its size is removed."""
    monkeypatch.setattr(os, "ftruncate", failing(number))
    with pytest.raises(StorageError) as caught:
        STORE.create(str(tmp_path / "new"), 1)
    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_failed_sync_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync that failed once always fails, though the system would report success then."""
    with STORE.create(str(tmp_path / "new"), 10) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(syscalls, "sync_file", failing(errno.EIO))
            with pytest.raises(StorageError):
                writer.sync()
        for _ in range(2):
            with pytest.raises(StorageError) as caught:
                writer.sync()
        assert caught.value.file == str(tmp_path / "new")


@contextmanager
def failing_close(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closing any file fails, after it is closed."""
    real = os.close

    def close(descriptor: int) -> None:
        real(descriptor)
        raise OSError(errno.EIO, "late")

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close)
        yield


def test_failed_close_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that the system tells only when the file is closed is raised."""
    writer = STORE.create(str(tmp_path / "new"), 10)
    with failing_close(monkeypatch), pytest.raises(StorageError) as caught:
        writer.close()
    assert caught.value.file == str(tmp_path / "new")


def test_first_error_is_the_one_that_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error inside is not hidden by one of closing the file."""
    with (
        failing_close(monkeypatch),
        pytest.raises(KeyError),
        STORE.create(str(tmp_path / "new"), 10),
    ):
        raise KeyError


def test_unknown_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem that says zero of everything, or nothing, has an unknown amount of room."""
    zeros: Any = type("Usage", (), {"total": 0, "used": 0, "free": 0})()
    for answer in (lambda _: zeros, failing(errno.ENOSYS)):
        monkeypatch.setattr("shutil.disk_usage", answer)
        assert STORE.free_bytes(str(tmp_path)) is None


# Writing back early


def test_large_writes_are_begun_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is seen of each large piece, waits are for pieces some way back, and small pieces
    are not worth it.
    """
    seen: list[tuple[str, int]] = []
    monkeypatch.setattr(
        syscalls, "start_writing", lambda _, offset, __: seen.append(("start", offset))
    )
    monkeypatch.setattr(
        syscalls, "finish_writing", lambda _, offset, __: seen.append(("finish", offset))
    )
    piece = bytes(local_writer._WORTH_WRITING)
    monkeypatch.setattr(local_writer, "_AHEAD_BYTES", 2 * len(piece))
    with LocalStore().create(str(tmp_path / "a"), 4 * len(piece) + 1) as writer:
        for number in range(4):
            writer.write(number * len(piece), piece)
        writer.write(4 * len(piece), b"-")
    starts = [("start", number * len(piece)) for number in range(4)]
    assert seen == [*starts[:3], ("finish", 0), starts[3], ("finish", len(piece))]


@pytest.mark.parametrize("call", ["start_writing", "finish_writing"])
def test_a_failure_on_the_way_fails_the_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """What the system says once, of bytes that could not be written, is said again by the sync."""
    monkeypatch.setattr(local_writer, "_AHEAD_BYTES", 0)
    with LocalStore().create(str(tmp_path / "a"), 2**20) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(syscalls, call, failing(errno.EIO))
            with pytest.raises(StorageError):
                writer.write(0, bytes(2**20))
        with pytest.raises(StorageError):
            writer.sync()


@pytest.mark.skipif(sys.platform != "linux", reason="needs sync_file_range")
def test_ranges_reach_the_disk(tmp_path: Path) -> None:
    """The system takes both calls for a real file, and refuses a descriptor that is none."""
    path = tmp_path / "a"
    path.write_bytes(b"1" * 10_000)
    with path.open("rb") as file:
        syscalls.start_writing(file.fileno(), 0, 10_000)
        syscalls.finish_writing(file.fileno(), 0, 10_000)
    for call in (syscalls.start_writing, syscalls.finish_writing):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call(-1, 0, 1)
