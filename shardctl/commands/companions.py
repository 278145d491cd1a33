"""The other files of the source directory that go along, so that the target loads, and the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from shardctl.commands.config import edited
from shardctl.commands.neighbours import Neighbour, homes, neighbours
from shardctl.commands.target import Route, exists, same_bytes
from shardctl.errors import TargetExistsError
from shardctl.formats.registry import all_suffixes
from shardctl.naming import parse_index_name, parse_weights_name
from shardctl.planning.carried import LeftKind, NotCarried
from shardctl.planning.plan import Plan
from shardctl.planning.request import Request, WriteOptions
from shardctl.source.locate import Located
from shardctl.stores.base import Store
from shardctl.stores.optional import followed

#: Files by which, as by an index, a directory is known to be that of a model. A file that is named
#: in any other directory, such as one of downloads, has no companions there.
_OF_A_MODEL = re.compile(r"(?:.+_)?config\.json|tokenizer.*|modules\.json", re.DOTALL)
_TAKEN = "a new file has its name"
_MIXED = "it would be mixed up with the new set"
_NOT_ASKED = "companion files are not wanted"
_ONE_FILE = "the target is one file"


@dataclass(frozen=True, slots=True)
class Beside:
    """What lies beside the weights in the source directory.

    `companions` belong in the target: their paths in the source, by name. `directories` are those
    below the target that they lie in, outer ones first, in the same way. `left` is what stays.
    `edited` has the contents of companions that are not copied as they are, by name.
    """

    companions: Mapping[str, str] = field(default_factory=dict)
    directories: Mapping[str, str] = field(default_factory=dict)
    left: tuple[NotCarried, ...] = ()
    edited: Mapping[str, bytes] = field(default_factory=dict)


def beside(route: Route, plan: Plan, options: WriteOptions, read: Collection[str]) -> Beside:
    """Decide which of the other files of the source directory go along.

    `read` are the paths of the files that are read. There are none where the target is in that
    directory, and of a file that was named alone.
    """
    located, store = route.located, route.source_store
    if route.same(located.directory, route.target.directory):
        return Beside()
    one_file = route.target.filename is not None
    if not located.is_directory and (one_file or not _is_of_a_model(store, located)):
        return Beside()
    companions, directories = dict[str, str](), dict[str, str]()
    left = list[NotCarried]()
    for each in neighbours(store, located, read, _leads_to_target(route)):
        reason = _reason(each, plan, options, one_file=one_file)
        if reason:
            kind: LeftKind = "directory" if each.is_directory else "file"
            left.append(NotCarried(each.name, kind, reason, each.size))
        else:
            companions |= each.files
            directories |= each.directories
    return Beside(companions, directories, tuple(left), edited(store, companions, plan))


def _is_of_a_model(store: Store, located: Located) -> bool:
    names = (entry.name for entry in store.list(located.directory))
    return located.index_path is not None or any(map(_OF_A_MODEL.fullmatch, names))


def _leads_to_target(route: Route) -> Callable[[str], bool]:
    """Return whether a directory is the target, or holds it: nothing is copied into itself."""
    target, directory = route.target_store, route.target.directory
    above = [followed(target, directory) if target.kind(directory) else directory]
    while (parent := target.split(above[-1])[0]) and parent != above[-1]:
        above.append(parent)
    return lambda path: any(route.same(path, each) for each in above)


def _reason(each: Neighbour, plan: Plan, options: WriteOptions, *, one_file: bool) -> str:
    """Return why a neighbour is not copied; empty where it goes along."""
    if each.sort == "barred":
        return each.why
    wanted = each.sort == "companion" or options.companions == "all"
    if not wanted:
        return each.why
    if one_file:
        return _ONE_FILE
    if options.companions == "none":
        return _NOT_ASKED
    if each.name in plan.filenames:
        return _TAKEN
    return _MIXED if not each.is_directory and _is_like(each.name, plan.request) else ""


def _is_like(name: str, request: Request) -> bool:
    """Whether a loader could take a file for one of the new set, by its name."""
    parsed = parse_index_name(name, all_suffixes()) or parse_weights_name(name, all_suffixes())
    return parsed is not None and (parsed.stem, parsed.variant, parsed.suffix) == (
        request.stem,
        request.variant,
        request.suffix,
    )


@dataclass(frozen=True, slots=True)
class Companions:
    """What happens to the companions: `copies` are written, by name with their paths in the source.

    `directories` are those that the copies lie in, in the same way. Of the copies, `replaced` exist
    in the target and differ; `kept` do too, and stay as they are.
    """

    copies: Mapping[str, str]
    directories: Mapping[str, str]
    replaced: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def companions_to_copy(route: Route, found: Beside, options: WriteOptions) -> Companions:
    """Compare the companions with the files of the target.

    Raises TargetExistsError where one differs and nothing is to be replaced, and where a
    sub-directory of the target is a link or not a directory.
    """
    store = route.target_store
    for name in found.directories:
        _check_directory(route, name)
    copies, replaced, kept = dict[str, str](), list[str](), list[str]()
    for name, path in found.companions.items():
        final = store.join(route.target.directory, *name.split("/"))
        kind = store.kind(final)
        if kind == "file" and _is_there(route, path, final, found.edited.get(name)):
            continue
        if kind is None:
            copies[name] = path
        elif kind != "file" or options.replace == "nothing":
            raise exists(store, route.target, name)
        elif options.replace_companions:
            copies[name] = path
            replaced.append(name)
        else:
            kept.append(name)
    return Companions(copies, homes(copies, found.directories), tuple(replaced), tuple(kept))


def _is_there(route: Route, path: str, final: str, contents: bytes | None) -> bool:
    """Whether a file of the target is what a companion would be: a copy, or the contents given."""
    store = route.target_store
    if contents is None:
        return same_bytes(route.source_store, path, store, final)
    size = store.version(final).size
    if size != len(contents):
        return False
    with store.open(final) as reader:
        return reader.read(0, size) == contents


def _check_directory(route: Route, name: str) -> None:
    """Raise TargetExistsError where what has a sub-directory's name in the target is another."""
    store = route.target_store
    path = store.join(route.target.directory, *name.split("/"))
    above, last = store.split(path)
    if store.kind(above) != "directory":
        return
    for entry in store.list(above):
        if entry.name == last and entry.kind != "directory":
            what = "a link" if entry.kind == "link" else "not a directory"
            raise TargetExistsError(
                f"'{path}' is {what}, and files of the source belong in a directory of that name",
                hint='move it away, choose another target, or use `companions="none"`',
                file=path,
            )
