"""Where the result goes: what TARGET means, what is in the way there, and what gives way to it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from shardctl.checksums import CHECKSUMS, parse_checksums
from shardctl.engine.journal import STAGING
from shardctl.errors import TargetExistsError, UsageError
from shardctl.formats.registry import writable, written_as
from shardctl.model import Checkpoint
from shardctl.planning.request import LayoutChoice
from shardctl.source.locate import Located
from shardctl.stores.base import Store
from shardctl.stores.optional import shared_block

#: The block of a shareable layout that was asked for by name, in bytes: that of almost every
#: filesystem that shares.
SHAREABLE_BLOCK = 4096
#: Larger blocks are not padded for: a record's padding must fit a 16-bit field of its zip header,
#: and costs room.
_LARGEST_BLOCK = 16 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """A folder, and the one file in it where the user named a file. `staging` is the hidden folder for the work."""

    directory: str
    filename: str | None
    staging: str

    @property
    def format(self) -> str | None:
        """The format that the file's suffix names, None for a folder."""
        written = None if self.filename is None else written_as(self.filename)
        return None if written is None else written.name


@dataclass(frozen=True, slots=True)
class Sharing:
    """Blocks in bytes: `possible` is what the target can share with the source, `planned` what the layout is made for.

    `planned` None is the compact layout.
    """

    possible: int | None
    planned: int | None


def sharing_of(
    store: Store, checkpoint: Checkpoint, place: Target, layout: LayoutChoice
) -> Sharing:
    """Whether blocks can be shared with the largest file of the source, and for which block files are laid out."""
    largest = max(checkpoint.files, key=lambda file: file.version.size)
    with store.open(largest.path) as reader:
        possible = shared_block(store, reader, place.directory)
    if layout == "shareable":
        return Sharing(possible, SHAREABLE_BLOCK)
    fits = layout == "auto" and possible is not None and possible <= _LARGEST_BLOCK
    return Sharing(possible, possible if fits else None)


def resolve_target(store: Store, text: str, *, one_file: bool) -> Target:
    """What TARGET means. `one_file`: the result is a single file, so TARGET may be one.

    Raises UsageError where a file is named for a result of several, or a file without a known
    suffix is there.
    """
    kind = store.kind(text)
    named_as_file = written_as(text) is not None
    if kind is None and _is_link(store, text):
        raise UsageError(
            f"the target '{text}' is a link that leads to nothing",
            hint="remove the link, or make the folder that it leads to",
            file=text,
        )
    if kind == "directory" or (kind is None and not named_as_file):
        return Target(text, None, store.join(text, STAGING))
    if not named_as_file:
        raise UsageError(
            f"the target '{text}' is a file",
            hint=f"name a folder, or a file that ends in {' or '.join(known.suffix for known in writable())}",
            file=text,
        )
    if not one_file:
        raise UsageError(
            f"the target '{text}' is one file, and the result may be several",
            hint="name a folder, or use `shardctl merge` for one file",
            file=text,
        )
    directory, name = store.split(text)
    return Target(directory, name, store.join(directory, f".{name}{STAGING}"))


def _is_link(store: Store, path: str) -> bool:
    directory, name = store.split(path)
    if store.kind(directory) != "directory":
        return False
    return any(entry.name == name and entry.kind == "link" for entry in store.list(directory))


def in_place(store: Store, target: Target, located: Located) -> bool:
    """Whether the target is the source itself: its folder, or its only file."""
    if target.filename is not None:
        final = store.join(target.directory, target.filename)
        return any(store.same(final, path) for path in located.files)
    return store.same(target.directory, located.directory)


def exists(store: Store, target: Target, name: str) -> TargetExistsError:
    """The error for a file that is in the way."""
    path = store.join(target.directory, name)
    return TargetExistsError(
        f"'{path}' is already there",
        hint="choose another target, or add --replace to replace it",
        file=path,
    )


def kept_checksums(store: Store, target: Target, gone: Collection[str]) -> dict[str, str] | None:
    """The digests in the target's `SHA256SUMS`, less those of files that go; None where there is no such file."""
    path = store.join(target.directory, CHECKSUMS)
    if store.kind(path) != "file":
        return None
    with store.open(path) as reader:
        sums = parse_checksums(reader.read(0, reader.version.size))
    return {name: digest for name, digest in sums.items() if name not in gone}


def same_bytes(store: Store, one: str, other: str) -> bool:
    """Whether two files hold the same bytes."""
    with store.open(one) as a, store.open(other) as b:
        if a.version.size != b.version.size:
            return False
        step = 1024 * 1024
        pieces: Iterable[tuple[int, int]] = (
            (at, min(step, a.version.size - at)) for at in range(0, a.version.size, step)
        )
        return all(a.read(at, length) == b.read(at, length) for at, length in pieces)
