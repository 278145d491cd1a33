"""Tied tensors, one under several names: what of them a format can keep. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from shardctl.formats.base import Format
from shardctl.formats.registry import reserved_metadata
from shardctl.model import Checkpoint, Storage, Tensor
from shardctl.planning.request import Tied
from shardctl.storages import tied_names

#: The key of an index's metadata that loaders read.
_TOTAL_SIZE = "total_size"


def resolve_ties(
    checkpoint: Checkpoint, target: Format, tied: Tied
) -> tuple[list[Tensor], dict[str, str]]:
    """Return the tensors to write, in source order, and the names that are only recorded.

    These are given as `alias: kept name`.

    With "share", a format whose tensors share storages keeps every name, and names that the source
    only recorded get their storage back. One that has metadata instead keeps the alphabetically
    first name of tied tensors and records the others, as the hub does. With "expand", and in a
    format that has neither, every name gets a copy of the bytes.
    """
    if tied == "share" and not target.shares_storages and target.has_metadata:
        # A name that means something else in the metadata cannot be recorded there, so it gets a
        # copy of the bytes.
        reserved = {
            _TOTAL_SIZE,
            *reserved_metadata(),
            *checkpoint.metadata,
            *(checkpoint.index.metadata if checkpoint.index else ()),
        }
        first = {name: min(names) for names in tied_names(checkpoint.tensors) for name in names}
        dropped = {
            name: kept for name, kept in first.items() if name != kept and name not in reserved
        }
        aliases = {**checkpoint.aliases, **dropped}
        # A recorded alias may name a tensor that is itself an alias now.
        return (
            [tensor for tensor in checkpoint.tensors if tensor.name not in dropped],
            {alias: aliases.get(kept, kept) for alias, kept in aliases.items()},
        )
    by_kept = aliases_by_kept(checkpoint.aliases)
    every = [
        named
        for tensor in checkpoint.tensors
        for named in (
            tensor,
            *(replace(tensor, name=alias) for alias in by_kept.get(tensor.name, ())),
        )
    ]
    shared = tied == "share" and target.shares_storages
    return (every if shared else [_own_storage(tensor) for tensor in every]), {}


def aliases_by_kept(aliases: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the recorded names of each tensor, by the name that is kept."""
    by_kept: dict[str, list[str]] = {}
    for alias, kept in aliases.items():
        by_kept.setdefault(kept, []).append(alias)
    return by_kept


def _own_storage(tensor: Tensor) -> Tensor:
    span, whole = tensor.span, tensor.storage.extent
    key = f"of {tensor.name}"
    if span == whole:
        return replace(tensor, storage=replace(tensor.storage, key=key), offset=0)
    return replace(tensor, storage=Storage(span, key, cut_from=tensor.storage), offset=0)
