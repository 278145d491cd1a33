"""Open directories: of this machine, and substitutes for a store that cannot open any."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shardctl.errors import MissingError, StorageError, TargetExistsError
from shardctl.stores.base import Directory
from shardctl.stores.local import directories
from shardctl.stores.local.directories import LocalDirectory
from shardctl.stores.optional import open_directory
from shardctl.stores.plain import PlainDirectory
from tests.unit.stores.local.local_calls import STORE, posix


@pytest.fixture(params=["at", "by path", "plain"])
def directory(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Directory]:
    """An open directory: by calls that end in `at`, by paths as on Windows, and of any store."""
    with _opened(request.param, tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture(params=["at", "by path"])
def local(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalDirectory]:
    """An open directory of this machine."""
    found = _opened(request.param, tmp_path, monkeypatch)
    assert isinstance(found, LocalDirectory)
    with found:
        yield found


def _opened(way: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> Directory:
    if way == "plain":
        return PlainDirectory(STORE, str(path))
    if way == "at" and not directories._AT:
        pytest.skip("needs calls that work in an open directory")
    monkeypatch.setattr(directories, "_AT", way == "at")
    return open_directory(STORE, str(path))


def test_what_is_there(directory: Directory, tmp_path: Path) -> None:
    """Names come sorted, and each has its kind and size."""
    (tmp_path / "b").mkdir()
    (tmp_path / "a").write_bytes(b"four")
    assert directory.names() == ["a", "b"]
    file, inner = directory.identity("a"), directory.identity("b")
    assert file is not None
    assert inner is not None
    assert (file.kind, file.size, inner.kind) == ("file", 4, "directory")
    assert directory.identity("c") is None
    assert directory.own_identity().kind == "directory"
    assert directory.is_ours()


def test_a_file_that_was_written_again_is_another(directory: Directory, tmp_path: Path) -> None:
    """A file is unchanged only as long as no process wrote it."""
    (tmp_path / "a").write_bytes(b"one")
    before = directory.identity("a")
    again = directory.identity("a")
    (tmp_path / "a").write_bytes(b"longer")
    after = directory.identity("a")
    assert before is not None
    assert again is not None
    assert after is not None
    assert again.is_unchanged(before, inodes=True)
    assert not after.is_unchanged(before, inodes=True)
    assert not after.is_moved(before, inodes=True)


@posix
def test_a_copy_with_its_times_is_another_file(local: LocalDirectory, tmp_path: Path) -> None:
    """A copy of the same size and modification time is distinguished, by inode or else by ctime."""
    (tmp_path / "a").write_bytes(b"one")
    seen = local.identity("a")
    assert seen is not None
    (tmp_path / "copy").write_bytes(b"one")
    os.utime(tmp_path / "copy", ns=(seen.mtime_ns, seen.mtime_ns))
    (tmp_path / "copy").replace(tmp_path / "a")
    there = local.identity("a")
    assert there is not None
    assert not there.is_moved(seen, inodes=True)
    assert not there.is_same_file(seen)
    # Where inode numbers say nothing, the ctime does.
    later = replace(there, ctime_ns=seen.ctime_ns + 1)
    assert later.is_moved(seen, inodes=False)
    assert not later.is_unchanged(seen, inodes=False)


@posix
def test_a_link_is_looked_at_itself(local: LocalDirectory, tmp_path: Path) -> None:
    """The identity of a link is the link's own, be it that it leads to nothing."""
    (tmp_path / "link").symlink_to("nothing")
    found = local.identity("link")
    assert found is not None
    assert found.kind == "link"
    local.remove("link")
    assert local.identity("link") is None


def test_a_file_is_moved_to_a_free_name(directory: Directory, tmp_path: Path) -> None:
    """A moved file has its new name in the other directory, and is the same file."""
    (tmp_path / "a").write_bytes(b"one")
    before = directory.identity("a")
    with directory.make_subdirectory("inner") as inner:
        directory.move("a", inner, "b")
        after = inner.identity("b")
        assert inner.names() == ["b"]
    assert directory.names() == ["inner"]
    assert before is not None
    assert after is not None
    assert after.is_same_file(before)
    assert (tmp_path / "inner" / "b").read_bytes() == b"one"


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_taken_name_is_not_replaced(directory: Directory, tmp_path: Path, kind: str) -> None:
    """Where a name is taken, the error says so, and both files stay."""
    (tmp_path / "a").write_bytes(b"one")
    if kind == "file":
        (tmp_path / "b").write_bytes(b"two")
    else:
        (tmp_path / "b").mkdir()
    with pytest.raises(TargetExistsError) as caught:
        directory.move("a", directory, "b")
    assert caught.value.file == str(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert kind == "directory" or (tmp_path / "b").read_bytes() == b"two"


@posix
def test_a_link_to_nothing_takes_a_name(local: LocalDirectory, tmp_path: Path) -> None:
    """A name that a link has is not free, wherever the link leads."""
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").symlink_to("nothing")
    with pytest.raises(TargetExistsError):
        local.move("a", local, "b")
    assert (tmp_path / "b").is_symlink()


def test_a_file_that_is_gone_cannot_be_moved(local: LocalDirectory, tmp_path: Path) -> None:
    """Moving a file that is not there is an error that names the new path."""
    with pytest.raises(StorageError) as caught:
        local.move("a", local, "b")
    assert caught.value.file == str(tmp_path / "b")
    assert local.names() == []


def test_directories_are_made_and_removed(directory: Directory, tmp_path: Path) -> None:
    """A directory is made where it is missing, opened where it is there, and removed when empty."""
    assert directory.subdirectory("inner") is None
    for _ in range(2):
        with directory.make_subdirectory("inner") as inner:
            assert inner.path == str(tmp_path / "inner")
            inner.sync()
    (tmp_path / "inner" / "a").write_bytes(b"")
    with pytest.raises(StorageError):
        directory.remove_subdirectory("inner")
    found = directory.subdirectory("inner")
    assert found is not None
    with found:
        found.remove("a")
        found.remove("a")
        assert found.names() == []
    directory.remove_subdirectory("inner")
    directory.remove_subdirectory("inner")
    assert directory.names() == []
    directory.sync()


@posix
def test_a_new_directory_is_for_its_user_alone(local: LocalDirectory, tmp_path: Path) -> None:
    """No other user may read a directory that is made for a run."""
    local.make_subdirectory("inner").close()
    assert stat.S_IMODE((tmp_path / "inner").stat().st_mode) == 0o700


@posix
@pytest.mark.parametrize("make", [False, True])
@pytest.mark.parametrize("where", ["outside", "nothing"])
def test_a_directory_that_is_a_link_is_refused(
    local: LocalDirectory, tmp_path: Path, where: str, *, make: bool
) -> None:
    """A link in place of a directory is refused by name, and nothing is made where it leads."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "inner").symlink_to(tmp_path / where)
    with pytest.raises(TargetExistsError, match="is a link") as caught:
        (local.make_subdirectory if make else local.subdirectory)("inner")
    assert caught.value.file == str(tmp_path / "inner")
    assert not (tmp_path / "nothing").exists()


def test_a_file_is_no_directory(directory: Directory, tmp_path: Path) -> None:
    """A file in place of a directory is refused by name."""
    (tmp_path / "inner").write_bytes(b"mine")
    with pytest.raises(TargetExistsError, match="not a directory"):
        directory.subdirectory("inner")
    assert (tmp_path / "inner").read_bytes() == b"mine"


@posix
def test_an_open_directory_stays_the_one_that_was_opened(tmp_path: Path) -> None:
    """Where a link takes the place of an open directory, its files are not looked at or removed."""
    if not directories._AT:
        pytest.skip("needs calls that work in an open directory")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(b"ours")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a").write_bytes(b"mine")
    with LocalDirectory.open(str(tmp_path / "inner")) as inner:
        (tmp_path / "inner").rename(tmp_path / "moved")
        (tmp_path / "inner").symlink_to("outside")
        assert inner.own_identity().is_same_file(
            directories.identity_of((tmp_path / "moved").stat())
        )
        inner.move("a", inner, "b")
        assert inner.names() == ["b"]
        inner.remove("b")
        assert inner.names() == []
    assert (tmp_path / "outside" / "a").read_bytes() == b"mine"


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """A directory that is not there is the error that names it."""
    with pytest.raises(MissingError, match="does not exist"):
        LocalDirectory.open(str(tmp_path / "nowhere")).names()


def test_a_directory_is_closed_once(local: LocalDirectory) -> None:
    """Closing again does nothing: not even to the descriptor that has the number by then."""
    local.close()
    read, write = os.pipe()
    local.close()
    os.write(write, b"x")
    assert os.read(read, 1) == b"x"
    os.close(read)
    os.close(write)
