"""Local files are read where they were opened, and records only grow at their end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shardctl.errors import InputError, MissingError, SourceChangedError, StorageError
from shardctl.stores.local import mounts, syscalls
from shardctl.stores.local.files import LocalReader, append, version_of
from tests.unit.stores.local.local_calls import DATA, posix


def test_ranges_of_a_file(path: str) -> None:
    """Any range can be read, up to the last byte, in any order; one of no bytes anywhere."""
    with LocalReader(path) as reader:
        assert reader.read(len(DATA) - 1, 1) == DATA[-1:]
        assert reader.read(0, len(DATA)) == DATA
        assert reader.read(10**9, 0) == b""
        memory = bytearray(10)
        reader.read_into(5, memoryview(memory))
        assert memory == DATA[5:15]


@pytest.mark.parametrize(("size", "offset", "length"), [(0, 0, 1), (10, 5, 6), (10, 10, 1)])
def test_a_file_that_ends_too_early(tmp_path: Path, size: int, offset: int, length: int) -> None:
    """One byte too few is a source that has changed, with the byte where it ends."""
    path = tmp_path / "f"
    path.write_bytes(bytes(size))
    with LocalReader(str(path)) as reader:
        for read in (
            lambda: reader.read(offset, length),
            lambda: reader.read_into(offset, memoryview(bytearray(length))),
        ):
            with pytest.raises(SourceChangedError, match="has become shorter") as caught:
                read()
            assert caught.value.offset == size


def test_the_file_that_was_opened_is_read(tmp_path: Path) -> None:
    """Another file that takes its name changes nothing; a change of the file itself is seen."""
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with LocalReader(str(path)) as reader:
        other = tmp_path / "g"
        other.write_bytes(b"new")
        other.rename(path)
        assert reader.read(0, 3) == b"old"
        assert LocalReader(str(path)).version != reader.version
    with LocalReader(str(path)) as reader:
        os.utime(path, ns=(1, 1))
        assert reader.current() != reader.version


def test_a_reader_can_be_closed_again(path: str) -> None:
    """The second time does nothing, and does not close another file of the same number."""
    reader = LocalReader(path)
    reader.close()
    with LocalReader(path) as other:
        reader.close()
        assert other.read(0, 1) == DATA[:1]


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    """A directory is refused, and what does not exist is missing."""
    with pytest.raises(InputError, match="is not a regular file") as caught:
        LocalReader(str(tmp_path))
    assert caught.value.code == "file-not-regular"
    with pytest.raises(MissingError):
        LocalReader(str(tmp_path / "none"))


@posix
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """It is refused before it is opened."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="is not a regular file"):
        LocalReader(str(pipe))


def test_the_version_has_the_inode_where_that_is_kept(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, files are distinguished by their times."""
    status = os.stat(path)
    monkeypatch.setattr(mounts, "keeps_inodes", lambda _: True)
    assert version_of(status).mark.endswith(f"-{status.st_ino}")
    monkeypatch.setattr(mounts, "keeps_inodes", lambda _: False)
    assert version_of(status).mark == f"{status.st_mtime_ns}-{status.st_ctime_ns}"
    assert version_of(status).size == len(DATA)


def test_records_grow_at_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each append is durable; the name of a new file is made durable with it."""
    synced: list[str] = []
    monkeypatch.setattr(syscalls, "sync_file", lambda _: synced.append("file"))
    monkeypatch.setattr(syscalls, "sync_directory", synced.append)
    monkeypatch.setattr(syscalls, "MAX_CALL", 2)
    path = tmp_path / "log"
    append(str(path), b"abcde")
    assert synced == ["file", str(tmp_path)]
    append(str(path), b"f")
    assert synced == ["file", str(tmp_path), "file"]
    assert path.read_bytes() == b"abcdef"


@posix
def test_what_a_link_leads_to_does_not_grow(tmp_path: Path) -> None:
    """A link in place of a record is refused, and the file that it leads to stays as it is."""
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "log").symlink_to(tmp_path / "mine")
    with pytest.raises(StorageError):
        append(str(tmp_path / "log"), b"x")
    assert (tmp_path / "mine").read_bytes() == b"mine"
