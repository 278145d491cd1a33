"""Files by their paths, seen as directories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shardctl.model import Version
from shardctl.stores.base import Entry


@dataclass(frozen=True, slots=True)
class Tree:
    """All files of a place, with their versions, by path; the parts of a path are between `/`."""

    files: Mapping[str, Version]

    def entries(self, directory: str) -> list[Entry]:
        """Return the names in a directory, which is empty for the top; none where nothing is."""
        below = f"{directory}/" if directory else ""
        found: dict[str, Entry] = {}
        for path, version in self.files.items():
            if path.startswith(below):
                name, slash, _ = path.removeprefix(below).partition("/")
                found[name] = (
                    Entry(name, "directory", None, 0)
                    if slash
                    else Entry(name, "file", None, version.size)
                )
        return list(found.values())
