"""Other programs at work in the target, and state that came from elsewhere, at every step of a
commit and of its recovery.

The steps are the calls that change a directory. They are counted inside this process.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from shardctl.stores.local.directories import LocalDirectory
from tests.faults.machinery import STAGING, digests, forget_records, run_here, tensors
from tests.support.safetensors_files import read_tensors, write_safetensors

pytestmark = pytest.mark.faults

PRECIOUS = b"what another program wrote"
#: An old and a new name, one that is both, and one that a run has nothing to do with.
NAMES = (
    "model-00001-of-00002.safetensors",
    "model-00003-of-00003.safetensors",
    "model.safetensors.index.json",
    "notes.txt",
)


class Killed(BaseException):
    """The simulated end of the process."""


class Steps:
    """Counts the steps of a run, and does something before one of them."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, moment: int, act: Callable[[], None], *, once: bool
    ) -> None:
        self.number, self.moment, self.act, self.once = 0, moment, act, once
        for name in ("move", "remove", "remove_subdirectory", "make_subdirectory", "sync"):
            monkeypatch.setattr(LocalDirectory, name, self._counted(getattr(LocalDirectory, name)))

    def _counted(self, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            self.number += 1
            if self.number == self.moment or (not self.once and self.number > self.moment):
                self.act()
            return real(*arguments)

        return call


@pytest.fixture
def command(tmp_path: Path) -> tuple[object, ...]:
    """A command that replaces a set of two shards in `target` by one of three."""
    other = {name: data[::-1] + b"!" for name, data in tensors().items()}
    write_safetensors(tmp_path / "old" / "model.safetensors", other)
    write_safetensors(tmp_path / "source" / "model.safetensors", tensors())
    run_here("split", tmp_path / "old", tmp_path / "target", "--num-shards", 2).expect(0)
    (tmp_path / "pristine").mkdir()
    shutil.copytree(tmp_path / "target", tmp_path / "pristine", dirs_exist_ok=True)
    return _command(tmp_path, tmp_path / "target")


def _command(root: Path, target: Path) -> tuple[object, ...]:
    return ("split", root / "source", target, "--num-shards", 3, "--replace", "-j", 1, "-q")


def _restore(root: Path) -> Path:
    """Make the target again, as it was before anything was replaced."""
    target = root / "target"
    shutil.rmtree(target)
    shutil.copytree(root / "pristine", target)
    forget_records()
    return target


def _kill() -> None:
    raise Killed


def _killed(moment: int, command: tuple[object, ...]) -> bool:
    """Run the command, killed before a step; return whether it came to that."""
    with pytest.MonkeyPatch.context() as patched:
        Steps(patched, moment, _kill, once=False)
        try:
            run_here(*command).expect(0)
        except Killed:
            return True
    return False


def _disturbed(moment: int, act: Callable[[], None], command: Sequence[object]) -> bool:
    """Run the command, with `act` done before a step; return whether it came to that."""
    with pytest.MonkeyPatch.context() as patched:
        steps = Steps(patched, moment, act, once=True)
        assert run_here(*command).code in (0, 4, 5)
    return steps.number >= moment


def _writes(target: Path, name: str) -> Callable[[], None]:
    """What a downloader does: it writes a file elsewhere, and renames it over what is there."""

    def write() -> None:
        fresh = target.parent / "fresh"
        fresh.write_bytes(PRECIOUS)
        fresh.replace(target / name)

    return write


def _check_kept(target: Path, command: tuple[object, ...], where: str) -> None:
    """The rival's file is where it was written; without it the same command completes the set."""
    found = [path for path in _files(target) if path.read_bytes() == PRECIOUS]
    assert [path.parent for path in found] == [target], where
    found[0].unlink()
    run_here(*command).expect(0)
    assert read_tensors(target) == tensors(), where
    assert not (target / STAGING).exists(), where


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", NAMES)
def test_a_rival_at_each_step_of_a_run(
    tmp_path: Path, command: tuple[object, ...], name: str
) -> None:
    """Whatever name a rival takes before whichever step, its file stays there, and the run can be
    completed once it is moved away.
    """
    for moment in itertools.count(1):
        target = _restore(tmp_path)
        if not _disturbed(moment, _writes(target, name), command):
            break
        _check_kept(target, command, f"before step {moment}")
    assert moment > 15


@pytest.mark.parametrize("first", range(2, 30, 4))
def test_a_rival_at_each_step_of_a_recovery(
    tmp_path: Path, command: tuple[object, ...], first: int
) -> None:
    """The same holds for the run after one that was killed, wherever that was."""
    target = _restore(tmp_path)
    if not _killed(first, command):
        pytest.fail("a run has fewer steps than that: the numbers here need a look")
    unrelated = [part for part in command if part != "--replace"]
    for moment in itertools.count(1):
        target = _restore(tmp_path)
        assert _killed(first, command)
        name = NAMES[moment % len(NAMES)]
        if not _disturbed(moment, _writes(target, name), unrelated):
            break
        _check_kept(target, command, f"'{name}' before step {moment} after a kill at {first}")


def test_state_that_is_copied_at_each_step(tmp_path: Path, command: tuple[object, ...]) -> None:
    """A directory that is copied with a killed run in it loses no file to any command there, be the
    run killed wherever it may.
    """
    for moment in itertools.count(1):
        target, copy = _restore(tmp_path), tmp_path / "copy"
        if not _killed(moment, command):
            break
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(target, copy)
        before = digests(copy)
        elsewhere = ("split", tmp_path / "source", copy, "--num-shards", 2)
        for again in (elsewhere, ("index", copy), _command(tmp_path, copy)):
            if run_here(*again).code == 0:
                break
            assert digests(copy) == before, f"copied before step {moment}"
    assert moment > 15


def test_a_journal_that_is_planted_at_each_step(
    tmp_path: Path, command: tuple[object, ...]
) -> None:
    """A commit of another directory that is put in the place of a run's own, before whichever of
    its steps, is not carried out: what it names is not touched.
    """
    twin = tmp_path / "twin"
    shutil.copytree(tmp_path / "pristine", twin)
    for number in itertools.count(1):
        if (twin / STAGING / "commit.json").exists():
            break
        assert _killed(number, _command(tmp_path, twin))
    forged = (twin / STAGING / "commit.json").read_bytes().replace(b'"model-0', b'"notes-0')
    for moment in itertools.count(1):
        target = _restore(tmp_path)
        for number in (1, 2, 3):
            for count in (2, 3):
                (target / f"notes-0000{number}-of-0000{count}.safetensors").write_bytes(PRECIOUS)
        planted = {name for name in digests(target) if name.startswith("notes")}

        def plant(staging: Path = target / STAGING) -> None:
            staging.mkdir(exist_ok=True)
            (staging / "commit.json").write_bytes(forged)

        came = _disturbed(moment, plant, command)
        run_here(*command)
        assert planted <= digests(target).keys(), f"before step {moment}"
        assert all((target / name).read_bytes() == PRECIOUS for name in planted)
        if not came:
            break
    assert moment > 15
