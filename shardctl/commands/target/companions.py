"""The other files of the source directory that go along, so that the target loads, and the rest."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from shardctl.commands.target.companion import Companion
from shardctl.commands.target.neighbours import Neighbour, homes, neighbours
from shardctl.commands.target.resolve import Route, exists, listed
from shardctl.errors import TargetExistsError, UsageError
from shardctl.formats.limits import MAX_CONFIG_BYTES
from shardctl.formats.registry import all_suffixes
from shardctl.naming import parse_index_name, parse_weights_name
from shardctl.planning.carried import LeftKind, NotCarried
from shardctl.planning.plan import Plan
from shardctl.planning.request import Request, WriteOptions
from shardctl.planning.transform.config import CONFIG, dtype_edits
from shardctl.source.locate import Located
from shardctl.stores.base import Store
from shardctl.stores.paths import below
from shardctl.text import escape

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

    `companions` belong in the target, by name. `directories` are those below the target that they
    lie in, outer ones first, with their paths in the source. `left` is what stays. `notes` are for
    the user to know before the work.
    """

    companions: Mapping[str, Companion] = field(default_factory=dict)
    directories: Mapping[str, str] = field(default_factory=dict)
    left: tuple[NotCarried, ...] = ()
    notes: tuple[str, ...] = ()


def beside(
    route: Route,
    plan: Plan,
    options: WriteOptions,
    read: Collection[str],
    apart: Collection[str] = (),
) -> Beside:
    """Decide which of the other files of the source directory go along.

    `read` are the paths of the files that are read. There are none where the target is in that
    directory, and of a file that was named alone. `apart` are paths of directories that are not
    looked at: what they hold is written separately.
    """
    located, store = route.located, route.source_store
    if route.same(located.directory, route.target.directory):
        return Beside(notes=tuple(_unchanged(route, plan.request)))
    one_file = route.target.filename is not None
    if not located.is_directory and (one_file or not _is_of_a_model(store, located)):
        return Beside()
    companions, directories = dict[str, Companion](), dict[str, str]()
    left = list[NotCarried]()
    target = route.target.directory
    is_target = (lambda _: False) if one_file else (lambda path: route.same(path, target))
    for each in neighbours(store, located, read, apart, is_target):
        reason = _reason(each, plan, options, one_file=one_file)
        if reason:
            kind: LeftKind = "directory" if each.is_directory else "file"
            left.append(NotCarried(each.name, kind, reason, each.size))
        else:
            companions |= {name: Companion(path) for name, path in each.files.items()}
            directories |= each.directories
    config = CONFIG in companions and _converted(store, companions[CONFIG].path, plan.request)
    if config:
        companions[CONFIG] = config
    return Beside(companions, directories, tuple(left))


def _converted(store: Store, path: str, request: Request) -> Companion | None:
    """Return a model's configuration that names the type to which its weights are converted.

    None where nothing changes in it.
    """
    if request.conversion is None or store.kind(path) != "file":
        return None
    with store.open(path) as reader:
        version = reader.version
        data = reader.read(0, version.size) if version.size <= MAX_CONFIG_BYTES else b""
    edits = dtype_edits(data, request.conversion.dtype)
    return Companion(path, edits, version) if edits else None


def _unchanged(route: Route, request: Request) -> Iterator[str]:
    """Yield a note where a configuration stays and names another type than the new weights."""
    path = route.source_store.join(route.located.directory, CONFIG)
    if _converted(route.source_store, path, request) is not None:
        yield (
            f"{CONFIG} is left as it is, and names another type than the converted weights: "
            "loaders may convert them back"
        )


def _is_of_a_model(store: Store, located: Located) -> bool:
    names = (entry.name for entry in store.list(located.directory))
    return located.index_path is not None or any(map(_OF_A_MODEL.fullmatch, names))


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
    """What happens to the companions: `copies` are written, by name.

    `directories` are those that the copies lie in, with their paths in the source. Of the copies,
    `replaced` exist in the target and differ; `kept` do too, and stay as they are.
    """

    copies: Mapping[str, Companion]
    directories: Mapping[str, str]
    replaced: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def companions_to_copy(route: Route, found: Beside, options: WriteOptions) -> Companions:
    """Compare the companions with the files of the target.

    Raises TargetExistsError where one differs and nothing is to be replaced, where something other
    than a file has its name, and where a sub-directory of the target is a link or not a directory;
    UsageError where one is the source.
    """
    store = route.target_store
    for name in found.directories:
        check_directory(store, route.target.directory, name)
        refuse_source(route, name)
    copies, replaced, kept = dict[str, Companion](), list[str](), list[str]()
    places = ("", *found.directories)
    there = {place: listed(store, below(store, route.target.directory, place)) for place in places}
    for name, companion in found.companions.items():
        final = below(store, route.target.directory, name)
        kind = store.kind(final)
        if kind == "file" and companion.is_same(route.source_store, store, final):
            continue
        place, _, last = name.rpartition("/")
        if kind is None and last not in there[place]:
            copies[name] = companion
        elif kind != "file" or options.replace == "nothing":
            raise exists(store, route.target, name)
        elif options.replace_companions:
            copies[name] = companion
            replaced.append(name)
        else:
            kept.append(name)
    return Companions(copies, homes(copies, found.directories), tuple(replaced), tuple(kept))


def refuse_source(route: Route, name: str) -> None:
    """Raise UsageError where a sub-directory of the target is the source directory itself.

    Files of the source would be written beside or over those that are read.
    """
    path = below(route.target_store, route.target.directory, name)
    if route.same(route.located.directory, path):
        raise UsageError(
            f"'{escape(path)}' is the source, and its '{escape(name)}' belongs in its place",
            hint="choose another target",
            file=path,
        )


def check_directory(store: Store, directory: str, name: str) -> None:
    """Raise TargetExistsError where what has a sub-directory's name in the target is another."""
    path = below(store, directory, name)
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
