"""Exchange the files of a directory for staged ones, by identity and with a way back.

First every old file is moved aside, the index before all others; then the new files get their
names, the one that makes the set visible last; at the end the old files are removed. So there is
never a mixture under final names, and until the end nothing is lost. Each step looks at the file
before it acts: what is not the file that was seen stays where it is. Names may have parts
(`sub/a`): directories are made for new files as these get their names, and removed only where this
exchange made them and has to be undone.

Every step can be repeated: what is done already is recognised and passed over. A file that a step
moved has another ctime than the one that was recorded; the rest of its identity is the same.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from shardctl.engine.commit.nested import Nested
from shardctl.errors import ShardctlError, StorageError, TargetExistsError
from shardctl.stores.base import Identity

#: Twice as long as such a name is remembered, in steps.
_FORGETTING_TRIES, _FORGETTING_SECONDS = 20, 0.1


@dataclass(frozen=True, slots=True)
class Named:
    """A file's name in or below the target directory, and what it was when it was seen."""

    name: str
    seen: Identity


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is replaced, and by what. `old` is in the order of removal, indexes first.

    `new` are the staged files; the last makes the set visible. There may be none of them.
    """

    old: tuple[Named, ...]
    new: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """The open directories of an exchange: the target, the staged files, the files moved aside."""

    target: Nested
    files: Nested
    aside: Nested
    inodes: bool


def plan(target: Nested, files: Nested, new: Sequence[str], removed: Collection[str]) -> Exchange:
    """Look at the staged files, and at those that are replaced or removed.

    On a filesystem that ignores case or normalises Unicode a new name can be that of an old file
    in another spelling: that file is moved aside once, under its own name. Raises TargetExistsError
    where a new name is taken by a file that is not to be removed, and where a directory has the
    name of a file that is.
    """
    listed = _Listed(target)
    spellings = (_spelling(target, name, listed.beside(name)) for name in removed)
    old = dict.fromkeys(name for name in spellings if name is not None)
    for name in new:
        spelled = _spelling(target, name, listed.beside(name))
        if spelled is not None and spelled not in old:
            raise _conflict(target, name)
    seen = tuple(_seen(target, name) for name in _in_order(old))
    for file in seen:
        if file.seen.kind == "directory":  # it appeared since the target was looked at
            raise _conflict(target, file.name)
    return Exchange(
        old=seen,
        new=tuple(_seen(files, name) for name in new),
    )


class _Listed:
    """The names in the target directory and those below it, each directory listed once."""

    def __init__(self, target: Nested) -> None:
        self._target = target
        self._names: dict[str, frozenset[str]] = {}

    def beside(self, name: str) -> frozenset[str]:
        """The names, in full, in the directory of this one."""
        above = name.rpartition("/")[0]
        if above not in self._names:
            self._names[above] = frozenset(self._target.names_beside(name))
        return self._names[above]


def _spelling(target: Nested, name: str, present: Collection[str]) -> str | None:
    """The name in the directory's listing of the file that `name` leads to; None for a free one."""
    if name in present:
        return name
    if target.identity(name) is None:
        return None
    # It is not listed and yet there: the filesystem takes another spelling for the same name.
    folded = folded_name(name)
    other = next((other for other in present if folded_name(other) == folded), None)
    if other is None:
        raise _conflict(target, name)
    return other


def folded_name(name: str) -> str:
    """A name as filesystems compare it that ignore case and normalise Unicode."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _in_order(names: Iterable[str]) -> list[str]:
    """Indexes first: a loader that finds one must not find shards of another set with it."""
    return sorted(names, key=lambda name: not name.endswith(".json"))


def _seen(directory: Nested, name: str) -> Named:
    found = directory.identity(name)
    if found is None:
        raise StorageError(
            f"'{directory.path}/{name}' is gone",
            hint="another program removed it; run the command again",
            file=f"{directory.path}/{name}",
        )
    return Named(name, found)


def carry_out(exchange: Exchange, at: Places, *, undone: bool = False) -> None:
    """Move the old files aside and give the new ones their names, or the rest of them.

    `undone`: it was begun and undone before, perhaps in part, so that every file may have been
    moved there and back, which changes its ctime. Raises TargetExistsError (`target-changed`) where
    a file is not the one that was seen, and StorageError.
    """
    # New files get their names only once all old ones are aside: with one there, this step is done.
    if not any(_has_name(file, at) for file in exchange.new):
        for file in exchange.old:
            _move_aside(file, at, undone=undone)
        if exchange.old:
            at.aside.sync()
            at.target.sync()
    for files in filter(None, (exchange.new[:-1], exchange.new[-1:])):
        for file in files:
            _give_name(file, at, undone=undone)
        at.target.sync()


def remove_old(exchange: Exchange, at: Places) -> None:
    """Remove the files that were moved aside; what is not one of them stays."""
    for file in exchange.old:
        if _is_in(at.aside, file, at):
            at.aside.remove(file.name)
    at.aside.remove_empty(file.name for file in exchange.old)


def undo(exchange: Exchange, at: Places) -> bool:
    """Take the new names back and put the old files where they were; whether all of it succeeded.

    A name that another program has taken in the meantime stays taken, and its old file aside.
    """
    try:
        for file in reversed(exchange.new):
            if _has_name(file, at):
                at.target.move(file.name, at.files)
        for file in reversed(exchange.old):
            if _is_in(at.aside, file, at):
                at.aside.move(file.name, at.target)
        at.target.remove_made()
        at.target.sync()
    except ShardctlError:
        return False
    return True


def _move_aside(file: Named, at: Places, *, undone: bool) -> None:
    aside, there = at.aside.identity(file.name), at.target.identity(file.name)
    if aside is not None and aside.is_moved(file.seen, inodes=at.inodes):
        # Where a rename was made of a link and a removal, it may have been cut short between them.
        if there is not None and there.is_same_file(aside):
            at.target.remove(file.name)
    elif there is not None and _is_as_seen(there, file, at, undone=undone):
        at.target.move(file.name, at.aside)
        if not _is_in(at.aside, file, at):
            # Another program took the name between the look and the rename.
            at.aside.move(file.name, at.target)
            raise _conflict(at.target, file.name)
    elif there is not None or aside is not None:
        raise _conflict(at.target, file.name)


def _is_in(directory: Nested, file: Named, at: Places) -> bool:
    """Whether a directory has the file that was seen, perhaps renamed since."""
    there = directory.identity(file.name)
    return there is not None and there.is_moved(file.seen, inodes=at.inodes)


def _has_name(file: Named, at: Places) -> bool:
    """Whether a staged file has its name in the target.

    Then it is not staged any more, or by a second link only. Without inode numbers an old file
    that was written in the same moment, with the same size, looks like the new one.
    """
    staged, there = at.files.identity(file.name), at.target.identity(file.name)
    return (
        there is not None
        and there.is_moved(file.seen, inodes=at.inodes)
        and (staged is None or staged.is_same_file(there))
    )


def _is_as_seen(found: Identity, file: Named, at: Places, *, undone: bool) -> bool:
    if undone:
        return found.is_moved(file.seen, inodes=at.inodes)
    return found.is_unchanged(file.seen, inodes=at.inodes)


def _give_name(file: Named, at: Places, *, undone: bool) -> None:
    staged, there = at.files.identity(file.name), _forgotten(file.name, at)
    if _has_name(file, at):
        if staged is not None:
            at.files.remove(file.name)
    elif staged is None or not _is_as_seen(staged, file, at, undone=undone):
        raise StorageError(
            f"the new '{file.name}' is not in '{at.files.path}', or has been changed there",
            hint="keep that directory as it is, and look at what was changed in it",
            code="half-done",
            file=f"{at.target.path}/{file.name}",
        )
    elif there is not None:
        raise _conflict(at.target, file.name)
    else:
        at.files.move(file.name, at.target)


def _forgotten(name: str, at: Places) -> Identity | None:
    """What a name belongs to, once the filesystem has forgotten that an old file had it.

    One in user space may remember another spelling of a renamed file's name for a second
    (`entry_timeout` of mount.fuse(8)). Its listing is right at once.
    """
    there = at.target.identity(name)
    for _ in range(_FORGETTING_TRIES):
        if there is None or at.inodes:
            break
        folded = folded_name(name)
        if any(folded_name(other) == folded for other in at.target.names_beside(name)):
            break
        time.sleep(_FORGETTING_SECONDS)
        there = at.target.identity(name)
    return there


def _conflict(target: Nested, name: str) -> TargetExistsError:
    path = f"{target.path}/{name}" if target.path else name
    return TargetExistsError(
        f"'{path}' appeared or changed while files were being renamed into place",
        hint="move it to another directory, and run the same command again",
        code="target-changed",
        file=path,
    )
