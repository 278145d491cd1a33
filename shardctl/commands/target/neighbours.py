"""What lies in the source directory beside the weights, by the names alone.

A sub-directory is one thing: it goes along with all its files, or stays. A link is followed only to
a file within the source directory, or to a blob of the hub's cache, where snapshots are made of
links: a directory from elsewhere must not name files of this machine to be copied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from shardctl.checksums import CHECKSUMS
from shardctl.errors import ShardctlError
from shardctl.formats.registry import all_suffixes
from shardctl.naming import (
    STAGING,
    is_foreign_weights,
    is_index,
    is_training_state,
    parse_weights_name,
)
from shardctl.source.distributed.find import is_piece
from shardctl.source.locate import Located
from shardctl.source.recorded.hub_cache import is_blob
from shardctl.stores.base import Entry, Store
from shardctl.stores.optional import followed
from shardctl.stores.paths import directories_above

#: What a neighbour is. "companion": a file that loaders want, or may want. "barred": it is never
#: copied. The others are copied on request.
Sort = Literal["companion", "training", "weights", "foreign", "hidden", "barred"]

#: Weights beside the set are part of the model where they are smaller than the set by this factor:
#: a projector or a head, not another checkpoint.
SMALL = 20

_TRAINING = "training state"
_FOREIGN = "weights of another framework"
_WEIGHTS, _OUTSIDE = "weights of another checkpoint", "weights outside the set"
_INDEX = "an index of other files"
_HIDDEN = "a hidden directory"
_PIECE = "a piece of a distributed checkpoint"
_SUMS = "checksums of the source's files"
_ELSEWHERE = "a link that leads out of the source directory"
_NOWHERE = "a link that leads nowhere"
_TO_DIRECTORY = "a link to a directory"
_SPECIAL = "not a regular file"
_UNREADABLE = "a directory that cannot be read"
_TOO_DEEP = "its directories are nested too deeply"
#: Directories within each other that are followed; all on the way to a file are open at once.
_DEEPEST = 32
#: With this file beside them, directories of such names are the modules that sentence-transformers
#: loads (`2_Dense`), whatever weights they hold.
_MODULES, _MODULE = "modules.json", re.compile(r"[0-9]+_[A-Za-z]\w*")


_BARE: tuple[Sort, str] = ("barred", "an empty directory")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A file or a directory beside the weights; `why` says in a few words why it is of its sort.

    `size` is in bytes, of a directory that of its files, None where it is not known. `files` are
    the paths that are read, by name from the source directory on; `directories` are those that they
    lie in, outer ones first, in the same way.
    """

    name: str
    is_directory: bool
    sort: Sort
    why: str
    size: int | None
    files: Mapping[str, str] = field(default_factory=dict)
    directories: Mapping[str, str] = field(default_factory=dict)


def neighbours(
    store: Store,
    located: Located,
    read: Collection[str],
    apart: Collection[str],
    is_target: Callable[[str], bool],
) -> Iterator[Neighbour]:
    """Yield what lies beside the files of a checkpoint, in the order of the names.

    `read` are the paths of all its files: of a distributed checkpoint only one was located. The
    directories `apart`, which are written separately, and the target are passed over, and so is
    what runs leave there.
    """
    return _Neighbourhood(store, located, read, apart, is_target).all()


@dataclass(frozen=True)  # without slots: what is looked up on first use needs a place
class _Neighbourhood:
    store: Store
    located: Located
    read: Collection[str]
    apart: Collection[str]
    is_target: Callable[[str], bool]

    def all(self) -> Iterator[Neighbour]:
        """Yield every neighbour at the top."""
        top = self.located.directory
        for entry in self.store.list(top):
            path = self.store.join(top, entry.name)
            if path in self._own or STAGING in entry.name:
                continue
            if entry.kind != "directory":
                yield self._file(entry.name, path, entry)
            elif path not in self.apart and not self.is_target(path):
                yield from self._directory(entry.name, path)

    def _file(self, name: str, path: str, entry: Entry) -> Neighbour:
        read, barred = self._readable(path, entry)
        sort, why = self._sort_at_top(entry)
        if barred:
            sort, why = "barred", barred
        return Neighbour(name, False, sort, why, entry.size, {name: read})

    def _sort_at_top(self, entry: Entry) -> tuple[Sort, str]:
        name = entry.name
        checks: tuple[tuple[bool, Sort, str], ...] = (
            (name == CHECKSUMS, "barred", _SUMS),
            (is_piece(name), "barred", _PIECE),
            (is_training_state(name), "training", _TRAINING),
            (is_foreign_weights(name), "foreign", _FOREIGN),
            (is_index(name), "weights", _INDEX),
        )
        for holds, sort, why in checks:
            if holds:
                return sort, why
        parsed = parse_weights_name(name, all_suffixes())
        if parsed is not None and (parsed.known or parsed.style != "none"):
            return "weights", _WEIGHTS
        large = parsed is not None and not self._is_small(entry.size)
        return ("weights", _OUTSIDE) if large else ("companion", "")

    def _directory(self, name: str, path: str) -> Iterator[Neighbour]:
        """Yield the directory with its files, and each link in it that is not followed."""
        inside, waiting = _Inside({name: path}), [name]
        while waiting:
            above = waiting.pop()
            try:
                listed = self.store.list(inside.directories[above])
            except ShardctlError:
                yield Neighbour(name, True, "barred", _UNREADABLE, None)
                return
            for entry in listed:
                inner = f"{above}/{entry.name}"
                own = self.store.join(inside.directories[above], entry.name)
                if own in self._own or own in self.apart:
                    inside.separate.append(inner)
                elif STAGING in entry.name:
                    continue
                elif entry.kind != "directory":
                    inside.add(inner, entry, *self._readable(own, entry))
                elif inner.count("/") == _DEEPEST:
                    yield Neighbour(name, True, "barred", _TOO_DEEP, None)
                    return
                elif self.is_target(own):
                    inside.has_target = True
                else:
                    inside.directories[inner] = own
                    waiting.append(inner)
        inside.bar_sums()
        if inside.files or inside.is_empty:
            entries = inside.entries.values()
            sort, why = self._sort_of_directory(name, entries) if entries else _BARE
            size = sum(entry.size for entry in entries)
            within = homes(inside.files, inside.directories)
            yield Neighbour(name, True, sort, why, size, inside.files, within)
        yield from inside.barred

    def _sort_of_directory(self, name: str, entries: Collection[Entry]) -> tuple[Sort, str]:
        """What a directory is, by all the files in it."""
        if name.startswith("."):
            return "hidden", _HIDDEN
        if any(is_training_state(entry.name) for entry in entries):
            return "training", _TRAINING
        if self._has_modules and _MODULE.fullmatch(name):
            return "companion", ""
        if any(is_foreign_weights(entry.name) for entry in entries):
            return "foreign", _FOREIGN
        large = (
            parse_weights_name(entry.name, all_suffixes()) and not self._is_small(entry.size)
            for entry in entries
        )
        if any(is_index(entry.name) for entry in entries) or any(large):
            return "weights", _WEIGHTS
        return "companion", ""

    def _readable(self, path: str, entry: Entry) -> tuple[str, str]:
        """Return the path that is read for an entry, and why it cannot be, empty where it can."""
        if entry.kind == "file":
            return path, ""
        if entry.kind != "link":
            return path, _SPECIAL
        if entry.target == "directory":
            return path, _TO_DIRECTORY
        if entry.target != "file":
            return path, _NOWHERE if entry.target is None else _SPECIAL
        real = followed(self.store, path)
        return real, "" if self._is_within(real) or is_blob(self.store, real) else _ELSEWHERE

    def _is_within(self, real: str) -> bool:
        return self._root in directories_above(self.store, real)

    def _is_small(self, size: int) -> bool:
        return size * SMALL < self._set_size

    @cached_property
    def _root(self) -> str:
        return followed(self.store, self.located.directory)

    @cached_property
    def _own(self) -> frozenset[str]:
        """The paths of the set itself."""
        paths = filter(None, [*self.read, *self.located.files, self.located.index_path])
        return frozenset(self.store.join(*self.store.split(path)) for path in paths)

    @cached_property
    def _set_size(self) -> int:
        return sum(self.store.version(path).size for path in {*self.read, *self.located.files})

    @cached_property
    def _has_modules(self) -> bool:
        path = self.store.join(self.located.directory, _MODULES)
        return self.store.kind(path) == "file"


@dataclass(slots=True)
class _Inside:
    """What lies in a sub-directory, at any depth: paths and entries by name.

    `separate` are the names of what is written separately, `has_target` says that the target is in
    it, and `barred` is what is not copied.
    """

    directories: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    separate: list[str] = field(default_factory=list)
    barred: list[Neighbour] = field(default_factory=list)
    has_target: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it but directories."""
        return not (self.files or self.separate or self.barred or self.has_target)

    def add(self, name: str, entry: Entry, path: str, fault: str) -> None:
        """Add a file that is read from `path`, unless `fault` says why it is not."""
        if fault:
            self.barred.append(Neighbour(name, False, "barred", fault, entry.size))
        else:
            self.files[name] = path
            self.entries[name] = entry

    def bar_sums(self) -> None:
        """Bar each file of checksums that may list what is written separately."""
        for name in [name for name in self.files if name.endswith(f"/{CHECKSUMS}")]:
            home = name.removesuffix(CHECKSUMS)
            if any(each.startswith(home) for each in self.separate):
                del self.files[name]
                size = self.entries.pop(name).size
                self.barred.append(Neighbour(name, False, "barred", _SUMS, size))


def homes(files: Iterable[str], directories: Mapping[str, str]) -> Mapping[str, str]:
    """Return those of the directories that files lie in, outer ones first."""
    parts = [name.split("/") for name in files]
    used = {"/".join(each[:length]) for each in parts for length in range(1, len(each))}
    return {name: path for name, path in sorted(directories.items()) if name in used}
