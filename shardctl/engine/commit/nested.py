"""An open directory whose files may lie in sub-directories of it: names have parts, like `sub/a`.

Each sub-directory is opened in the one above it, never through a link, and those on the way to the
last name stay open: there may be thousands, and a process may open a thousand files. So what holds
for the files of a directory holds for those below it too.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Self

from shardctl.errors import ShardctlError, StorageError
from shardctl.naming import is_try_name
from shardctl.stores.base import Directory, Identity

#: The names that lead from the directory to one below it; none for the directory itself.
_Parts = tuple[str, ...]


class Nested:
    """A directory and those below it, opened as they are needed. Closing it closes them all."""

    def __init__(self, root: Directory) -> None:
        self._root = root
        #: The directories that are open below it, each in the one before it, with their names.
        self._chain: list[tuple[str, Directory]] = []
        #: Those that were looked into, and those that were made here.
        self._seen: set[_Parts] = set()
        self._made: list[_Parts] = []

    @property
    def path(self) -> str:
        """The path of the directory at the top."""
        return self._root.path

    def identity(self, name: str) -> Identity | None:
        """What a name belongs to, a link not followed; None where it is free.

        Raises TargetExistsError where a part of it before the last is not a directory.
        """
        directory, leaf = self._home(name)
        return None if directory is None else directory.identity(leaf)

    def names_beside(self, name: str) -> list[str]:
        """Return the names, in full, in the directory of this one, sorted; none where it is not."""
        directory, _ = self._home(name)
        above = name.rpartition("/")[0]
        found = () if directory is None else directory.names()
        return [f"{above}/{other}" if above else other for other in found]

    def make(self, parts: Iterable[str], like: Nested | None = None) -> Directory:
        """Open the directory of these parts, made where it is missing, with a durable name.

        It gets the permissions of the one of the same parts in `like`, else it is for this user
        alone.
        """
        wanted = tuple(parts)
        for length in range(1, len(wanted) + 1):
            some = wanted[:length]
            if self._directory(some) is None:
                model = None if like is None else like._directory(some)  # noqa: SLF001 - same class
                above = self._innermost
                self._chain.append((some[-1], above.make_subdirectory(some[-1], model)))
                above.sync()
                self._made.append(some)
        self._seen.add(wanted)
        self._leave(wanted)
        return self._innermost

    def move(self, name: str, to: Nested) -> None:
        """Move a file to the same name in another directory, made where it is missing.

        Raises TargetExistsError where the name is taken, and nothing has moved.
        """
        new_home = to.make(name.split("/")[:-1], like=self)
        directory, leaf = self._home(name)
        if directory is None:
            raise StorageError(
                f"'{self.path}/{name}' is gone",
                hint="another program removed its directory; run the command again",
                file=f"{self.path}/{name}",
            )
        directory.move(leaf, new_home, leaf)

    def remove(self, name: str) -> None:
        """Remove a file or a link; one that is gone already is fine."""
        directory, leaf = self._home(name)
        if directory is not None:
            directory.remove(leaf)

    def remove_tries(self, names: Iterable[str]) -> None:
        """Remove, beside files of these names, what workers wrote there and was not accepted."""
        own = set(names)
        for name in {name.rpartition("/")[0]: name for name in own}.values():
            for other in self.names_beside(name):
                if other not in own and is_try_name(other.rpartition("/")[2]):
                    self.remove(other)

    def remove_empty(self, names: Iterable[str]) -> None:
        """Remove the directories that files of these names were in, as far as they are empty."""
        homes = {tuple(name.split("/")[:-1]) for name in names}
        every = {home[:length] for home in homes for length in range(1, len(home) + 1)}
        self._remove_directories(every)

    def remove_made(self) -> None:
        """Remove the directories that were made here, as far as they are empty."""
        self._remove_directories(self._made)

    def sync(self) -> None:
        """Make the names durable in all directories that were looked into, innermost ones first.

        An earlier process may have changed them, and been killed before this.
        """
        for parts in sorted(self._seen - {()}, key=len, reverse=True):
            directory = self._directory(parts)
            if directory is not None:
                directory.sync()
        self._root.sync()

    def close(self) -> None:
        """Close every directory; once is enough."""
        self._leave(())
        self._root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _home(self, name: str) -> tuple[Directory | None, str]:
        """The directory that a name is in, None where there is none, and the last part of it."""
        *above, leaf = name.split("/")
        self._seen.add(tuple(above))
        return self._directory(tuple(above)), leaf

    def _directory(self, parts: _Parts) -> Directory | None:
        """Open the directory of these parts; None where there is none."""
        self._leave(parts)
        for part in parts[len(self._chain) :]:
            found = self._innermost.subdirectory(part)
            if found is None:
                return None
            self._chain.append((part, found))
        return self._innermost

    def _leave(self, parts: _Parts) -> None:
        """Close the directories that are not on the way to these parts."""
        names = [name for name, _ in self._chain]
        while names != list(parts[: len(names)]):
            names.pop()
            self._chain.pop()[1].close()

    @property
    def _innermost(self) -> Directory:
        return self._chain[-1][1] if self._chain else self._root

    def _remove_directories(self, every: Iterable[_Parts]) -> None:
        for parts in sorted(every, key=len, reverse=True):
            # What is left in one is nothing that a run wrote, and stays.
            with suppress(ShardctlError):
                above = self._directory(parts[:-1])
                if above is not None:
                    above.remove_subdirectory(parts[-1])
