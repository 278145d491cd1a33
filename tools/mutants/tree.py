"""The files of the working tree, as git knows them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

#: The package whose modules are changed.
PACKAGE = "shardctl"


def working_files(root: Path) -> list[str]:
    """Return every file that is in the tree and not ignored, new ones included."""
    names = _git(root, "ls-files", "--cached", "--others", "--exclude-standard")
    return [name for name in names if (root / name).is_file()]


def changed_modules(root: Path, base: str) -> list[str]:
    """Return the modules that differ from where this branch left `base`, new ones included.

    Raises CalledProcessError where git does not know `base`.
    """
    fork = _git(root, "merge-base", base, "HEAD")[0]
    names = _git(root, "diff", "--name-only", "--diff-filter=d", fork)
    names += _git(root, "ls-files", "--others", "--exclude-standard")
    return sorted(filter(_is_module, names))


def modules(root: Path, paths: Iterable[str]) -> list[str]:
    """Return the modules that are named, and those in directories that are named.

    Raises ValueError for a path that is neither.
    """
    found: set[str] = set()
    for path in paths:
        place = (root / path).resolve()
        inside = place.rglob("*.py") if place.is_dir() else [place]
        names = {each.relative_to(root).as_posix() for each in inside if each.is_file()}
        if not names or not all(map(_is_module, names)):
            raise ValueError(f"'{path}' is not a module or a directory of {PACKAGE}/")
        found |= names
    return sorted(found)


def _is_module(name: str) -> bool:
    return name.startswith(f"{PACKAGE}/") and name.endswith(".py")


def _git(root: Path, *arguments: str) -> list[str]:
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - git
    return done.stdout.splitlines()
