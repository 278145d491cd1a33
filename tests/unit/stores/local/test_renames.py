"""A file is renamed to a free name, and never over another file."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from shardctl.stores.local import renames


def unsupported(*_: Any, **__: Any) -> bool:
    """A filesystem without the system call."""
    return False


def no_links(*_: Any, **__: Any) -> None:
    """A filesystem without hard links."""
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture(params=["by the system call", "by a link", "by looking first"], autouse=True)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way that some filesystem needs."""
    if request.param != "by the system call":
        monkeypatch.setattr(renames, "_rename_exclusively", unsupported)
    if request.param == "by looking first":
        monkeypatch.setattr(os, "link", no_links)


@pytest.mark.parametrize("relative", [False, True])
def test_a_free_name_is_taken(tmp_path: Path, *, relative: bool) -> None:
    """The file has the new name, and no longer the old one."""
    (tmp_path / "old").write_text("x")
    if relative:
        directory = os.open(tmp_path, os.O_RDONLY)
        renames.rename_to_free_name("old", directory, "new", directory)
        os.close(directory)
    else:
        renames.rename_to_free_name(str(tmp_path / "old"), None, str(tmp_path / "new"), None)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert (tmp_path / "new").read_text() == "x"


@pytest.mark.parametrize("taken_by", ["a file", "a directory", "a dangling link"])
def test_a_taken_name_stays(tmp_path: Path, taken_by: str) -> None:
    """Where the name is taken, by whatever it is, both names stay as they are."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("x")
    if taken_by == "a file":
        new.write_text("y")
    elif taken_by == "a directory":
        new.mkdir()
    else:
        new.symlink_to("nowhere")
    before = new.lstat()
    with pytest.raises(FileExistsError):
        renames.rename_to_free_name(str(old), None, str(new), None)
    assert old.read_text() == "x"
    assert os.path.samestat(before, new.lstat())


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """A file that does not exist cannot be renamed."""
    with pytest.raises(FileNotFoundError):
        renames.rename_to_free_name(str(tmp_path / "old"), None, str(tmp_path / "new"), None)
