"""The other files of the source directory that a loader wants beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shardctl.checksums import CHECKSUMS
from shardctl.commands.target import Route, exists, same_bytes
from shardctl.formats.registry import all_suffixes
from shardctl.naming import STAGING, is_training_state, is_weights_or_index
from shardctl.planning.request import WriteOptions
from shardctl.source.locate import Located
from shardctl.stores.base import Store


def companion_names(store: Store, located: Located) -> list[str]:
    """Return the names of the companion files at the top of the source directory."""
    return [
        entry.name
        for entry in store.list(located.directory)
        if entry.readable and _is_companion(entry.name)
    ]


def _is_companion(name: str) -> bool:
    return not (
        is_weights_or_index(name, all_suffixes())
        or is_training_state(name)
        or name == CHECKSUMS
        or STAGING in name
    )


def companions_of(route: Route, options: WriteOptions) -> dict[str, str]:
    """Return the companions that belong in the target: their paths in the source, by name."""
    directories = route.located.is_directory and route.target.filename is None
    if not options.companions or not directories or route.in_place:
        return {}
    return {
        name: route.source_store.join(route.located.directory, name)
        for name in companion_names(route.source_store, route.located)
    }


@dataclass(frozen=True, slots=True)
class Companions:
    """What happens to the companions: `copies` are written, by name with their paths in the source.

    Of these, `replaced` exist in the target and differ; `kept` do too, and stay as they are.
    """

    copies: Mapping[str, str]
    replaced: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def companions_to_copy(
    route: Route, companions: Mapping[str, str], options: WriteOptions
) -> Companions:
    """Compare the companions with the files of the target.

    Raises TargetExistsError where one differs and nothing is to be replaced.
    """
    store = route.target_store
    copies, replaced, kept = dict[str, str](), list[str](), list[str]()
    for name, path in companions.items():
        final = store.join(route.target.directory, name)
        kind = store.kind(final)
        if kind == "file" and same_bytes(route.source_store, path, store, final):
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
    return Companions(copies, tuple(replaced), tuple(kept))
