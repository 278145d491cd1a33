"""The other files of the source directory that a loader wants beside the weights."""

from __future__ import annotations

from collections.abc import Mapping

from shardctl.checksums import CHECKSUMS
from shardctl.commands.target import Target, exists, in_place, same_bytes
from shardctl.engine.journal import STAGING
from shardctl.formats.registry import all_suffixes
from shardctl.naming import is_training_state, is_weights_or_index
from shardctl.planning.request import WriteOptions
from shardctl.source.locate import Located
from shardctl.stores.base import Entry, Store


def companions(store: Store, located: Located) -> list[Entry]:
    """The other files at the top of the source folder, which a loader wants beside the weights (config, tokenizer)."""
    return [
        entry
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


def _companions(
    store: Store, located: Located, place: Target, options: WriteOptions
) -> dict[str, str]:
    """The companions of the source, by name with the path that each is read from."""
    directories = located.is_directory and place.filename is None
    if not options.companions or not directories or in_place(store, place, located):
        return {}
    return {
        entry.name: store.join(located.directory, entry.name)
        for entry in companions(store, located)
    }


def _to_copy(
    store: Store, place: Target, beside: Mapping[str, str], options: WriteOptions
) -> dict[str, str]:
    """Those companions that are not in the target already; raises TargetExistsError for a different file there."""
    wanted: dict[str, str] = {}
    for name, path in beside.items():
        final = store.join(place.directory, name)
        kind = store.kind(final)
        if kind == "file" and same_bytes(store, path, final):
            continue
        if kind is not None and (options.replace == "nothing" or kind != "file"):
            raise exists(store, place, name)
        wanted[name] = path
    return wanted
