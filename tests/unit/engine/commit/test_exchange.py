"""Files are exchanged by identity: whatever stops or disturbs an exchange, nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from shardctl.engine.commit.exchange import Exchange, Places, carry_out, plan, remove_old, undo
from shardctl.engine.commit.nested import Nested
from shardctl.errors import StorageError, TargetExistsError
from shardctl.stores.base import Directory
from shardctl.stores.local.directories import LocalDirectory

OLD = {
    "index.json": "old index",
    "model-1.bin": "old 1",
    "model-2.bin": "old 2",
    "sub/pooling.json": "old pooling",
}
NEW = {
    "fresh/template": "new template",
    "sub/deep/inner": "new inner",
    "sub/pooling.json": "new pooling",
    "model-1.bin": "new 1",
    "model-3.bin": "new 3",
    "index.json": "new index",
}
#: Changes of a whole exchange: every old file moved, every new one, every old one removed.
MOVES, CHANGES = len(OLD) + len(NEW), 2 * len(OLD) + len(NEW)


class Killed(BaseException):
    """The simulated end of the process."""


class Stopping(LocalDirectory):
    """A directory in which `before` is called before each change, with the change's number."""

    changes = 0

    @staticmethod
    def before(number: int) -> None:
        """Do nothing."""

    def move(self, name: str, to: Directory, new_name: str) -> None:
        self._count()
        super().move(name, to, new_name)

    def remove(self, name: str) -> None:
        self._count()
        super().remove(name)

    def _count(self) -> None:
        Stopping.changes += 1
        Stopping.before(Stopping.changes)


@pytest.fixture(autouse=True)
def _restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stopping, "changes", 0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A target with old files, and staged files beside it."""
    for directory, files in (("target", OLD), ("files", NEW), ("aside", {})):
        (tmp_path / directory).mkdir()
        for name, text in files.items():
            (tmp_path / directory / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / directory / name).write_text(text)
    return tmp_path


@contextmanager
def opened(root: Path, *, inodes: bool = True) -> Iterator[Places]:
    """The open directories of an exchange."""
    with (
        Stopping.open(str(root / "target")) as target,
        Stopping.open(str(root / "files")) as files,
        Stopping.open(str(root / "aside")) as aside,
    ):
        yield Places(Nested(target), Nested(files), Nested(aside), inodes=inodes)


def planned(root: Path) -> Exchange:
    """The exchange of all old files for all new ones, with the old index named last."""
    with opened(root) as at:
        return plan(at.target, at.files, list(NEW), sorted(OLD, key="index.json".__eq__))


def contents(directory: Path) -> dict[str, str]:
    """The files in and below a directory, by name."""
    return {
        path.relative_to(directory).as_posix(): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def directories(directory: Path) -> set[str]:
    """The directories below a directory."""
    return {
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_dir()
    }


def everything(root: Path) -> list[str]:
    """The contents of all files, wherever they are."""
    texts = [
        text for name in ("target", "files", "aside") for text in contents(root / name).values()
    ]
    return sorted(texts)


def exchanged(root: Path, exchange: Exchange, *, inodes: bool = True) -> None:
    """Carry an exchange out, and remove the old files."""
    with opened(root, inodes=inodes) as at:
        carry_out(exchange, at)
        remove_old(exchange, at)


def kill_at(moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process end before the change of this number."""

    def kill(number: int) -> None:
        if number == moment:
            raise Killed

    monkeypatch.setattr(Stopping, "before", staticmethod(kill))


def changes_of_a_whole_exchange(root: Path) -> int:
    """How many changes an undisturbed exchange makes."""
    exchanged(root, planned(root))
    return Stopping.changes


def test_old_files_are_replaced_and_removed(root: Path) -> None:
    """After an exchange the target has the new files, and no old one is left anywhere."""
    changes_of_a_whole_exchange(root)
    assert contents(root / "target") == NEW
    assert contents(root / "aside") == contents(root / "files") == {}
    assert directories(root / "target") == {"fresh", "sub", "sub/deep"}
    assert directories(root / "aside") == set()


def test_old_files_stay_until_they_are_removed(root: Path) -> None:
    """Until the last step every old file exists."""
    with opened(root) as at:
        carry_out(planned(root), at)
    assert contents(root / "aside") == OLD


def test_no_mixture_under_final_names(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At no moment are an old and a new file in the target at once."""

    def look(_: int) -> None:
        texts = contents(root / "target").values()
        assert not (any("old" in text for text in texts) and any("new" in text for text in texts))

    monkeypatch.setattr(Stopping, "before", staticmethod(look))
    assert changes_of_a_whole_exchange(root) == CHANGES


def shards(texts: dict[str, str]) -> dict[str, str]:
    """The texts of the weights."""
    return {name: text for name, text in texts.items() if name.endswith(".bin")}


def test_the_index_leaves_first_and_comes_last(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a shard is missing there is no index that a loader could follow."""

    def look(_: int) -> None:
        there = contents(root / "target")
        if "index.json" in there:
            whole = OLD if "old" in there["index.json"] else NEW
            assert shards(there) == shards(whole)

    monkeypatch.setattr(Stopping, "before", staticmethod(look))
    changes_of_a_whole_exchange(root)


@pytest.mark.parametrize("moment", range(1, CHANGES + 1))
def test_a_kill_at_any_moment_is_finished_by_the_next(
    root: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Killed before any change, an exchange loses nothing, and the same exchange completes it."""
    exchange = planned(root)
    kill_at(moment, monkeypatch)
    with pytest.raises(Killed):
        exchanged(root, exchange)
    for text in NEW.values():
        assert text in everything(root)
    monkeypatch.undo()
    exchanged(root, exchange)
    assert contents(root / "target") == NEW
    assert contents(root / "aside") == contents(root / "files") == {}


@pytest.mark.parametrize("moment", range(1, 2 * len(OLD) + 1))
def test_an_exchange_for_nothing(root: Path, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """Where there are no new files, old ones are removed, whenever it is killed in between."""
    with opened(root) as at:
        exchange = plan(at.target, at.files, [], list(OLD))
    kill_at(moment, monkeypatch)
    with pytest.raises(Killed):
        exchanged(root, exchange)
    monkeypatch.undo()
    exchanged(root, exchange)
    assert contents(root / "target") == contents(root / "aside") == {}


@pytest.mark.parametrize("moment", range(CHANGES + 1))
def test_files_of_the_same_moment_are_told_apart_without_inode_numbers(
    root: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Where old and new files have the same sizes and times, and inode numbers say nothing, the new
    ones get their names all the same, killed before any change or not at all (0).
    """
    for directory in ("target", "files"):
        for path in (root / directory).rglob("*"):
            if path.is_file():
                path.write_text(f"{directory:<9} {path.name:<20}")
                os.utime(path, (1, 1))
    new = contents(root / "files")
    exchange = planned(root)
    kill_at(moment, monkeypatch)
    with suppress(Killed):
        exchanged(root, exchange, inodes=False)
    monkeypatch.undo()
    exchanged(root, exchange, inodes=False)
    assert contents(root / "target") == new
    assert contents(root / "aside") == contents(root / "files") == {}


@pytest.mark.parametrize("moment", range(1, MOVES + 1))
@pytest.mark.parametrize("name", sorted({*OLD, *NEW}))
def test_a_rival_at_any_moment_keeps_its_file(
    root: Path, monkeypatch: pytest.MonkeyPatch, moment: int, name: str
) -> None:
    """What another program writes during an exchange is never overwritten or removed."""
    exchange = planned(root)
    rival = root / "rival"

    def write(number: int) -> None:
        if number == moment:
            rival.write_text("precious")
            (root / "target" / name).parent.mkdir(parents=True, exist_ok=True)
            rival.rename(root / "target" / name)  # as a downloader does: whatever was there goes

    monkeypatch.setattr(Stopping, "before", staticmethod(write))
    with opened(root) as at:
        try:
            carry_out(exchange, at)
        except (TargetExistsError, StorageError):
            monkeypatch.undo()
            undo(exchange, at)
        else:
            remove_old(exchange, at)
    assert "precious" in everything(root)


@pytest.mark.parametrize("moment", range(1, MOVES + 1))
def test_an_exchange_can_be_undone(
    root: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Stopped before any change, an exchange can be undone: the target is what it was."""
    exchange = planned(root)
    kill_at(moment, monkeypatch)
    with opened(root) as at:
        with pytest.raises(Killed):
            carry_out(exchange, at)
        monkeypatch.undo()
        assert undo(exchange, at)
    assert contents(root / "target") == OLD
    assert contents(root / "files") == NEW
    assert directories(root / "target") == {"sub"}


@pytest.mark.parametrize("stopped", range(1, 7))
@pytest.mark.parametrize("undone", range(1, 7))
def test_an_undo_that_is_cut_short_can_be_gone_on_from(
    root: Path, monkeypatch: pytest.MonkeyPatch, stopped: int, undone: int
) -> None:
    """Killed before any change of an undo, the exchange is completed by the next, though files were
    moved there and back.
    """
    exchange = planned(root)
    kill_at(stopped, monkeypatch)
    with opened(root) as at:
        with pytest.raises(Killed):
            carry_out(exchange, at)
        kill_at(stopped + undone, monkeypatch)
        with suppress(Killed):
            undo(exchange, at)
        monkeypatch.undo()
        carry_out(exchange, at, undone=True)
        remove_old(exchange, at)
    assert contents(root / "target") == NEW
    assert contents(root / "aside") == contents(root / "files") == {}


@pytest.mark.parametrize("name", OLD)
def test_a_file_that_was_written_again_stays(root: Path, name: str) -> None:
    """An old file that is not the one that was seen is not moved, though its name is the same."""
    exchange = planned(root)
    (root / "target" / name).write_text("newer")
    with opened(root) as at, pytest.raises(TargetExistsError) as caught:
        carry_out(exchange, at)
    assert caught.value.file == str(root / "target" / name)
    assert contents(root / "target")[name] == "newer"


def test_a_staged_file_that_was_changed_gets_no_name(root: Path) -> None:
    """A staged file that is not the one that was written is not given its name."""
    exchange = planned(root)
    (root / "files" / "model-3.bin").write_text("forged")
    with opened(root) as at, pytest.raises(StorageError):
        carry_out(exchange, at)
    assert "model-3.bin" not in contents(root / "target")


def test_files_written_after_a_kill_stay(root: Path) -> None:
    """A file that a trainer writes under an old name after a killed run is not removed."""
    exchange = planned(root)
    with opened(root) as at:
        carry_out(exchange, at)  # and killed before anything is removed
    (root / "target" / "model-2.bin").write_text("epoch 2")
    with opened(root) as at:
        carry_out(exchange, at)
        remove_old(exchange, at)
    assert contents(root / "target") == {**NEW, "model-2.bin": "epoch 2"}


def test_copied_state_matches_nothing(root: Path, tmp_path: Path) -> None:
    """An exchange that came with a copied directory moves and removes no file of it."""
    exchange = planned(root)
    copied = tmp_path / "copied"
    for directory in ("target", "files", "aside"):
        (copied / directory).mkdir(parents=True)
        for name, text in contents(root / directory).items():
            (copied / directory / name).parent.mkdir(parents=True, exist_ok=True)
            (copied / directory / name).write_text(text)
    before = everything(copied)
    with opened(copied) as at, pytest.raises(TargetExistsError):
        carry_out(exchange, at)
    assert everything(copied) == before
    assert contents(copied / "target") == OLD


def test_hard_links_of_one_file_are_both_moved(root: Path) -> None:
    """Two old names of one file are both replaced, though the first rename changes its ctime."""
    (root / "target" / "model-2.bin").unlink()
    (root / "target" / "model-2.bin").hardlink_to(root / "target" / "model-1.bin")
    changes_of_a_whole_exchange(root)
    assert contents(root / "target") == NEW


@pytest.mark.parametrize("late", [False, True])
def test_a_directory_that_is_a_link_is_not_followed(root: Path, tmp_path: Path, late: bool) -> None:
    """Where a link has the name of a sub-directory, nothing is written through it."""
    (tmp_path / "outside").mkdir()
    exchange = planned(root) if late else None
    (root / "target" / "fresh").symlink_to(tmp_path / "outside")
    with opened(root) as at, pytest.raises(TargetExistsError, match="is a link"):
        carry_out(exchange or planned(root), at)
    assert contents(tmp_path / "outside") == {}


def test_a_new_directory_has_the_permissions_of_the_staged_one(root: Path) -> None:
    """A directory that is made in the target is for those for whom the staged one is."""
    (root / "files" / "fresh").chmod(0o750)
    exchanged(root, planned(root))
    assert (root / "target" / "fresh").stat().st_mode & 0o777 == 0o750


def test_links_are_moved_and_not_followed(root: Path, tmp_path: Path) -> None:
    """An old name that is a link is replaced; the file that it leads to stays as it is."""
    outside = tmp_path / "outside"
    outside.write_text("outside")
    (root / "target" / "model-2.bin").unlink()
    (root / "target" / "model-2.bin").symlink_to(outside)
    changes_of_a_whole_exchange(root)
    assert contents(root / "target") == NEW
    assert outside.read_text() == "outside"


def test_a_directory_is_no_old_file(root: Path) -> None:
    """Where one has the name of a file to remove, nothing is begun: it could not be removed."""
    (root / "target" / "model-2.bin").unlink()
    (root / "target" / "model-2.bin").mkdir()
    with pytest.raises(TargetExistsError, match="appeared or changed"):
        planned(root)
    assert directories(root / "aside") == set()
