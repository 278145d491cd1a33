"""`python -m tools.mutants`: try a seeded sample of small changes, and print which none notices."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.mutants.selection import Mutant, harmless, mutants, sample
from tools.mutants.tree import changed_modules, modules
from tools.mutants.trial import BaselineError, Bench, Outcome

ROOT = Path(__file__).parents[2]

#: How many of a hundred mutants must be noticed.
REQUIRED = 90


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Return 0 if enough changes were noticed, 1 if not, 2 where nothing can be said."""
    options = _parser().parse_args(arguments)
    try:
        paths = (
            modules(root, options.files) if options.files else changed_modules(root, options.base)
        )
    except (ValueError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    chosen = sample(mutants(root, paths), harmless(root), options.sample, options.seed)
    if not chosen:
        print("nothing to try: no module differs")
        return 0
    if options.list:
        print(*chosen, sep="\n")
        return 0
    with Bench(root, options.limit) as bench:
        try:
            bench.prove({mutant.path for mutant in chosen})
        except BaselineError as error:
            print(error, "error: the tests fail without any change", sep="\n", file=sys.stderr)
            return 2
        outcomes = _attempts(bench, chosen, options.jobs)
    return report(outcomes)


def _attempts(bench: Bench, chosen: Sequence[Mutant], jobs: int) -> list[Outcome]:
    """Try each mutant, and print those that survive as soon as they have."""
    outcomes = []
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for outcome in pool.map(bench.attempt, chosen):
                outcomes.append(outcome)
                if not outcome.noticed:
                    print(f"survived: {outcome.mutant}", flush=True)
                if sys.stderr.isatty():
                    print(f"{len(outcomes)} of {len(chosen)} tried", end="\r", file=sys.stderr)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            bench.stop()
            raise
    return outcomes


def report(outcomes: Sequence[Outcome]) -> int:
    """Print how many mutants were noticed, and return the exit code."""
    noticed = sum(outcome.noticed for outcome in outcomes)
    by_time = sum(outcome.by_time for outcome in outcomes)
    print(
        f"{noticed} of {len(outcomes)} changes noticed ({100 * noticed // len(outcomes)} %; "
        f"{by_time} by the time limit), at least {REQUIRED} % required"
    )
    return 0 if 100 * noticed >= REQUIRED * len(outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument(
        "files", nargs="*", help="modules or directories [what differs from BASE]", metavar="FILE"
    )
    parser.add_argument("--base", default="main", help="branch to compare with [main]")
    parser.add_argument("--sample", type=int, default=60, help="number of changes to try [60]")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sample [1]")
    parser.add_argument("--jobs", type=int, default=2, help="changes tried at a time [2]")
    parser.add_argument(
        "--limit", type=float, default=600, help="seconds for the tests of a change [600]"
    )
    parser.add_argument("--list", action="store_true", help="print the sample, and try nothing")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
