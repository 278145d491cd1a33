"""Parts of a run that are killed, or meet another process, at every step.

The steps are the calls that change a directory, or make a file in one, counted inside this process.
"""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shardctl.engine.shared import run as shared
from shardctl.stores.local.directories import LocalDirectory
from shardctl.stores.local.store import LocalStore
from tests.faults.machinery import STAGING, digests, forget_records, run_here, tensors
from tests.support.safetensors_files import write_safetensors

pytestmark = pytest.mark.faults

DIRECTORY = ("move", "remove", "remove_subdirectory", "make_subdirectory", "sync")
STORE = ("create", "rename", "remove", "make_directory", "sync_directory")


class Killed(BaseException):
    """The simulated end of the process."""


def kill() -> None:
    """End the process, as far as that can be done inside this one: no later step succeeds."""
    raise Killed


class Steps:
    """Counts the steps of a run, and does something before one of them, or from there on."""

    def __init__(
        self, patched: pytest.MonkeyPatch, moment: int, act: Callable[[], None], *, once: bool
    ) -> None:
        self.number, self.moment, self.act, self.once = 0, moment, act, once
        for owner, names in ((LocalDirectory, DIRECTORY), (LocalStore, STORE)):
            for name in names:
                patched.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **settings: object) -> object:
            # Another command runs inside this process only on the main thread.
            if self.once and threading.current_thread() is not threading.main_thread():
                return real(*arguments, **settings)
            self.number += 1
            if self.number == self.moment or (not self.once and self.number > self.moment):
                self.act()
            return real(*arguments, **settings)

        return call


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan of three shards into `target`; `expected` has the files of one run.

    No process waits for another, which in these tests has ended or is held.
    """
    monkeypatch.setattr(shared, "_LOCK_SECONDS", 0)
    monkeypatch.setattr(shared, "_RECEIPT_SECONDS", 0)
    write_safetensors(tmp_path / "source" / "model.safetensors", tensors())
    (tmp_path / "source" / "config.json").write_text("{}")
    command = ("split", tmp_path / "source")
    run_here(*command, tmp_path / "expected", "--num-shards", 3).expect(0)
    planned = run_here(*command, tmp_path / "target", "--num-shards", 3, "-n", "--json").expect(0)
    (tmp_path / "plan.json").write_text(planned.stdout)
    return tmp_path / "plan.json"


def apply(plan: Path, *options: str, code: int = 0) -> str:
    """Apply a plan, one file at a time; return what is printed on stderr."""
    return run_here("apply", plan, "-j", 1, *options).expect(code).stderr


def killed(plan: Path, moment: int, *options: str) -> bool:
    """Apply a plan, killed before a step; return whether it came to that."""
    with pytest.MonkeyPatch.context() as patched:
        Steps(patched, moment, kill, once=False)
        try:
            apply(plan, *options)
        except Killed:
            return True
    return False


def begin(plan: Path) -> Path:
    """Make the target as it was before anything was written; return it."""
    target = plan.parent / "target"
    shutil.rmtree(target, ignore_errors=True)
    forget_records()
    return target


def check(plan: Path, where: str) -> None:
    """The target holds what one run writes, and nothing else."""
    target = plan.parent / "target"
    assert digests(target) == digests(plan.parent / "expected"), where
    assert not (target / STAGING).exists(), where


def test_a_part_that_is_killed_at_each_step(plan: Path) -> None:
    """Whenever a part is killed, the others, the same one again and a commit give the bytes of one
    run, and a commit before that gives none of the files a name.
    """
    for moment in itertools.count(1):
        target = begin(plan)
        if not killed(plan, moment, "--part", "1/2"):
            break
        apply(plan, "--part", "2/2")
        committed = run_here("apply", plan, "--commit")
        if committed.code:
            assert committed.code == 4, committed.stderr
            assert digests(target) == {}
            apply(plan, "--part", "1/2")
            apply(plan, "--commit")
        check(plan, f"killed before step {moment}")
    assert moment > 20


def test_a_commit_that_is_killed_at_each_step(plan: Path) -> None:
    """Whenever the commit is killed, another one finishes it."""
    for moment in itertools.count(1):
        begin(plan)
        apply(plan, "--part", "1/1")
        if not killed(plan, moment, "--commit"):
            break
        apply(plan, "--commit")
        check(plan, f"killed before step {moment}")
    assert moment > 20


def test_the_same_part_at_each_step_of_another(plan: Path) -> None:
    """A process that writes the same part from its beginning to its end, before whichever step of
    another, disturbs nothing.
    """

    def again() -> None:
        # While the other holds the lock for a moment, this one would wait for it.
        ended = run_here("apply", plan, "--part", "1/1", "-q", "-j", 1)
        assert ended.code == 0 or "is locked by" in ended.stderr

    for moment in itertools.count(1):
        begin(plan)
        with pytest.MonkeyPatch.context() as patched:
            steps = Steps(patched, moment, again, once=True)
            apply(plan, "--part", "1/1")
        apply(plan, "--commit")
        check(plan, f"before step {moment}")
        if steps.number < moment:
            break
    assert moment > 20


def test_a_run_that_discards_at_each_step_of_a_part(plan: Path) -> None:
    """A run that starts over, before whichever step of a part, is complete, and the part ends with
    an error and leaves nothing, or had ended its work by then.
    """
    over = ("split", plan.parent / "source", plan.parent / "target", "--num-shards", 3, "--restart")

    def discard() -> None:
        run_here(*over, "-q", "-j", 1)

    for moment in itertools.count(1):
        begin(plan)
        with pytest.MonkeyPatch.context() as patched:
            steps = Steps(patched, moment, discard, once=True)
            ended = run_here("apply", plan, "-j", 1, "--part", "1/1")
        assert ended.code in (0, 4), f"before step {moment}: {ended.stderr}"
        if not (plan.parent / "target" / "config.json").exists():
            # The part was what came first: what it began is finished.
            apply(plan)
        check(plan, f"before step {moment}")
        if steps.number < moment:
            break
    assert moment > 20
