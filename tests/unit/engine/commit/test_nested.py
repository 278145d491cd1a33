"""An open directory and those below it: names of several parts."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from shardctl.engine.commit.nested import Nested
from shardctl.errors import StorageError, TargetExistsError
from shardctl.stores.local.directories import LocalDirectory


def opened(path: Path) -> Nested:
    """A directory of this machine, made."""
    path.mkdir(parents=True, exist_ok=True)
    return Nested(LocalDirectory.open(str(path)))


def test_names_lead_to_files_at_any_depth(tmp_path: Path) -> None:
    """A name with parts is that of a file below; one whose directory is missing is free."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"123")
    with opened(tmp_path) as nested:
        found = nested.identity("a/b/c")
        assert found is not None
        assert found.size == 3
        assert nested.identity("a/x/c") is None
        assert nested.names_beside("a/b/other") == ["a/b/c"]
        assert nested.names_beside("none/other") == []
        assert nested.names_beside("top") == ["a"]


def test_a_file_is_moved_into_directories_that_are_made(tmp_path: Path) -> None:
    """A move makes the directories of the new place, and can be taken back without a trace."""
    with opened(tmp_path / "one") as one, opened(tmp_path / "two") as two:
        one.make(["a", "b"])
        (tmp_path / "one" / "a" / "b" / "c").write_bytes(b"x")
        one.move("a/b/c", two)
        assert (tmp_path / "two" / "a" / "b" / "c").read_bytes() == b"x"
        two.sync()
        two.move("a/b/c", one)
        two.remove_made()
        one.remove("a/b/c")
        one.remove_empty(["a/b/c"])
    assert list((tmp_path / "one").iterdir()) == list((tmp_path / "two").iterdir()) == []


def test_directories_with_something_in_them_stay(tmp_path: Path) -> None:
    """Removing empty directories leaves what another program put into one of them."""
    with opened(tmp_path) as nested:
        nested.make(["a", "b"])
        (tmp_path / "a" / "mine").write_bytes(b"x")
        nested.remove_empty(["a/b/c"])
        nested.remove_made()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "mine"]


def test_a_link_among_the_directories_is_refused(tmp_path: Path) -> None:
    """No part of a name is followed through a link."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").symlink_to(tmp_path / "outside")
    with opened(tmp_path / "in") as nested:
        with pytest.raises(TargetExistsError, match="is a link"):
            nested.identity("a/b")
        with pytest.raises(TargetExistsError, match="is a link"):
            nested.make(["a", "b"])
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_file_whose_directory_is_gone_cannot_be_moved(tmp_path: Path) -> None:
    """Moving a file from a directory that does not exist is an error that names it."""
    with (
        opened(tmp_path / "one") as one,
        opened(tmp_path / "two") as two,
        pytest.raises(StorageError, match="a/b' is gone"),
    ):
        one.move("a/b", two)


def test_few_directories_are_open_at_once(tmp_path: Path) -> None:
    """Files of more directories than a process may open are moved, and moved back."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 100
    names = [f"a/{number}/x" for number in range(count)]
    with opened(tmp_path / "one") as one, opened(tmp_path / "two") as two:
        for name in names:
            one.make(name.split("/")[:-1])
            (tmp_path / "one" / name).write_bytes(b"x")
        few = len(os.listdir("/dev/fd")) + count // 2
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, limits[1]))
        try:
            for name in names:
                one.move(name, two)
            two.sync()
            assert all(two.identity(name) for name in names)
            for name in names:
                two.move(name, one)
            two.remove_made()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert list((tmp_path / "two").iterdir()) == []
    assert all((tmp_path / "one" / name).exists() for name in names)


def test_what_an_earlier_process_moved_is_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every directory that was looked into is synced, inner ones first, whoever changed it."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    synced: list[str] = []
    monkeypatch.setattr(LocalDirectory, "sync", lambda self: synced.append(self.path))
    with opened(tmp_path) as nested:
        nested.identity("a/b/c")
        nested.identity("top")
        nested.sync()
    assert synced[0] == str(tmp_path / "a" / "b")
    assert synced[-1] == str(tmp_path)


def test_what_was_not_accepted_is_removed(tmp_path: Path) -> None:
    """Files of names that workers make for their tries go, beside the files that are named; others
    stay, and one that a run calls so itself.
    """
    mine, tries = "~" + 32 * "a", ["~" + 32 * "b", "a/~" + 32 * "c", "a/~" + 32 * "d"]
    others = ["x", "~x", "~" + 33 * "b", "other/~" + 32 * "e"]
    for name in (mine, *tries, *others):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    with opened(tmp_path) as nested:
        nested.remove_tries(["x", mine, "a/x", "missing/x"])
    found = sorted(
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()
    )
    assert found == sorted([mine, *others])
