"""What in the target directory is replaced by the new files, and what is in the way."""

from __future__ import annotations

from collections.abc import Sequence

from shardctl.commands.target import Target, exists, in_place
from shardctl.errors import TargetExistsError
from shardctl.formats.registry import all_suffixes
from shardctl.naming import KNOWN_STEMS, parse_weights_name
from shardctl.planning.request import Replace, Request
from shardctl.source.candidates import Candidate
from shardctl.source.locate import Located, directory_checkpoints
from shardctl.stores.base import Store


def superseded(
    store: Store,
    target: Target,
    located: Located,
    request: Request,
    names: Sequence[str],
    replace: Replace,
) -> tuple[str, ...]:
    """The names in the target folder that give way to the new files `names`.

    That is the set of the same stem, format and variant and, in place, the set that was read;
    with "all", every checkpoint that loaders know by name. Raises TargetExistsError for whatever
    else is there that would be mixed with the new set or overwritten.
    """
    if in_place(store, target, located) and replace == "nothing":
        raise TargetExistsError(
            f"'{target.directory}' is the source itself",
            hint="choose another target, or add --replace to put the new files in the old ones' place",
            file=target.directory,
        )
    there = (
        [entry.name for entry in store.list(target.directory)]
        if store.kind(target.directory) == "directory"
        else []
    )
    old: list[str] = []
    for candidate in directory_checkpoints(store, target.directory):
        if _gives_way(store, target, located, request, candidate, replace):
            old += candidate.names
        elif _in_the_way(target, candidate, names, replace):
            raise _refusal(target, candidate, replace)
    for name in names:
        if name in there and name not in old:
            if replace == "nothing" or store.kind(store.join(target.directory, name)) != "file":
                raise exists(store, target, name)
            old.append(name)
    return tuple(dict.fromkeys(old))


def _gives_way(
    store: Store,
    target: Target,
    located: Located,
    request: Request,
    candidate: Candidate,
    replace: Replace,
) -> bool:
    if replace == "nothing" or (candidate.is_set and target.filename in candidate.names):
        return False
    stem, variant = _identity(target, request)
    if target.filename is None and _is_read(store, target, located, candidate):
        return True
    if target.filename is not None and stem not in KNOWN_STEMS:
        return False  # a file of a free name is no other checkpoint's successor
    same = (candidate.stem, candidate.variant, candidate.format) == (
        stem,
        variant,
        request.format,
    )
    return candidate.known and (replace == "all" or same)


def _is_read(store: Store, target: Target, located: Located, candidate: Candidate) -> bool:
    """Whether a checkpoint of the target folder is the source."""
    if not store.same(target.directory, located.directory):
        return False
    read = {store.split(path)[1] for path in (*located.files, *filter(None, [located.index_path]))}
    return not read.isdisjoint(candidate.names)


def _identity(target: Target, request: Request) -> tuple[str, str | None]:
    """Stem and variant of what is written; where the user named the file, by that name."""
    if target.filename is not None:
        parsed = parse_weights_name(target.filename, all_suffixes())
        return (target.filename, None) if parsed is None else (parsed.stem, parsed.variant)
    return request.stem, request.variant


def _in_the_way(
    target: Target, candidate: Candidate, names: Sequence[str], replace: Replace
) -> bool:
    """Whether a checkpoint that stays would be mixed up with the new one.

    Into a folder: any; but weights of a name that no loader looks for are left alone with "all". A
    file that the user named: any beside it if loaders know its own name too, and a set that it is a
    member of.
    """
    if target.filename is None:
        return candidate.known or replace != "all" or not set(names).isdisjoint(candidate.names)
    parsed = parse_weights_name(target.filename, all_suffixes())
    if target.filename in candidate.names:
        return candidate.is_set
    return candidate.known and parsed is not None and parsed.known


def _refusal(target: Target, candidate: Candidate, replace: Replace) -> TargetExistsError:
    way = "--replace-all also replaces the other checkpoints in it"
    hint = (
        f"choose another target; {way}"
        if replace == "same"
        else "choose another target, or add --replace"
    )
    if target.filename in candidate.names:
        hint = "name the folder to replace the whole set, or choose another file"
    return TargetExistsError(
        f"'{target.directory or '.'}' already holds a checkpoint: {candidate.title}",
        hint=hint,
        file=target.directory or ".",
    )
