"""What must hold after a kill before each system call that changes something below the target.

The moments are listed by one run under strace and counted for each path, since strace counts for
each thread.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shardctl.naming import STAGING
from tests.faults.machinery import (
    Ended,
    all_digests,
    digests,
    forget_records,
    left_behind,
    points_of,
    run_here,
    run_killed,
    tensors,
)
from tests.support.safetensors_files import read_tensors, write_safetensors


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command to be killed. `prepare` makes what is there before; the command works on `source`
    and `target`.
    """

    prepare: Callable[[Path], None]
    command: tuple[str, ...]
    source: str
    target: str

    @property
    def in_place(self) -> bool:
        """Whether the command replaces what it reads."""
        return self.source == self.target

    def arguments(self, directory: Path) -> list[str]:
        """The command line below a directory: one job, so that all runs have the same moments."""
        name, *options = self.command
        paths = [str(directory / self.source), str(directory / self.target)]
        return [name, *paths, *options, "--jobs", "1", "--quiet"]


def _single(directory: Path) -> None:
    write_safetensors(directory / "model" / "model.safetensors", tensors())
    (directory / "model" / "config.json").write_text("{}")


def _bin_shards(directory: Path) -> None:
    write_safetensors(directory / "single" / "model.safetensors", tensors(4))
    run_here(
        "reshard",
        directory / "single",
        directory / "model",
        "--to",
        "bin",
        "--num-shards",
        3,
        "--quiet",
    ).expect(0)


def _shards(directory: Path, count: int = 3) -> None:
    """Shards whose tensors stand in an order that packing again by name changes: other shards,
    same names.
    """
    names = [f"layer.{number}.weight" for number in (10, 9, 2, 1, 11, 3)]
    held = {name: bytes([number + 1]) * (500 + 97 * number) for number, name in enumerate(names)}
    write_safetensors(directory / "single" / "model.safetensors", held)
    run_here(
        "split", directory / "single", directory / "model", "--num-shards", count, "--quiet"
    ).expect(0)


def _shards_in_target(directory: Path) -> None:
    """A source of one file, and a target that holds three shards of other weights."""
    _shards(directory)
    (directory / "model").rename(directory / "target")
    write_safetensors(directory / "model" / "model.safetensors", tensors())


def _sub_directories(directory: Path) -> None:
    """Files in sub-directories of the source, one of which differs in a target that holds other
    weights.
    """
    _shards_in_target(directory)
    for name, text in {
        "model/1_Pooling/pooling.json": "new",
        "model/templates/deep/tool.jinja": "new too",
        "target/1_Pooling/pooling.json": "old",
        "target/1_Pooling/mine.txt": "mine",
    }.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


INDEX = "model.safetensors.index.json"
SCENARIOS = {
    "split": Scenario(_single, ("split", "--num-shards", "3"), "model", "target"),
    "merge bin": Scenario(_bin_shards, ("merge",), "model", "target"),
    "in place, one to three": Scenario(
        _single, ("split", "--num-shards", "3", "--replace"), "model", "model"
    ),
    "in place, three to one": Scenario(_shards, ("merge", "--replace"), "model", "model"),
    "in place, three to two": Scenario(
        _shards, ("split", "--num-shards", "2", "--replace"), "model", "model"
    ),
    "in place, two to three": Scenario(
        partial(_shards, count=2), ("split", "--num-shards", "3", "--replace"), "model", "model"
    ),
    "in place, same names": Scenario(
        _shards, ("split", "--num-shards", "3", "--order", "natural", "--replace"), "model", "model"
    ),
    "replace another set": Scenario(
        _shards_in_target,
        ("split", "--num-shards", "3", "--replace", "--checksums"),
        "model",
        "target",
    ),
    "sub-directories": Scenario(
        _sub_directories,
        ("split", "--num-shards", "2", "--replace", "--replace-companions"),
        "model",
        "target",
    ),
}


def kill_everywhere(
    scenario: Scenario,
    pristine: Path,
    memory_path: Path,
    earlier: Callable[[Path], object] = lambda _: None,
) -> int:
    """Kill a run before each of its changes; returns their number.

    `pristine` is what is there before anything is run. `earlier` has an earlier run below a
    directory killed, if there is to be one: it is run again before each, since a run goes on only
    with the very files of its journal.
    """
    before = {directory.name: digests(directory) for directory in pristine.iterdir()}
    old = before.get(scenario.target, {})
    work = memory_path / "work"
    _restore(pristine, work)
    run_here(*scenario.arguments(work)).expect(0)
    after = digests(work / scenario.target)
    assert after != old
    if scenario.in_place:
        assert read_tensors(work / scenario.target) == read_tensors(pristine / scenario.target)

    def begin() -> None:
        _restore(pristine, work)
        earlier(work)

    begin()
    points = points_of(scenario.arguments(work), work / scenario.target, memory_path / "log")
    assert digests(work / scenario.target) == after
    for point in points:
        begin()
        ended = run_killed(point, *scenario.arguments(work))
        assert ended == -signal.SIGKILL, f"{point} was not reached"
        _check(scenario, work, before, after, str(point))
    assert {directory.name: digests(directory) for directory in pristine.iterdir()} == before
    return len(points)


def _restore(pristine: Path, work: Path) -> None:
    """Make `work` again, as if nothing had been run there."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(pristine, work)
    forget_records()


def _check(
    scenario: Scenario,
    work: Path,
    before: Mapping[str, Mapping[str, str]],
    after: Mapping[str, str],
    where: str,
) -> None:
    target = work / scenario.target
    old = before.get(scenario.target, {})
    found = digests(target)
    for name, digest in found.items():
        assert digest in (old.get(name), after.get(name)), (
            f"{where}: '{name}' is neither old nor new"
        )
    _check_index(found, target, old, after, where)
    _check_kept(found, target, old, after, where)
    if not scenario.in_place:
        assert digests(work / scenario.source) == before[scenario.source], (
            f"{where}: the source changed"
        )
    if target.exists():
        _check_what_is_said(target, where)
    _again(scenario, work).expect(0)
    assert digests(target) == after, f"{where}: the second run ended otherwise"
    assert not (target / STAGING).exists(), where
    _again(scenario, work).expect(0)
    if not scenario.in_place:
        assert digests(work / scenario.source) == before[scenario.source], (
            f"{where}: the source changed"
        )


def _check_what_is_said(target: Path, where: str) -> None:
    """Where files were being renamed, commands that read say so, and advise one thing only."""
    if "commit.json" not in left_behind(target):
        assert run_here("verify", target, "--deep").code in (0, 1, 3), where
        return
    (found,) = json.loads(run_here("verify", target, "--json").expect(1).stdout)["findings"]
    assert found["code"] == "folder-leftover", where
    shown = run_here("inspect", target).expect(3).stderr
    for said in (shown, f"{found['message']}\n{found['hint']}"):
        assert "is half replaced" in said, where
        assert "run the interrupted command again" in said, where
        assert "remove" not in said, where


def _again(scenario: Scenario, work: Path) -> Ended:
    return run_here(*scenario.arguments(work))


def _check_index(
    found: Mapping[str, str],
    target: Path,
    old: Mapping[str, str],
    after: Mapping[str, str],
    where: str,
) -> None:
    """An index names the shards of one complete set, be it the old or the new."""
    indexes = [name for name in found if name.endswith(".index.json")]
    for name in indexes:
        shards = set(json.loads((target / name).read_text())["weight_map"].values())
        whole = [
            state
            for state in (old, after)
            if all(state.get(one) == found.get(one) for one in (name, *shards))
        ]
        assert whole, f"{where}: '{name}' names shards of another set"


def _check_kept(
    found: Mapping[str, str],
    target: Path,
    old: Mapping[str, str],
    after: Mapping[str, str],
    where: str,
) -> None:
    """Old and new files never have their names at once, and until every new one has, all old ones
    exist.
    """
    changed = {name for name in found if old.get(name) != after.get(name)}
    states = {found[name] == after.get(name) for name in changed}
    assert len(states) <= 1, f"{where}: old and new files have their names at once"
    if not after.items() <= found.items():
        kept = all_digests(target)
        lost = [name for name, digest in old.items() if digest not in kept]
        assert not lost, f"{where}: lost {lost}"
