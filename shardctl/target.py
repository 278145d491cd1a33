"""Where the result goes: what TARGET means, what is in the way there, and what gives way to it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from shardctl.checksums import CHECKSUMS, parse_checksums
from shardctl.discover import Candidate, Located, folder_checkpoints
from shardctl.errors import TargetExistsError, UsageError
from shardctl.model import Checkpoint
from shardctl.naming import KNOWN_STEMS, is_training_state, is_weights_or_index, parse_weights_name
from shardctl.plan import Request
from shardctl.stores.base import Entry, Store

STAGING = ".shardctl"

Replace = Literal["nothing", "same", "all"]
LayoutChoice = Literal["auto", "compact", "shareable"]

#: The block of a shareable layout that was asked for by name, in bytes: that of almost every filesystem that shares.
SHAREABLE_BLOCK = 4096
#: Larger blocks are not padded for: a record's padding must fit a 16-bit field of its zip header, and costs room.
_LARGEST_BLOCK = 16 * 1024

#: A target file's suffix says its container.
SUFFIXES = {".safetensors": "safetensors", ".bin": "bin"}


@dataclass(frozen=True, slots=True)
class Target:
    """A folder, and the one file in it where the user named a file. `staging` is the hidden folder for the work."""

    folder: str
    filename: str | None
    staging: str

    @property
    def container(self) -> str | None:
        """The container that the file's suffix names, None for a folder."""
        if self.filename is None:
            return None
        return next(name for suffix, name in SUFFIXES.items() if self.filename.endswith(suffix))


@dataclass(frozen=True, slots=True)
class Sharing:
    """Blocks in bytes: `possible` is what the target can share with the source, `planned` what the layout is made for.

    `planned` None is the compact layout.
    """

    possible: int | None
    planned: int | None


def sharing_of(store: Store, checkpoint: Checkpoint, place: Target, layout: LayoutChoice) -> Sharing:
    """Whether blocks can be shared with the largest file of the source, and for which block files are laid out."""
    largest = max(checkpoint.files, key=lambda file: file.version.size)
    possible = store.shared_block(largest.path, place.folder)
    if layout == "shareable":
        return Sharing(possible, SHAREABLE_BLOCK)
    fits = layout == "auto" and possible is not None and possible <= _LARGEST_BLOCK
    return Sharing(possible, possible if fits else None)


def resolve_target(store: Store, text: str, *, one_file: bool) -> Target:
    """What TARGET means. `one_file`: the result is a single file, so TARGET may be one.

    Raises UsageError where a file is named for a result of several, or a file without a known suffix is there.
    """
    kind = store.kind(text)
    named_as_file = text.endswith(tuple(SUFFIXES))
    if kind is None and _is_link(store, text):
        raise UsageError(
            f"the target '{text}' is a link that leads to nothing",
            hint="remove the link, or make the folder that it leads to",
            file=text,
        )
    if kind == "folder" or (kind is None and not named_as_file):
        return Target(text, None, store.join(text, STAGING))
    if not named_as_file:
        raise UsageError(
            f"the target '{text}' is a file",
            hint="name a folder, or a file that ends in .safetensors or .bin",
            file=text,
        )
    if not one_file:
        raise UsageError(
            f"the target '{text}' is one file, and the result may be several",
            hint="name a folder, or use `shardctl merge` for one file",
            file=text,
        )
    folder, name = store.split(text)
    return Target(folder, name, store.join(folder, f".{name}{STAGING}"))


def _is_link(store: Store, path: str) -> bool:
    folder, name = store.split(path)
    if store.kind(folder) != "folder":
        return False
    return any(entry.name == name and entry.kind == "link" for entry in store.list(folder))


def in_place(store: Store, target: Target, located: Located) -> bool:
    """Whether the target is the source itself: its folder, or its only file."""
    if target.filename is not None:
        final = store.join(target.folder, target.filename)
        return any(store.same(final, path) for path in located.files)
    return store.same(target.folder, located.folder)


def superseded(
    store: Store, target: Target, located: Located, request: Request, names: Sequence[str], replace: Replace
) -> tuple[str, ...]:
    """The names in the target folder that give way to the new files `names`.

    That is the set of the same stem, container and variant and, in place, the set that was read; with "all", every
    checkpoint that loaders know by name. Raises TargetExistsError for whatever else is there that would be mixed with
    the new set or overwritten.
    """
    if in_place(store, target, located) and replace == "nothing":
        raise TargetExistsError(
            f"'{target.folder}' is the source itself",
            hint="choose another target, or add --replace to put the new files in the old ones' place",
            file=target.folder,
        )
    there = [entry.name for entry in store.list(target.folder)] if store.kind(target.folder) == "folder" else []
    old: list[str] = []
    for candidate in folder_checkpoints(store, target.folder):
        if _gives_way(store, target, located, request, candidate, replace):
            old += candidate.names
        elif _in_the_way(target, candidate, names, replace):
            raise _refusal(target, candidate, replace)
    for name in names:
        if name in there and name not in old:
            if replace == "nothing" or store.kind(store.join(target.folder, name)) != "file":
                raise exists(store, target, name)
            old.append(name)
    return tuple(dict.fromkeys(old))


def _gives_way(
    store: Store, target: Target, located: Located, request: Request, candidate: Candidate, replace: Replace
) -> bool:
    if replace == "nothing" or (candidate.is_set and target.filename in candidate.names):
        return False
    stem, variant = _identity(target, request)
    if target.filename is None and _is_read(store, target, located, candidate):
        return True
    if target.filename is not None and stem not in KNOWN_STEMS:
        return False  # a file of a free name is no other checkpoint's successor
    same = (candidate.stem, candidate.variant, candidate.container) == (stem, variant, request.container)
    return candidate.known and (replace == "all" or same)


def _is_read(store: Store, target: Target, located: Located, candidate: Candidate) -> bool:
    """Whether a checkpoint of the target folder is the source."""
    if not store.same(target.folder, located.folder):
        return False
    read = {store.split(path)[1] for path in (*located.files, *filter(None, [located.index_path]))}
    return not read.isdisjoint(candidate.names)


def _identity(target: Target, request: Request) -> tuple[str, str | None]:
    """Stem and variant of what is written; where the user named the file, by that name."""
    if target.filename is not None:
        parsed = parse_weights_name(target.filename)
        return (target.filename, None) if parsed is None else (parsed.stem, parsed.variant)
    return request.stem, request.variant


def _in_the_way(target: Target, candidate: Candidate, names: Sequence[str], replace: Replace) -> bool:
    """Whether a checkpoint that stays would be mixed up with the new one.

    Into a folder: any; but weights of a name that no loader looks for are left alone with "all". A file that the user
    named: any beside it if loaders know its own name too, and a set that it is a member of.
    """
    if target.filename is None:
        return candidate.known or replace != "all" or not set(names).isdisjoint(candidate.names)
    parsed = parse_weights_name(target.filename)
    if target.filename in candidate.names:
        return candidate.is_set
    return candidate.known and parsed is not None and parsed.known


def _refusal(target: Target, candidate: Candidate, replace: Replace) -> TargetExistsError:
    way = "--replace-all also replaces the other checkpoints in it"
    hint = f"choose another target; {way}" if replace == "same" else "choose another target, or add --replace"
    if target.filename in candidate.names:
        hint = "name the folder to replace the whole set, or choose another file"
    return TargetExistsError(
        f"'{target.folder or '.'}' already holds a checkpoint: {candidate.title}",
        hint=hint,
        file=target.folder or ".",
    )


def exists(store: Store, target: Target, name: str) -> TargetExistsError:
    """The error for a file that is in the way."""
    path = store.join(target.folder, name)
    return TargetExistsError(
        f"'{path}' is already there", hint="choose another target, or add --replace to replace it", file=path
    )


def companions(store: Store, located: Located) -> list[Entry]:
    """The other files at the top of the source folder, which a loader wants beside the weights (config, tokenizer)."""
    return [entry for entry in store.list(located.folder) if entry.readable and _is_companion(entry.name)]


def _is_companion(name: str) -> bool:
    return not (is_weights_or_index(name) or is_training_state(name) or name == CHECKSUMS or STAGING in name)


def kept_checksums(store: Store, target: Target, gone: Collection[str]) -> dict[str, str] | None:
    """The digests in the target's `SHA256SUMS`, less those of files that go; None where there is no such file."""
    path = store.join(target.folder, CHECKSUMS)
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
