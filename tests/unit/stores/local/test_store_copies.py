"""Copies of the local store: inside the kernel, through a buffer, as shared blocks."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from shardctl.errors import SourceChangedError, StorageError
from shardctl.model import Extent
from shardctl.stores.base import Copied
from shardctl.stores.local import mounts, syscalls
from shardctl.stores.local.store import LocalStore
from tests.unit.stores.local.local_calls import DATA, PLACE, STORE, copy, failing

linux = pytest.mark.skipif(
    not hasattr(os, "copy_file_range"), reason="only Linux copies ranges inside the kernel"
)


@linux
def test_copy_in_the_kernel(path: str, tmp_path: Path) -> None:
    """Where the kernel copies, no byte passes through a buffer."""
    assert copy(path, tmp_path / "new") == Copied(kernel=len(DATA))
    assert (tmp_path / "new").read_bytes() == bytes(PLACE) + DATA


@linux
@pytest.mark.parametrize(("in_cache", "place"), [(True, PLACE), (True, 1), (False, 1)])
def test_pages_are_not_copied_one_by_one(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int, *, in_cache: bool
) -> None:
    """Where the kernel would move parts of pages in memory, the bytes go through a buffer; a server
    that may copy them itself is asked whatever the offsets.
    """
    monkeypatch.setattr(mounts, "copies_in_page_cache", lambda _: in_cache)
    apart = in_cache and place == 1
    expected = Copied(buffered=len(DATA)) if apart else Copied(kernel=len(DATA))
    assert copy(path, tmp_path / "new", place) == expected
    assert (tmp_path / "new").read_bytes() == bytes(place) + DATA


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
    assert (tmp_path / "new").read_bytes() == bytes(PLACE) + DATA


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
    assert (tmp_path / "new").read_bytes() == bytes(PLACE) + DATA


@linux
def test_copy_takes_zero_for_no(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that says 0 before the end is not asked again."""
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    assert copy(path, tmp_path / "new") == Copied(buffered=len(DATA))
    assert (tmp_path / "new").read_bytes() == bytes(PLACE) + DATA


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


# Sharing blocks


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
