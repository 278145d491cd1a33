"""The local store: what systems lack or answer, and what becomes of it."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from shardctl.errors import InputError, LockedError, MissingError, SourceChangedError, StorageError
from shardctl.model import Extent
from shardctl.stores import local_files, locking, syscalls
from shardctl.stores.base import Copied, Entry, SyncsDirectories
from shardctl.stores.local import LocalStore

STORE = LocalStore()
DATA = bytes(range(256)) * 40

posix = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has neither pipes nor permissions of this kind"
)
linux = pytest.mark.skipif(
    not hasattr(os, "copy_file_range"), reason="only Linux copies ranges inside the kernel"
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file that holds DATA."""
    (tmp_path / "data").write_bytes(DATA)
    return str(tmp_path / "data")


def failing(number: int) -> Callable[..., NoReturn]:
    """A system call that always answers with this error."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


def copy(path: str, target: Path, length: int = len(DATA)) -> Copied:
    """Copy the first bytes of a file to a new one, at byte 10."""
    with STORE.open(path) as reader, STORE.create(str(target), length + 10) as writer:
        return writer.copy(10, reader, Extent(path, 0, length))


# Copies


@linux
def test_copy_in_the_kernel(path: str, tmp_path: Path) -> None:
    """Where the kernel copies, no byte passes through a buffer."""
    assert copy(path, tmp_path / "new") == Copied(kernel=len(DATA))
    assert (tmp_path / "new").read_bytes() == bytes(10) + DATA


@linux
@pytest.mark.parametrize(
    "number",
    [
        errno.ENOSYS,
        errno.EXDEV,
        errno.EINVAL,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EIO,
        errno.EBADF,
        errno.ETXTBSY,
    ],
    ids=errno.errorcode.get,
)
@pytest.mark.parametrize("before", [0, 3000])
def test_copy_falls_back(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, before: int
) -> None:
    """When the kernel will not copy, at once or midway, the rest goes through a buffer."""
    real, fail = os.copy_file_range, failing(number)

    def some(source: int, target: int, count: int, *offsets: int) -> int:
        return real(source, target, min(before, count), *offsets) if offsets[0] < before else fail()

    monkeypatch.setattr(os, "copy_file_range", some)
    assert copy(path, tmp_path / "new") == Copied(kernel=before, buffered=len(DATA) - before)
    assert (tmp_path / "new").read_bytes() == bytes(10) + DATA


@linux
def test_copy_takes_short_returns(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that copies a little at a time is asked until all is done."""
    real = os.copy_file_range
    monkeypatch.setattr(
        os, "copy_file_range", lambda a, b, count, c, d: real(a, b, min(count, 999), c, d)
    )
    assert copy(path, tmp_path / "new") == Copied(kernel=len(DATA))
    assert (tmp_path / "new").read_bytes() == bytes(10) + DATA


@linux
def test_copy_takes_zero_for_no(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that says 0 before the end is not asked again."""
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    assert copy(path, tmp_path / "new") == Copied(buffered=len(DATA))
    assert (tmp_path / "new").read_bytes() == bytes(10) + DATA


@linux
def test_copy_goes_on_after_a_signal(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that a signal interrupted is continued."""
    real, signals = os.copy_file_range, [InterruptedError(errno.EINTR, "signal")]

    def interrupted(*arguments: int) -> int:
        if signals:
            raise signals.pop()
        return real(*arguments)

    monkeypatch.setattr(os, "copy_file_range", interrupted)
    assert copy(path, tmp_path / "new") == Copied(kernel=len(DATA))


@linux
def test_no_call_asks_for_more_than_the_kernel_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of many gibibytes is cut into calls that every kernel takes, each where the last one
    ended.
    """
    calls: list[tuple[int, ...]] = []

    def record(
        _source: int, _target: int, count: int, source_offset: int, target_offset: int
    ) -> int:
        calls.append((count, source_offset, target_offset))
        return count

    monkeypatch.setattr(os, "copy_file_range", record)
    assert syscalls.copy_range(3, 100, 4, 200, 5 << 30) == 5 << 30
    assert sum(count for count, *_ in calls) == 5 << 30
    assert max(count for count, *_ in calls) == syscalls.MAX_CALL
    assert calls[1][1:] == (100 + syscalls.MAX_CALL, 200 + syscalls.MAX_CALL)


@linux
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_while_copying(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A full disk is said to be full, and by the name of the file that was to be written."""
    monkeypatch.setattr(os, "copy_file_range", failing(number))
    with pytest.raises(StorageError) as caught:
        copy(path, tmp_path / "new")
    assert caught.value.code == "disk-full"
    assert caught.value.file == str(tmp_path / "new")
    assert "free space" in caught.value.hint


def test_source_truncated_while_copying(path: str, tmp_path: Path) -> None:
    """A source that ends too early is named, with the byte at which it ends, whichever way the copy
    went.
    """
    with STORE.open(path) as reader, STORE.create(str(tmp_path / "new"), len(DATA)) as writer:
        os.truncate(path, 5000)
        with pytest.raises(SourceChangedError) as caught:
            writer.copy(0, reader, Extent(path, 0, len(DATA)))
    assert (caught.value.file, caught.value.offset) == (path, 5000)


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
    assert (tmp_path / "new").read_bytes() == bytes(10) + DATA


def test_short_reads_and_writes(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that moves a few bytes at a time is asked until all are moved."""
    monkeypatch.setattr(syscalls, "MAX_CALL", 777)
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    copy(path, tmp_path / "new")
    STORE.append(path, DATA)
    assert (tmp_path / "new").read_bytes() == bytes(10) + DATA
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


# What can be opened


@posix
def test_pipe_is_never_waited_for(tmp_path: Path) -> None:
    """A pipe without a writer is refused at once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError) as caught:
        STORE.open(str(pipe))
    assert caught.value.code == "file-not-regular"
    assert STORE.kind(str(pipe)) == "other"


@posix
def test_pipe_that_takes_the_place_of_a_file(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that appears between looking and opening is refused as well, and closed."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    regular, real = os.stat(path), os.stat
    monkeypatch.setattr(os, "stat", lambda *a, **k: regular if a == (str(pipe),) else real(*a, **k))
    with pytest.raises(InputError) as caught:
        STORE.open(str(pipe))
    assert caught.value.code == "file-not-regular"


@posix
def test_device_is_refused() -> None:
    """A device is not a file, however much can be read from it."""
    with pytest.raises(InputError) as caught:
        STORE.open("/dev/zero")
    assert caught.value.code == "file-not-regular"


@posix
def test_link_to_nothing(tmp_path: Path) -> None:
    """A link that leads to nothing, or to itself, is missing; the message says where it leads."""
    for name, target in (("link", "blobs/gone"), ("circle", "circle")):
        link = tmp_path / name
        link.symlink_to(target)
        with pytest.raises(MissingError) as caught:
            STORE.open(str(link))
        assert f"'{target}'" in caught.value.message
        assert STORE.kind(str(link)) is None


@posix
def test_links(tmp_path: Path, path: str) -> None:
    """A link to a file is read as the file; removing it leaves the file."""
    link = str(tmp_path / "link")
    os.symlink("data", link)
    assert STORE.kind(link) == "file"
    assert STORE.same(link, path)
    assert STORE.version(link) == STORE.version(path)
    with STORE.open(link) as reader:
        assert reader.read(0, len(DATA)) == DATA
    STORE.remove(link)
    assert Path(path).exists()


@posix
def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """A name that is a link is taken, even if the link leads to nothing."""
    (tmp_path / "link").symlink_to("victim")
    with pytest.raises(Exception, match="taken"):
        STORE.create(str(tmp_path / "link"), 3)
    assert not (tmp_path / "victim").exists()


@posix
def test_list_tells_links_from_files(tmp_path: Path, path: str) -> None:
    """A link has its own kind, the kind that it leads to, and the size of that."""
    for name, target in (
        ("to-file", "data"),
        ("to-folder", "."),
        ("to-nothing", "gone"),
        ("to-itself", "to-itself"),
    ):
        (tmp_path / name).symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    assert STORE.list(os.path.dirname(path)) == [
        Entry("data", "file", None, len(DATA)),
        Entry("pipe", "other", None, 0),
        Entry("to-file", "link", "file", len(DATA)),
        Entry("to-folder", "link", "directory", 0),
        Entry("to-itself", "link", None, 0),
        Entry("to-nothing", "link", None, 0),
        Entry("to-pipe", "link", "other", 0),
    ]


# Names


def test_spellings(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is the same as itself in another spelling; the current directory is "" and "."."""
    assert STORE.same(path, STORE.join(str(tmp_path), ".", "data"))
    monkeypatch.chdir(tmp_path)
    assert STORE.same("", ".")
    assert STORE.same("data", path)


def test_a_new_file_has_its_size_at_once(tmp_path: Path) -> None:
    """A file shows its final size before anything is written to it."""
    with STORE.create(str(tmp_path / "new"), 5000):
        assert (tmp_path / "new").stat().st_size == 5000


@posix
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such names")
def test_undecodable_name(tmp_path: Path) -> None:
    """A name that is not UTF-8 works like any other, and an error about it can be printed."""
    name = os.fsdecode(b"weights-\xff")
    path = STORE.join(str(tmp_path), name)
    STORE.create(path, 3).close()
    assert [entry.name for entry in STORE.list(str(tmp_path))] == [name]
    assert STORE.kind(path) == "file"
    STORE.remove(path)
    with pytest.raises(MissingError) as caught:
        STORE.open(path)
    assert caught.value.file == path
    assert caught.value.message.isprintable()


@posix
def test_name_too_long(tmp_path: Path) -> None:
    """A name that the filesystem cannot hold is said to be too long."""
    path = str(tmp_path / ("x" * 300))
    for use in (STORE.open, STORE.kind, STORE.make_directory, lambda path: STORE.create(path, 1)):
        with pytest.raises(StorageError) as caught:
            use(path)
        assert caught.value.file == path
        assert "shorter" in caught.value.hint


@pytest.mark.parametrize("name", ["nul\0", "lone-\ud800"])
def test_impossible_name(tmp_path: Path, name: str) -> None:
    """A name that no file can have does not exist, and cannot be given."""
    path = STORE.join(str(tmp_path), name)
    assert STORE.kind(path) is None
    assert not STORE.same(path, path)
    for use in (STORE.open, STORE.make_directory, STORE.remove, lambda path: STORE.create(path, 1)):
        with pytest.raises(StorageError) as caught:
            use(path)
        assert caught.value.message.isprintable()


# Permissions


@posix
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_umask_is_respected(tmp_path: Path, mask: int, mode: int) -> None:
    """New files get what the umask leaves of read and write for all."""
    before = os.umask(mask)
    try:
        STORE.create(str(tmp_path / "new"), 1).close()
        STORE.append(str(tmp_path / "log"), b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == mode


@posix
def test_mode_is_taken_over(tmp_path: Path, path: str) -> None:
    """The permissions of a file go over to the one that replaces it, without set-id bits."""
    os.chmod(path, 0o4640)
    STORE.create(str(tmp_path / "new"), 1).close()
    STORE.copy_mode(path, str(tmp_path / "new"))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


@posix
def test_filesystem_without_modes(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem without permissions is not a failure."""
    monkeypatch.setattr(os, "chmod", failing(errno.EPERM))
    STORE.copy_mode(path, path)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EACCES, "permissions"),
        (errno.EROFS, "read-only"),
        (errno.EMFILE, "in parallel"),
        (errno.EFBIG, "smaller shards"),
    ],
)
def test_refusals_have_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    """What the system refuses is named, with its reason and a next step."""
    path = str(tmp_path / "new")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing(number))
        with pytest.raises(StorageError) as caught:
            STORE.create(path, 1)
    assert caught.value.file == path
    assert os.strerror(number) in caught.value.message
    assert hint in caught.value.hint


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
    """A file that cannot get its size is not left behind."""
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


def test_failed_close_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that the system tells only when the file is closed is raised."""
    writer = STORE.create(str(tmp_path / "new"), 10)
    with failing_close(monkeypatch), pytest.raises(StorageError) as caught:
        writer.close()
    assert caught.value.file == str(tmp_path / "new")


def test_first_error_is_the_one_that_is_told(
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


# Locks


def test_lock_names_its_holder(tmp_path: Path) -> None:
    """The error for a locked target names the process that holds it."""
    path = str(tmp_path / "lock")
    with STORE.lock(path), pytest.raises(LockedError) as caught, STORE.lock(path):
        pass
    assert str(os.getpid()) in caught.value.message


@posix
def test_lock_of_a_dead_process(tmp_path: Path) -> None:
    """A lock file that no process holds is taken over."""
    (tmp_path / "lock").write_bytes(b'{"pid": 1, "host": "elsewhere"}')
    with STORE.lock(str(tmp_path / "lock")):
        pass
    assert not (tmp_path / "lock").exists()


@posix
def test_lock_without_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files cannot be locked, a file's being there is the lock."""
    monkeypatch.setattr(locking, "fcntl", None)
    path = str(tmp_path / "lock")
    with STORE.lock(path), pytest.raises(LockedError), STORE.lock(path):
        pass
    with STORE.lock(path):
        pass
    assert not os.path.exists(path)


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
    piece = bytes(local_files._WORTH_WRITING)
    monkeypatch.setattr(local_files, "_AHEAD_BYTES", 2 * len(piece))
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
    monkeypatch.setattr(local_files, "_AHEAD_BYTES", 0)
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
    with pytest.raises(OSError, match="Bad file descriptor"):
        syscalls.finish_writing(-1, 0, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="blocks are shared on Linux")
def test_sharing_is_asked_of_the_filesystem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One block is shared with an unnamed file; None where that fails, or the source is small."""
    path, small = tmp_path / "a", tmp_path / "small"
    path.write_bytes(bytes(100_000))
    small.write_bytes(b"1")
    with STORE.open(str(path)) as reader, STORE.open(str(small)) as short:
        monkeypatch.setattr(syscalls, "share_range", lambda *_: True)
        block = STORE.shared_block(reader, str(tmp_path / "not" / "yet"))
        assert block == os.statvfs(tmp_path).f_bsize
        assert STORE.shared_block(short, str(tmp_path)) is None
        monkeypatch.setattr(syscalls, "share_range", lambda *_: False)
        assert STORE.shared_block(reader, str(tmp_path)) is None
        monkeypatch.setattr(syscalls, "share_range", failing(errno.EIO))
        assert STORE.shared_block(reader, str(tmp_path)) is None
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a", "small"]


@pytest.mark.skipif(sys.platform != "linux", reason="blocks are shared on Linux")
def test_what_is_not_shared_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole blocks in the middle are shared, both edges are copied, and a full disk is an error and
    no detour.
    """
    source = tmp_path / "a"
    source.write_bytes(os.urandom(50_000))
    block = os.statvfs(tmp_path).f_bsize
    asked: list[tuple[int, int, int]] = []

    def share(one: int, start: int, other: int, at: int, length: int) -> bool:
        asked.append((start, at, length))
        os.pwrite(other, os.pread(one, length, start), at)
        return True

    monkeypatch.setattr(syscalls, "share_range", share)
    with (
        LocalStore().open(str(source)) as reader,
        LocalStore().create(str(tmp_path / "b"), 3 * block) as writer,
    ):
        copied = writer.copy(10, reader, Extent(str(source), block + 10, 2 * block))
        assert asked == [(2 * block, block, block)]
        assert copied.shared == block
        assert copied.kernel + copied.buffered == block
        monkeypatch.setattr(syscalls, "share_range", failing(errno.ENOSPC))
        with pytest.raises(StorageError) as caught:
            writer.copy(10, reader, Extent(str(source), block + 10, 2 * block))
        assert caught.value.code == "disk-full"
    assert (tmp_path / "b").read_bytes()[10 : 10 + 2 * block] == source.read_bytes()[
        block + 10 : 3 * block + 10
    ]
