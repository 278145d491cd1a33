"""The hidden directory of a run beside its target, opened: it stays the one that was opened.

    TARGET/.shardctl/          the journal, the lock
    TARGET/.shardctl/files/    the files being written, under the names that they will have
    TARGET/.shardctl/old/      the files that they replace, until the new ones have their names
    TARGET/.shardctl/parts/    what each process of a shared run is writing (`workspaces`)

There is one for a directory, whatever a run writes there, so that two runs see each other. Only the
user who runs this may look into it, and it is emptied by known names, never by what is found in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Self

from shardctl.engine.commit.exchange import Places
from shardctl.engine.commit.nested import Nested
from shardctl.errors import StorageError, TargetExistsError
from shardctl.naming import STAGING
from shardctl.stores.base import Directory, Identity, Store
from shardctl.stores.optional import open_directory

FILES, OLD, PARTS = "files", "old", "parts"


@dataclass(slots=True)
class Staging:
    """The open directories of a run. `made`: the hidden one did not exist before."""

    store: Store
    target: Directory
    own: Directory
    made: bool
    _opened: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def find(cls, store: Store, directory: str) -> Self | None:
        """Open the staging directory of a target directory; None where there is none.

        Raises TargetExistsError where it is a link, or belongs to another user.
        """
        if store.kind(directory) != "directory":
            return None
        with ExitStack() as opened:
            target = opened.enter_context(open_directory(store, directory))
            own = target.subdirectory(STAGING)
            if own is None:
                return None
            opened.enter_context(own)
            _refuse_others(own)
            return cls(store, target, own, False, opened.pop_all())

    @classmethod
    def make(cls, store: Store, directory: str) -> Self:
        """Open the staging directory of a target directory, made where it is missing.

        Raises as `find` does, and StorageError.
        """
        with ExitStack() as opened:
            target = opened.enter_context(open_directory(store, directory))
            made = target.identity(STAGING) is None
            own = opened.enter_context(target.make_subdirectory(STAGING))
            _refuse_others(own)
            if made:
                target.sync()
            return cls(store, target, own, made, opened.pop_all())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def path(self, *names: str) -> str:
        """Return a path below the staging directory."""
        return self.store.join(self.own.path, *names)

    def make_files(self) -> Nested:
        """Open the directory of the staged files, made where it is missing."""
        return self._opened.enter_context(Nested(self.own.make_subdirectory(FILES)))

    def files(self) -> Nested | None:
        """Open the directory of the staged files, for the caller to close; None without one."""
        found = self.own.subdirectory(FILES)
        return None if found is None else Nested(found)

    def staged(self, name: str) -> str:
        """Return the path where the file that will get this name is written."""
        return self.path(FILES, *name.split("/"))

    def identity(self, name: str) -> Identity | None:
        """What a staged file is; None where there is no such file."""
        files = self.files()
        if files is None:
            return None
        with files:
            return files.identity(name)

    def places(self) -> Places:
        """Open what an exchange needs."""
        return Places(
            target=self._opened.enter_context(Nested(self.target)),
            files=self.make_files(),
            aside=self._opened.enter_context(Nested(self.own.make_subdirectory(OLD))),
            inodes=self.target.keeps_inodes(),
        )

    def remove_staged(self, names: Iterable[str], kept: Collection[str] = ()) -> None:
        """Remove staged files by name, and their directories with the last one.

        What workers wrote for these files or the `kept` ones, and was not accepted, goes with them.
        """
        files = self.files()
        if files is None:
            return
        with files:
            gone = tuple(names)
            for name in gone:
                files.remove(name)
            files.remove_tries((*gone, *kept))
            files.remove_empty(gone)
        self.remove_empty(FILES)

    def remove_empty(self, name: str) -> None:
        """Remove a directory in the staging directory, unless something is in it."""
        # What is left in it is nothing that a run wrote, and stays.
        with suppress(StorageError):
            self.own.remove_subdirectory(name)

    def remove_empty_directories(self) -> None:
        """Remove the directories in it that are empty. Only the holder of the lock may do so."""
        for name in (FILES, OLD, PARTS):
            self.remove_empty(name)

    def remove(self) -> None:
        """Remove the staging directory, unless something is in it."""
        # Another run may have begun there as soon as the lock was released.
        with suppress(StorageError):
            self.target.remove_subdirectory(STAGING)


def _refuse_others(own: Directory) -> None:
    """Raise TargetExistsError where the staging directory belongs to another user."""
    if not own.is_ours():
        raise TargetExistsError(
            f"'{own.path}' belongs to another user, whose run may be unfinished",
            hint="run the command as that user, or choose another target",
            code="half-done",
            file=own.path,
        )
