"""Resolve TARGET: whether it is the source, and which of its files stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shardctl.errors import TargetExistsError, UsageError
from shardctl.formats.registry import all_suffixes, standalone, written_as
from shardctl.model import Checkpoint
from shardctl.naming import STAGING, is_weights_or_index
from shardctl.planning.request import LARGEST_BLOCK, WriteOptions
from shardctl.source.locate import Located
from shardctl.stores.base import Store
from shardctl.stores.optional import can_lock, refuse_read_only, shared_block
from shardctl.stores.paths import below, directories_above
from shardctl.stores.uploads import has_uploads

#: The block, in bytes, of a reflink layout that was asked for by name: that of almost every
#: filesystem that can share blocks.
REFLINK_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """A directory, and the one file in it where the user named a file."""

    directory: str
    filename: str | None

    @property
    def format(self) -> str | None:
        """The format that the file's suffix names, None for a directory."""
        written = None if self.filename is None else written_as(self.filename)
        return None if written is None else written.name


@dataclass(frozen=True, slots=True)
class Route:
    """The source and the target of a run: what SOURCE and TARGET mean, each in its store."""

    source_store: Store
    located: Located
    target_store: Store
    target: Target

    def same(self, path: str, other: str) -> bool:
        """Whether a path of the source and one of the target lead to the same place."""
        return self.source_store == self.target_store and self.target_store.same(path, other)

    @property
    def in_place(self) -> bool:
        """Whether the target is the source itself: its directory, or its only file."""
        target = self.target
        if target.filename is not None:
            final = self.target_store.join(target.directory, target.filename)
            return any(self.same(path, final) for path in self.located.files)
        directories = self.located.directories or (self.located.directory,)
        return any(self.same(directory, target.directory) for directory in directories)

    def names_read(self) -> frozenset[str]:
        """The names in the target directory that are read: none where the source is elsewhere."""
        located, split = self.located, self.source_store.split
        here = {
            directory
            for directory in located.directories or (located.directory,)
            if self.same(directory, self.target.directory)
        }
        if not here:
            return frozenset()
        paths = (*located.files, *filter(None, [located.index_path]))
        several = bool(located.directories)
        return frozenset(split(path)[1] for path in paths if not several or split(path)[0] in here)


@dataclass(frozen=True, slots=True)
class Reflink:
    """Blocks in bytes: `possible` is what the target can share with the source.

    `planned` is the block for which files are laid out, None for the compact layout.
    """

    possible: int | None
    planned: int | None


def reflink_of(route: Route, checkpoint: Checkpoint, options: WriteOptions) -> Reflink:
    """Return the blocks that the target can share with the largest file of the source."""
    largest = max(checkpoint.files, key=lambda file: file.version.size)
    with route.source_store.open(largest.path) as reader:
        possible = shared_block(route.target_store, reader, route.target.directory)
    if options.layout == "reflink":
        return Reflink(possible, options.block or REFLINK_BLOCK)
    fits = options.layout == "auto" and possible is not None and possible <= LARGEST_BLOCK
    return Reflink(possible, possible if fits else None)


def resolve_target(store: Store, text: str, *, one_file: bool) -> Target:
    """Return what TARGET means. `one_file`: the result is a single file, so TARGET may be one.

    Raises UsageError where a file is named for a result of several, where a name is that of weights
    that cannot be written as one file, where a file without a known suffix exists there, where runs
    keep their state, and where nothing can be written.
    """
    refuse_read_only(store, text)
    _refuse_staging(store, text)
    kind = store.kind(text)
    named_as_file = written_as(text) is not None
    if kind is None and _is_link(store, text):
        raise UsageError(
            f"the target '{text}' is a link to something that does not exist",
            hint="remove the link, or make the directory that it leads to",
            file=text,
        )
    directory, name = store.split(text)
    unwritten = not named_as_file and is_weights_or_index(name, all_suffixes())
    if kind == "directory" or (kind is None and not named_as_file and not unwritten):
        return Target(text, None)
    if not named_as_file:
        what = "has the name of a file that is not written alone" if unwritten else "is a file"
        suffixes = " or ".join(known.suffix for known in standalone())
        raise UsageError(
            f"the target '{text}' {what}",
            hint=f"name a directory, or a file that ends in {suffixes}",
            file=text,
        )
    if not one_file:
        raise UsageError(
            f"the target '{text}' is one file, and the result may be several",
            hint="name a directory, or use `write(single=True)` for one file",
            file=text,
        )
    return Target(directory, name)


def _refuse_staging(store: Store, text: str) -> None:
    """Raise UsageError for a path in the state of runs, where files of these names are removed."""
    for path in (text, *directories_above(store, text)):
        if store.split(path)[1].casefold() == STAGING:
            raise UsageError(
                f"the target '{text}' is within '{STAGING}', where runs keep their state",
                hint="choose another directory",
                file=text,
            )


def _is_link(store: Store, path: str) -> bool:
    directory, name = store.split(path)
    if store.kind(directory) != "directory":
        return False
    return any(entry.name == name and entry.kind == "link" for entry in store.list(directory))


def refuse_read_back(store: Store, text: str) -> None:
    """Raise UsageError where what was written cannot be read before it appears."""
    if has_uploads(store):
        raise UsageError(
            f"what is uploaded to '{text}' cannot be read back before it is complete: the store "
            "checks each part as it arrives",
            hint="leave out `read_back`, and use `verify(against=...)` afterwards",
            file=text,
        )


def unlocked_notes(store: Store) -> Iterator[str]:
    """Yield the note on a store in which runs cannot keep each other out."""
    if not can_lock(store):
        yield (
            "the target cannot be locked: make sure that no other run writes there at the same time"
        )


def listed(store: Store, directory: str) -> frozenset[str]:
    """Return all names in a directory, those of links that lead nowhere too; none without it."""
    if store.kind(directory) != "directory":
        return frozenset()
    return frozenset(entry.name for entry in store.list(directory))


def exists(store: Store, target: Target, name: str) -> TargetExistsError:
    """Return the error for what has a name in the target and must not be overwritten."""
    path = below(store, target.directory, name)
    kind = store.kind(path)
    if kind == "file":
        return TargetExistsError(
            f"'{path}' already exists",
            hint='choose another target, or add `replace="same"` to replace it',
            file=path,
        )
    # Only files are ever replaced.
    what = {"directory": "a directory", None: "a link that leads nowhere"}.get(
        kind, "not a regular file"
    )
    return TargetExistsError(
        f"'{path}' is {what}, and a new file belongs in its place",
        hint="move it away, or choose another target",
        file=path,
    )
