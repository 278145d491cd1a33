"""Measure shardctl beside `cp`, `sha256sum` and peers; write docs/performance.md.

    python benchmarks/run.py [--size 4.4GB] [--runs 5] [--peer-runs 3] [--dir DIRECTORY]
                             [--only GLOB] [--no-xfs]
    python benchmarks/run.py --report      write the page from earlier results
    python benchmarks/run.py --compare     a short run; exit code 1 if much slower than before
    python benchmarks/run.py --list        list the works

What is measured is kept in benchmarks/results.json, work by work: a run of some works leaves the
figures of the others, and a run that is stopped keeps what it has finished.
"""

from __future__ import annotations

import argparse
import importlib.util
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import NoReturn

from benchmarks import disks, report, results
from benchmarks.contenders import PEERS, missing, quiet, versions
from benchmarks.measure import Scene, measure, run, warm
from benchmarks.remarks import TITLES
from benchmarks.scenarios import STAGES, WORKS
from benchmarks.stages import Request, Stage
from shardctl.errors import UsageError
from shardctl.sizes import parse_size

ROOT = Path(__file__).parent.parent
#: How many times slower is more than runs without any spread can explain.
MARGIN = 1.15
#: How many times as large another size may be to be the same.
NEAR_SIZE = 1.05
#: What --compare measures, in some minutes: works that were kept are measured at the size that
#: they have there.
COMPARED, COMPARED_SIZE, COMPARED_RUNS = ["disk/*", "start/*"], "500MB", 5
#: Larger files are not read beforehand: sparse ones would only take time.
MOST_WARMED_BYTES = 64 * 10**9


class Bench:
    """A run of some works: it keeps each scene's figures at once, and lists what failed."""

    def __init__(self, options: argparse.Namespace, kept: results.Results) -> None:
        self.works = [
            work for work in WORKS if any(fnmatchcase(work, glob) for glob in options.only)
        ]
        self.size: int = parse_size(options.size)
        self.runs: int = options.runs
        self.peer_runs: int = options.peer_runs
        self.xfs: bool = options.xfs
        self.parent: str | None = options.dir
        self.keep_in: str | None = None if options.compare else options.results
        self.kept = kept
        self.failures: list[str] = []

    def run(self) -> None:
        """Measure stage by stage; one that cannot be measured here is skipped with the reason."""
        for stage in STAGES:
            if chosen := [work for work in self.works if work in stage.works]:
                try:
                    self._stage(stage, chosen)
                except disks.NoRoomError as error:
                    self.failures.append(f"{stage.name} was not measured: {error}")
                    say(self.failures[-1])

    def _stage(self, stage: Stage, chosen: Sequence[str]) -> None:
        if stage.name == "xfs" and not self.xfs:
            say("xfs was not measured: --no-xfs")
            return
        absent = [package for package in stage.needs if importlib.util.find_spec(package) is None]
        if absent:
            say(f"{stage.name} was not measured: not installed: {', '.join(absent)}")
            return
        needed = round(stage.copies * self.size) + stage.extra
        with disks.work_directory(self.parent) as directory:
            disks.need(directory, needed)
            if stage.name == "xfs":
                with disks.xfs(directory, needed) as mounted:
                    self._scenes(stage, chosen, mounted)
            else:
                self._scenes(stage, chosen, directory)

    def _scenes(self, stage: Stage, chosen: Sequence[str], directory: str) -> None:
        for scene in stage.scenes(Request(directory, self.size, chosen, self._peers())):
            warm(scene.source, MOST_WARMED_BYTES if stage.copies else 0)
            rounds = stage.rounds_of(self.runs)
            try:
                measured = measure(scene, rounds, self.peer_runs, directory, partial(check, scene))
            except subprocess.CalledProcessError as error:
                reason = (error.stderr or b"").decode(errors="replace").strip()
                self.failures.append(f"{error.cmd} ended with {error.returncode}: {reason}")
                say(self.failures[-1])
                continue
            results.add(self.kept, scene, measured, directory)
            if self.keep_in is not None:
                self.kept.save(self.keep_in)

    def _peers(self) -> list[str]:
        if not self.peer_runs:
            return []
        lacking = {name: missing(name) for name in PEERS}
        for name, package in lacking.items():
            if package is not None:
                say(f"{name} was not measured: {package} is not installed")
        return [name for name, package in lacking.items() if package is None]


def check(scene: Scene, target: str) -> None:
    """Check names, dtypes and shapes of a result; raise CalledProcessError where they differ."""
    if scene.proof is not None:
        run(quiet("verify", target, "--against", scene.source, *scene.proof))


def say(text: str) -> None:
    """Print to stderr; stdout is for the tables."""
    print(text, file=sys.stderr)


def compare(old: results.Results, new: results.Results) -> tuple[str, bool]:
    """Return a table of the works that both have at one size, and whether one is beyond its margin.

    The least times are compared, as parts of those of the bare loop, or of the yardstick where no
    loop was timed: what disturbs a run makes it longer, and never shorter. How far the middle runs
    are from the least ones says how far the least ones may be from what is possible.
    """
    lines = [
        "| work | kept | now | now / kept | at most |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    slower = False
    for work in WORKS:
        limit = _limit(old.works.get(work), new.works.get(work))
        if limit is not None:
            before, now = (each.works[work].to_limit(limit) for each in (old, new))
            change, most = now.value / before.value, MARGIN * before.spread * now.spread
            slower = slower or change > most
            lines.append(
                f"| {work} | {before.value:.2f} | {now.value:.2f} | "
                f"{change:.2f}{' (!)' if change > most else ''} | {most:.2f} |"
            )
    if len(lines) == 2:
        raise SystemExit("nothing to compare: none of these works was measured before at this size")
    return "\n".join(lines), slower


def _limit(before: results.Measured | None, now: results.Measured | None) -> str | None:
    """Return the contender that a work is measured by both times; None for one not to compare."""
    if before is None or now is None:
        return None
    # The sizes of models come in steps.
    if not 1 / NEAR_SIZE < now.nbytes / before.nbytes < NEAR_SIZE:
        return None
    names = ("bare loop", before.yardstick, "shardctl")
    timed = set(before.samples) & set(now.samples)
    limit = next((name for name in names if name in timed), None)
    return limit if "shardctl" in timed and limit != "shardctl" else None


def compared_size(kept: results.Results) -> str:
    """Return the size to compare at: that of what was kept."""
    sizes = [work.nbytes for name, work in kept.works.items() if name.startswith("disk/")]
    return str(max(sizes, default=0)) if sizes else COMPARED_SIZE


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--size", help="bytes of tensors (default 4.4GB)")
    parser.add_argument("--runs", type=int, help="rounds (default 5)")
    parser.add_argument(
        "--peer-runs", type=int, help="rounds in which the peers take part (default 3; 0: none)"
    )
    parser.add_argument("--dir", help="where to work (default: the temporary directory)")
    parser.add_argument(
        "--only", action="append", metavar="GLOB", help="only works that match; may be given again"
    )
    parser.add_argument(
        "--xfs",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="an XFS image too; needs root",
    )
    parser.add_argument(
        "--results",
        default=str(ROOT / "benchmarks" / "results.json"),
        help="where figures are kept",
    )
    parser.add_argument("--docs", default=str(ROOT / "docs"), help="where the page is written")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--report", action="store_true", help="only write the page, from what is kept"
    )
    what.add_argument(
        "--compare", action="store_true", help="compare a short run with what is kept"
    )
    what.add_argument("--list", action="store_true", help="list the works")
    options = parser.parse_args(arguments)
    short = options.compare
    options.only = options.only or (COMPARED if short else ["*"])
    options.size = options.size or (None if short else "4.4GB")
    options.runs = options.runs or (COMPARED_RUNS if short else 5)
    options.peer_runs = options.peer_runs if options.peer_runs is not None else 0 if short else 3
    return options


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP stop as Ctrl-C does: unmount images and remove directories."""

    def stop(number: int, _: object) -> NoReturn:
        # What is undone now is not to be stopped again.
        for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the options ask for; returns the exit code."""
    options = parse(arguments)
    if options.list:
        print("\n".join(WORKS))
        return 0
    try:
        kept = (
            results.load(options.results)
            if options.report or options.compare
            else results.here(options.results)
        )
        fresh = results.Results(results.machine(), versions()) if options.compare else kept
        options.size = options.size or compared_size(kept)
        if not options.report:
            bench = Bench(options, fresh)
            with stoppable():
                bench.run()
    except (OSError, ValueError, UsageError) as error:
        say(str(error))
        return 2
    if options.compare:
        text, slower = compare(kept, fresh)
        print(text)
        return int(slower or bool(bench.failures))
    measured = [] if options.report else bench.works
    for stage in TITLES:
        if works := {
            name: work for name, work in report.of_stage(kept, stage).items() if name in measured
        }:
            print(f"{stage}\n\n{report.table(works)}\n")
    say("\n".join(report.write(kept, options.docs)))
    return 0 if options.report else int(bool(bench.failures))


if __name__ == "__main__":
    sys.exit(main())
