"""The local store: what can be opened, names, and permissions."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from shardctl.errors import InputError, MissingError, StorageError
from shardctl.stores.base import Entry
from shardctl.stores.optional import keep_mode
from tests.unit.stores.local.local_calls import DATA, STORE, failing, posix

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
def test_only_a_directory_is_listed(tmp_path: Path, path: str) -> None:
    """A file, a device and a pipe have no names in them, and the error says what to name."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for other in (path, os.devnull, str(pipe)):
        with pytest.raises(InputError, match="is not a directory") as caught:
            STORE.list(other)
        assert caught.value.file == other
        assert "name a directory" in caught.value.hint


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
        ("to-directory", "."),
        ("to-nothing", "gone"),
        ("to-itself", "to-itself"),
    ):
        (tmp_path / name).symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    assert STORE.list(os.path.dirname(path)) == [
        Entry("data", "file", None, len(DATA)),
        Entry("pipe", "other", None, 0),
        Entry("to-directory", "link", "directory", 0),
        Entry("to-file", "link", "file", len(DATA)),
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
@pytest.mark.parametrize(("old", "new"), [(0o4640, 0o640), (0o2755, 0o755), (0o1604, 0o604)])
def test_mode_is_taken_over(tmp_path: Path, path: str, old: int, new: int) -> None:
    """The permissions of a file go over to the one that replaces it, without set-id bits."""
    os.chmod(path, old)
    STORE.create(str(tmp_path / "new"), 1).close()
    keep_mode(STORE, path, str(tmp_path / "new"))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == new


@posix
def test_filesystem_without_modes(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem without permissions is not a failure."""
    monkeypatch.setattr(os, "chmod", failing(errno.EPERM))
    STORE.set_mode(path, 0o600)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EACCES, "permissions"),
        (errno.EROFS, "read-only"),
        (errno.EMFILE, "`jobs`"),
        (errno.EFBIG, "`max_shard_size`"),
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
