"""Which changes are tried: a seeded sample of those that a test could notice."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.mutants.operators import Mutation, mutations

#: The changes that no test can notice, each with the reason.
HARMLESS = "tools/mutants/harmless.toml"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one file; `path` is below the root of the repository, with slashes."""

    path: str
    mutation: Mutation

    def __str__(self) -> str:
        change = self.mutation
        after = short(change.after) or "(left out)"
        return f"{self.path}:{change.line}: {short(change.before)} -> {after}"


@dataclass(frozen=True, slots=True)
class Harmless:
    """A change that no test can notice, found by the text of its line, not by the number."""

    file: str
    line: str
    before: str
    after: str
    reason: str

    def covers(self, mutant: Mutant) -> bool:
        """Return whether a mutant is this change."""
        change = mutant.mutation
        return (self.file, self.line, self.before, self.after) == (
            mutant.path,
            change.source,
            short(change.before),
            short(change.after),
        )


def short(text: str) -> str:
    """Return a text on one line, without its middle where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= 90 else f"{line[:60]} ... {line[-25:]}"


def harmless(root: Path) -> list[Harmless]:
    """Return the list of harmless changes. Raises TypeError if an entry is malformed."""
    document = tomllib.loads((root / HARMLESS).read_text(encoding="utf-8"))
    return [Harmless(**entry) for entry in document["harmless"]]


def mutants(root: Path, paths: Iterable[str]) -> list[Mutant]:
    """Return every change of some modules, in the order of the paths."""
    return [
        Mutant(path, mutation)
        for path in paths
        for mutation in mutations((root / path).read_text(encoding="utf-8"))
    ]


def sample(
    candidates: Iterable[Mutant], without: Collection[Harmless], size: int, seed: int
) -> list[Mutant]:
    """Return `size` mutants that are not harmless, or all; the same ones for the same seed."""
    left = [one for one in candidates if not any(entry.covers(one) for entry in without)]
    return random.Random(seed).sample(left, min(size, len(left)))  # noqa: S311 - not a secret
